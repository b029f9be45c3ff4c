package storage

import (
	"context"
	"errors"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/storagestore"
)

const (
	sweepEvery = 30 * time.Second
	// grace is how long a content stays after the last blob had it: who had found the row has opened the content by then.
	grace       = time.Minute
	maxWait     = 7 * 24 * time.Hour // of blocks that wait (Put Block: they are discarded a week later)
	sweepAtOnce = 1000
)

// Run deletes contents that no blob has and blocks that waited too long, until ctx ends; then it returns nil.
func (s *Server) Run(ctx context.Context) error {
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("storage: what is no longer needed could not be deleted", "err", err)
		}
		tick, stop := s.clock.After(sweepEvery)
		select {
		case <-tick:
		case <-ctx.Done():
			stop()
			return nil
		}
	}
}

func (s *Server) sweep(ctx context.Context) error {
	now := s.clock.Now()
	var errs []error // of one content, which is tried again, and in nobody's way
	for _, u := range s.contents.Waiting() {
		if s.waiting.lapsed(u, now) {
			s.waiting.mu.Lock()
			delete(s.waiting.touched, u)
			s.waiting.mu.Unlock()
			errs = append(errs, s.contents.Forget(u))
		}
	}
	for ctx.Err() == nil {
		list, err := s.store.Reading(ctx).Garbage(now.Add(-grace), sweepAtOnce)
		if err != nil {
			return err
		}
		var gone []storagestore.Garbage
		for _, g := range list {
			if s.making.has(g) {
				continue
			}
			a := Account{id: g.Account}
			if err := s.contents.Delete(ctx, a.contentRef(g.Content)); err != nil && fault.KindOf(err) != fault.NotFound {
				errs = append(errs, err)
				continue
			}
			gone = append(gone, g)
		}
		if len(gone) == 0 {
			break
		}
		if err := s.store.Write(ctx, func(tx *storagestore.Tx) error { return tx.Forget(gone) }); err != nil {
			return err
		}
		if len(list) < sweepAtOnce {
			break
		}
	}
	return errors.Join(errs...)
}
