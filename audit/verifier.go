package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// window is how many records a Verifier reads on after the first that does not fit, and looks back, to tell what was done.
const (
	window      = 64
	windowBytes = 64 << 20
)

// maxExpected is how many checkpoints may wait for their records.
const maxExpected = 4096

// Verifier walks one chain. It is given the chain's records in order with Record, checkpoints with Expect before the record after theirs, and
// at last End. Each returns a *Break once it is known what was done to the chain, which may be some records after the place, and then for ever.
type Verifier struct {
	tenant string
	roots  []byte
	from   Place // where it began
	last   Place // the last record that fits
	passed [window]Place
	marks  []Checkpoint // expected, in order
	good   Checkpoint   // the last whose record was as it says; zero: none
	held   []Record     // from the first that does not fit
	bytes  int          // of these
	broken *Break
}

// NewVerifier begins after a place of a tenant's chain, the zero Place for the whole of it. With the authority's certificates as PEM text,
// signatures of checkpoints are checked; nil: they are believed.
func NewVerifier(tenant string, after Place, rootsPEM []byte) *Verifier {
	return &Verifier{tenant: tenant, roots: rootsPEM, from: after, last: after}
}

// Tenant is whose chain it is.
func (v *Verifier) Tenant() string { return v.tenant }

// Last returns the last record that fits.
func (v *Verifier) Last() Place { return v.last }

// Covered returns the last checkpoint that was met and fits; zero when there was none.
func (v *Verifier) Covered() Checkpoint { return v.good }

// Expect gives a checkpoint, before its record or soon after: what is known of records that were passed is forgotten, and a checkpoint of one of
// those is Forged.
func (v *Verifier) Expect(c Checkpoint) error {
	if v.broken != nil {
		return v.broken
	}
	forged := func(words string) error { return v.breaks(Break{Sequence: c.Sequence, What: Forged, Words: words}) }
	if c.Tenant != v.tenant {
		return forged("it is of another chain, the one " + whose(c.Tenant))
	}
	if v.roots != nil {
		switch err := c.Verify(v.roots); {
		case fault.KindOf(err) == fault.Unauthenticated:
			return forged(fault.Message(err))
		case err != nil: // there is nothing to check it with
			return err
		}
	}
	switch passed := v.passed[max(c.Sequence, 0)%window]; {
	case len(v.held) > 0: // whatever it says, the records before it do not fit
		return nil
	case c.Sequence == v.last.Sequence:
		return v.compare(c, v.last)
	case c.Sequence < v.last.Sequence && c.Sequence == passed.Sequence:
		return v.compare(c, passed)
	case c.Sequence < v.last.Sequence:
		return forged("it does not stand behind that record")
	case len(v.marks) == maxExpected:
		return forged("too many checkpoints come before their records")
	}
	at, _ := slices.BinarySearchFunc(v.marks, c.Sequence+1, func(m Checkpoint, s int64) int { return cmp.Compare(m.Sequence, s) })
	v.marks = slices.Insert(v.marks, at, c)
	return nil
}

// compare holds a checkpoint against a record that fits.
func (v *Verifier) compare(c Checkpoint, at Place) error {
	if c.Hash == at.Hash {
		if c.Sequence > v.good.Sequence {
			v.good = c
		}
		return nil
	}
	since := ""
	if v.good.Sequence > 0 {
		since = fmt.Sprintf(", after record %d", v.good.Sequence)
	}
	return v.breaks(Break{Sequence: c.Sequence, What: Rewritten,
		Words: fmt.Sprintf("the chain was rewritten up to it%s: the hashes fit each other, but not the checkpoint signed at %s", since, c.At.UTC().Format(time.RFC3339))})
}

func (v *Verifier) breaks(b Break) error {
	b.Tenant = v.tenant
	v.broken, v.held, v.marks = &b, nil, nil
	return v.broken
}

// Record gives the next record. It is kept no longer than until it is known to fit, or what was done is known.
func (v *Verifier) Record(r Record) error {
	switch {
	case v.broken != nil:
		return v.broken
	case len(v.held) == 0 && r.Tenant == v.tenant && r.Sequence == v.last.Sequence+1 && r.Previous == v.last.Hash && r.Hash == r.Digest():
		v.last = r.Place()
		v.passed[r.Sequence%window] = v.last
		for len(v.marks) > 0 && v.marks[0].Sequence == r.Sequence {
			c := v.marks[0]
			v.marks = v.marks[1:]
			if err := v.compare(c, v.last); err != nil {
				return err
			}
		}
		return nil
	}
	v.held, v.bytes = append(v.held, r), v.bytes+r.size()
	if len(v.held) < window && v.bytes < windowBytes {
		return nil
	}
	return v.breaks(v.judge())
}

// AtLeast is a head of which only the number is known; nil for 0, when nothing is.
func AtLeast(sequence int64) *Place {
	if sequence <= 0 {
		return nil
	}
	return &Place{Sequence: sequence}
}

// End says that there are no more records. The head is where the chain ends by what else is known: nil when nothing is, and without a hash
// when the chain is known to go at least so far.
func (v *Verifier) End(head *Place) error {
	switch {
	case v.broken != nil:
		return v.broken
	case len(v.held) > 0:
		return v.breaks(v.judge())
	case len(v.marks) > 0:
		c := v.marks[0]
		return v.breaks(Break{Sequence: v.last.Sequence + 1, What: CutOff, Count: v.marks[len(v.marks)-1].Sequence - v.last.Sequence,
			Words: fmt.Sprintf("the chain ends early, it was cut off: a checkpoint signed at %s names record %d", c.At.UTC().Format(time.RFC3339), c.Sequence)})
	case head == nil:
		return nil
	case head.Sequence > v.last.Sequence:
		return v.breaks(Break{Sequence: v.last.Sequence + 1, What: CutOff, Count: head.Sequence - v.last.Sequence,
			Words: fmt.Sprintf("the chain ends early, it was cut off: its last record was number %d", head.Sequence)})
	case head.Hash == "" && head.Sequence > 0:
	case head.Sequence < v.from.Sequence:
		return v.breaks(Break{Sequence: head.Sequence + 1, What: CutOff, Count: v.from.Sequence - head.Sequence,
			Words: fmt.Sprintf("the chain ends early, it was cut off: record %d was there once", v.from.Sequence)})
	case head.Sequence < v.last.Sequence:
		return v.breaks(Break{Sequence: head.Sequence + 1, What: Inserted, Count: v.last.Sequence - head.Sequence,
			Words: fmt.Sprintf("it was inserted: the chain's last record is number %d", head.Sequence)})
	case head.Hash != v.last.Hash:
		return v.breaks(Break{Sequence: head.Sequence, Count: 1, What: Changed, Words: "it was changed and its hash made to fit: the chain's last record had another one"})
	}
	return nil
}
