package database

import (
	"context"
	"sync"
)

// maxTogether is how many functions share a transaction at most; more wait for the next one.
const maxTogether = 1024

// together is the queue of functions that wait for the next shared transaction.
type together struct {
	mu      sync.Mutex // guards the fields below
	room    sync.Cond
	waiting []*part
	running bool           // a goroutine carries out what waits; it ends when nothing does
	done    sync.WaitGroup // that goroutine
	closed  bool
}

type part struct {
	ctx  context.Context //nolint:containedctx // it travels with its function
	fn   func(s *Session) error
	done func(error)
	err  error
}

// Submit runs fn in a transaction that may write, together with the functions which others submit meanwhile, so that all of them share
// one fsync; and calls done with what fn returned, or with the failure of the commit, once fn's work is durable or undone. An error of fn
// undoes only its own work. Functions run one after the other in the order of their submission, and done is called in that order, by one
// goroutine; neither may wait for another Submit or Write. Submit itself waits while too much is queued.
func (db *DB) Submit(ctx context.Context, fn func(s *Session) error, done func(error)) {
	q := &db.together
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) >= maxTogether && !q.closed {
		q.room.Wait()
	}
	q.waiting = append(q.waiting, &part{ctx: ctx, fn: fn, done: done})
	if !q.running {
		q.running = true
		q.done.Go(db.carryOut)
	}
}

// Together is Submit for who wants to wait. after, which may be nil, is called as done is, when there was no error.
func (db *DB) Together(ctx context.Context, fn func(s *Session) error, after func()) error {
	answer := make(chan error, 1)
	db.Submit(ctx, fn, func(err error) {
		if err == nil && after != nil {
			after()
		}
		answer <- err
	})
	return <-answer
}

func (db *DB) carryOut() {
	q := &db.together
	for {
		q.mu.Lock()
		batch := q.waiting
		q.waiting = nil
		q.running = len(batch) > 0
		q.room.Broadcast()
		q.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		db.commitTogether(batch)
		for _, p := range batch {
			p.done(p.err)
		}
	}
}

// commitTogether gives every part its error.
func (db *DB) commitTogether(batch []*part) {
	op := "database.Together"
	fail := func(err error) {
		for _, p := range batch {
			if p.err == nil {
				p.err = err
			}
		}
	}
	if len(batch) == 1 { // its own transaction is its savepoint
		p := batch[0]
		p.err = db.Write(p.ctx, p.fn)
		return
	}
	// One caller's patience must not end the others' transaction.
	ctx := context.Background()
	err := db.Write(ctx, func(s *Session) error {
		for _, p := range batch {
			if p.err = p.ctx.Err(); p.err != nil {
				p.err = db.explain(op, p.err)
				continue
			}
			if _, err := s.Exec("SAVEPOINT part"); err != nil {
				return err
			}
			p.err = p.fn(s)
			end := "RELEASE SAVEPOINT part"
			if p.err != nil {
				end = "ROLLBACK TO SAVEPOINT part"
			}
			if _, err := s.Exec(end); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		fail(err)
	}
}

// drain waits until what was submitted is carried out.
func (q *together) drain() {
	q.mu.Lock()
	q.closed = true
	q.room.Broadcast()
	q.mu.Unlock()
	q.done.Wait()
}
