package storage

import (
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Condition is what has to hold for a request to be carried out (Blob service: conditional headers). The zero value always holds.
type Condition struct {
	IfMatch         string // an etag, not quoted, or * for any
	IfNoneMatch     string // the same
	ModifiedSince   time.Time
	UnmodifiedSince time.Time
	Lease           string // id of the lease that whoever asks holds
}

// what of it holds for something that has an etag and a time, or is not there.
func (c Condition) holds(etag string, modified time.Time, there bool) (matches, isNew bool) {
	matches = c.IfMatch == "" || there && (c.IfMatch == "*" || c.IfMatch == etag)
	if !c.UnmodifiedSince.IsZero() && there && modified.Truncate(time.Second).After(c.UnmodifiedSince) {
		matches = false
	}
	isNew = true
	switch {
	case c.IfNoneMatch != "":
		isNew = !there || c.IfNoneMatch != "*" && c.IfNoneMatch != etag
	case !c.ModifiedSince.IsZero() && there:
		isNew = modified.Truncate(time.Second).After(c.ModifiedSince)
	}
	return matches, isNew
}

// forChange refuses a change whose condition does not hold.
func (c Condition) forChange(op, etag string, modified time.Time, there bool) error {
	matches, isNew := c.holds(etag, modified, there)
	switch {
	case !matches:
		return fault.New(op, fault.Precondition, "the condition of the request does not hold: somebody else changed this, or it is not there").
			Advise("read it again, and decide anew").Because(ConditionNotMet)
	case !isNew && c.IfNoneMatch == "*":
		return fault.New(op, fault.Conflict, "the blob exists already").Because(BlobAlreadyExists)
	case !isNew:
		return fault.New(op, fault.Precondition, "the condition of the request does not hold: nothing has changed").Because(ConditionNotMet)
	}
	return nil
}

// forRead refuses a look whose condition does not hold.
func (c Condition) forRead(op, etag string, modified time.Time) error {
	matches, isNew := c.holds(etag, modified, true)
	switch {
	case !matches:
		return fault.New(op, fault.Precondition, "the condition of the request does not hold: the blob is another one by now").Because(ConditionNotMet)
	case !isNew:
		return fault.New(op, fault.Precondition, "the blob is the one that was known").Because(NotModified)
	}
	return nil
}

// forSource refuses to copy what is not as it should be.
func (c Condition) forSource(op, etag string, modified time.Time) error {
	if matches, isNew := c.holds(etag, modified, true); !matches || !isNew {
		return fault.New(op, fault.Precondition, "the condition for the source of the copy does not hold").Because(SourceConditionNotMet)
	}
	return nil
}
