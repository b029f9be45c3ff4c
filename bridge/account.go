package bridge

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/clock"
)

const (
	reserveAhead = 50_000                 // sequence numbers that are written down as possibly sent before they are
	savePause    = 100 * time.Millisecond // between checkpoints nobody waits for, and 10 times what the last one took
)

// account keeps a bridge's checkpoint: lanes tell what is done, and one goroutine writes it down. What is done may be written a little
// later, which costs repeats after a crash and nothing else; what is about to be sent is reserved first, so that those repeats are marked.
type account struct {
	file *checkpoint.File
	clk  clock.Clock
	told func(err error) // of each attempt to write; nil error: it is written

	mu      sync.Mutex // guards the fields below
	state   checkpoint.State
	window  *rows // whose snapshot is part of the state; nil without a window
	changed uint64
	saved   uint64        // what of changed is on the disk
	moved   chan struct{} // closed when saved rises
	durable map[string]checkpoint.Partition

	kick   chan struct{} // something changed; of capacity 1
	urgent chan struct{} // and somebody waits for it
}

func newAccount(file *checkpoint.File, state *checkpoint.State, clk clock.Clock, told func(error)) *account {
	a := &account{file: file, clk: clk, told: told, state: *state, changed: 1, moved: make(chan struct{}), kick: make(chan struct{}, 1), urgent: make(chan struct{}, 1)}
	if a.state.Partitions == nil {
		a.state.Partitions = map[string]checkpoint.Partition{}
	}
	a.durable = maps.Clone(a.state.Partitions)
	return a
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// change does something with the state, which will be written down.
func (a *account) change(do func(s *checkpoint.State)) {
	a.mu.Lock()
	do(&a.state)
	a.changed++
	a.mu.Unlock()
	poke(a.kick)
}

// look reads the state.
func (a *account) look(do func(s *checkpoint.State)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do(&a.state)
}

// save returns when all that was changed before is on the disk.
func (a *account) save(ctx context.Context) error {
	a.mu.Lock()
	want := a.changed
	for a.saved < want {
		moved := a.moved
		a.mu.Unlock()
		poke(a.urgent)
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
		a.mu.Lock()
	}
	a.mu.Unlock()
	return nil
}

// reserve sees that events up to below next may be sent: after a crash they are known to be possible repeats. Half of what is reserved is
// left when more is written down, so that it is seldom waited for.
func (a *account) reserve(ctx context.Context, partition string, next int64) error {
	a.mu.Lock()
	p := a.state.Partitions[partition]
	enough := next <= a.durable[partition].Reserved
	more := p.Reserved < next+reserveAhead/2
	if more {
		p.Reserved = next + reserveAhead
		a.state.Partitions[partition] = p
		a.changed++
	}
	a.mu.Unlock()
	if more {
		poke(a.urgent)
	}
	if enough {
		return nil
	}
	return a.save(ctx)
}

// run writes the state down until ctx ends, and then once more.
func (a *account) run(ctx context.Context) {
	shortest := savePause
	if a.window != nil {
		shortest = lookAtWindows // rows ask when they need it; a snapshot in between only shortens what is read again
	}
	pause := shortest
	retry := backoff.Backoff{Base: time.Second, Max: 30 * time.Second}
	for ctx.Err() == nil {
		select {
		case <-a.urgent:
		case <-a.kick:
			fired, stop := a.clk.After(pause)
			select {
			case <-fired:
			case <-a.urgent:
			case <-ctx.Done():
			}
			stop()
		case <-ctx.Done():
		}
		began := a.clk.Now()
		err := safely("the checkpoint", a.write)
		a.told(err)
		if err != nil {
			retry.Wait(ctx, a.clk)
			poke(a.urgent)
			continue
		}
		retry.Reset()
		pause = max(shortest, 10*min(a.clk.Now().Sub(began), time.Minute))
	}
	a.told(safely("the checkpoint", a.write))
}

// write puts the state on the disk if it is not there.
func (a *account) write() error {
	state, version, err := a.copy()
	if err != nil || state == nil {
		return err
	}
	if err := a.file.Write(state); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.saved, a.durable = version, state.Partitions
	close(a.moved)
	a.moved = make(chan struct{})
	return nil
}

// copy is the state as it is now, nil when it is on the disk. With a window no event is between it and the positions.
func (a *account) copy() (*checkpoint.State, uint64, error) {
	if w := a.window; w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.saved == a.changed {
		return nil, 0, nil
	}
	s := a.state
	s.Partitions, s.Days = maps.Clone(s.Partitions), slices.Clone(s.Days)
	if a.window != nil {
		var ok bool
		var err error
		if s.Window, ok, err = a.window.snapshot(); !ok {
			return nil, 0, err
		}
	}
	return &s, a.changed, nil
}
