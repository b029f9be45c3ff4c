package refusals

import (
	"cmp"
	"slices"
)

// frequent counts what is frequent among ever so many, in bounded memory, as Misra and Gries do: when there is no room for another,
// everybody loses one instead. Counts are exact until that happens. Afterwards they are too low by at most what everybody lost, and
// whoever makes up more than one in most+1 of all is still there.
type frequent[K comparable] struct {
	most   int
	counts map[K]uint64
	lost   uint64
}

func newFrequent[K comparable](most int) *frequent[K] {
	return &frequent[K]{most: most, counts: map[K]uint64{}}
}

func (f *frequent[K]) add(k K) {
	n, met := f.counts[k]
	if met || len(f.counts) < f.most {
		f.counts[k] = n + 1
		return
	}
	// This looks at all of them, and takes one from each: it happens once for as many refusals as there is room.
	f.lost++
	for other, n := range f.counts {
		if n == 1 {
			delete(f.counts, other)
		} else {
			f.counts[other] = n - 1
		}
	}
}

func (f *frequent[K]) clear() {
	clear(f.counts)
	f.lost = 0
}

// counted is something and how often it was met.
type counted[K any] struct {
	what K
	n    uint64
}

// top returns the n most frequent, the most frequent first, equal ones by order.
func (f *frequent[K]) top(n int, order func(a, b K) int) []counted[K] {
	all := make([]counted[K], 0, len(f.counts))
	for k, n := range f.counts {
		all = append(all, counted[K]{k, n})
	}
	slices.SortFunc(all, func(a, b counted[K]) int { return cmp.Or(cmp.Compare(b.n, a.n), order(a.what, b.what)) })
	return all[:min(n, len(all))]
}
