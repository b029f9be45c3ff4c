package control

import (
	"cmp"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/resource"
)

// asOr returns the object as T, or T's zero value when there is none.
func asOr[T resource.Object](o resource.Object) (t T) {
	if o != nil {
		t = o.(T)
	}
	return t
}

// replace returns a list in order in which the noun with the uid is replaced by another, or gone when that is nil. The old list
// stays as it was: plans share it.
func replace[T interface {
	comparable
	resource.Object
}](list []T, uid string, after T, order func(a, b T) int) []T {
	var none T
	out := make([]T, 0, len(list)+1)
	for _, o := range list {
		if o.Head().Metadata.UID != uid {
			out = append(out, o)
		}
	}
	if after == none {
		return out
	}
	i, _ := slices.BinarySearchFunc(out, after, order)
	return slices.Insert(out, i, after)
}

// older orders by age, and by uid among nouns of one moment.
func older[T resource.Object](a, b T) int {
	x, y := a.Head().Metadata, b.Head().Metadata
	return cmp.Or(x.CreatedAt.Compare(y.CreatedAt), strings.Compare(x.UID, y.UID))
}
