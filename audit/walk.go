package audit

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
)

// Source gives one chain page by page.
type Source interface {
	// Records returns at most so many records with higher sequences, in order.
	Records(ctx context.Context, after int64, limit int) ([]Record, error)
	// Checkpoints returns at most so many checkpoints of records with higher sequences, in order.
	Checkpoints(ctx context.Context, after int64, limit int) ([]Checkpoint, error)
}

// Page is how many records or checkpoints a Walk asks for at once.
const Page = 1000

// Walk goes through a chain and its checkpoints. Its fields say how far it got, so that a later one can go on from there.
type Walk struct {
	Source     Source
	After      int64 // records up to this one were visited
	Checkpoint int64 // checkpoints of records up to this one were visited
}

// Run visits the records and, behind each, its checkpoints, until there are no more; checkpoints of records that are not there come last.
// What an earlier Run visited is not visited again. The first error ends it, and After and Checkpoint count what was visited before it.
func (w *Walk) Run(ctx context.Context, record func(Record) error, checkpoint func(Checkpoint) error) error {
	limit := Page
	marks, moreMarks, again := []Checkpoint(nil), true, false
	visit := func(through int64) error { // checkpoints up to a record
		for {
			if len(marks) == 0 && moreMarks {
				var err error
				if marks, err = w.Source.Checkpoints(ctx, w.Checkpoint, Page); err != nil {
					return err
				}
				moreMarks = len(marks) == Page
			}
			if len(marks) == 0 || marks[0].Sequence > through {
				return nil
			}
			if err := checkpoint(marks[0]); err != nil {
				return err
			}
			w.Checkpoint, marks = marks[0].Sequence, marks[1:]
		}
	}
	for {
		page, err := w.Source.Records(ctx, w.After, limit)
		if fault.KindOf(err) == fault.TooLarge && limit > 1 {
			limit = max(limit/4, 1)
			continue
		}
		if err != nil {
			return err
		}
		if err := visit(w.After); err != nil {
			return err
		}
		for _, r := range page {
			if err := record(r); err != nil {
				return err
			}
			w.After = max(w.After, r.Sequence)
			if err := visit(r.Sequence); err != nil {
				return err
			}
		}
		switch {
		case len(page) == limit:
			limit = min(limit*2, Page)
		case len(marks) > 0 && (len(page) > 0 || !again): // made since the page was read, so their records are there by now
			again = len(page) == 0
		default:
			for _, c := range marks {
				if err := checkpoint(c); err != nil {
					return err
				}
				w.Checkpoint = c.Sequence
			}
			return nil
		}
	}
}
