package bridge

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

// rowsLane is the name of the lane that takes a window's rows on.
const rowsLane = "rows"

const (
	lookAtWindows = time.Second            // how often windows are looked at when nothing comes
	rowsPause     = 500 * time.Millisecond // from when something came to when it is looked at
	gatePause     = 250 * time.Millisecond
)

// rows is a window between the lanes that fill it and the one that takes its rows on. Its state and the positions of the lanes that fill
// it change under one lock and are written down together. Rows are on the disk before they are sent, so what is sent is what will be sent
// again after a crash.
type rows struct {
	run    *run
	limit  int
	filled chan struct{} // of capacity 1: something was added

	full atomic.Bool   // more rows are due than were taken on
	out  *deliver      // of the rows' lane
	ins  []*partition  // of the lanes that fill it
	pace time.Duration // of snapshots; owned by next

	mu       sync.Mutex // guards the fields below, and window
	window   Window
	taken    int  // rows handed out and not forgotten
	restored int  // of the first rows: they may have been sent by a process before
	broken   bool // it has events that its positions do not: it must not be written down
}

func newRows(r *run, w Window, limit int) *rows {
	x := &rows{run: r, limit: limit, filled: make(chan struct{}, 1), window: w, pace: lookAtWindows}
	for {
		n := len(w.Closed(x.restored, limit))
		if x.restored += n; n < limit {
			return x
		}
	}
}

// snapshot is called with mu. ok is false when the window is ahead of its positions.
func (x *rows) snapshot() (state []byte, ok bool, err error) {
	if x.broken {
		return nil, false, nil
	}
	state, err = x.window.Snapshot()
	return state, err == nil, err
}

// put takes a batch of a partition in.
func (x *rows) put(ctx context.Context, name string, b *batch) error {
	if err := x.run.bury(ctx, name, b.dead); err != nil {
		return err
	}
	p := x.run.troubles.patience("window/" + name)
	for {
		for x.full.Load() || x.out.stuck.Load() { // what is closed has to go before more may close
			if !x.run.troubles.pause(ctx, gatePause) {
				return ctx.Err()
			}
		}
		err := x.add(ctx, name, b)
		if err == nil {
			p.over()
			poke(x.filled)
			return nil
		}
		if f, ok := errors.AsType[*fatal](err); ok {
			x.run.fail(f)
		}
		if !p.again(ctx, x.run.windowStep, err) {
			return ctx.Err()
		}
	}
}

// fatal is an error after which the run has to begin anew from its checkpoint.
type fatal struct{ error }

func (e *fatal) Unwrap() error { return e.error }

func (x *rows) add(ctx context.Context, name string, b *batch) (err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := ctx.Err(); err != nil || x.broken {
		return err
	}
	x.broken = true
	inside := true
	defer func() {
		if p := recover(); p != nil {
			err = &fatal{fault.Newf("bridge.add", fault.Unavailable, "the window failed inside: %.300v", p)}
		} else if !inside {
			x.broken = false
		}
	}()
	err = x.window.Add(name, b.out)
	refused, isRefused := errors.AsType[*event.Refused](err)
	if err != nil && !isRefused {
		inside = false // none is in
		return err
	}
	known := len(b.dead)
	for i := range b.out {
		if isRefused && refused.At[i] != nil {
			b.die(i, x.run.windowStep, refused.At[i])
		}
	}
	if err := x.run.bury(ctx, name, b.dead[known:]); err != nil {
		return err // the run has ended, and what is in the window is forgotten with it
	}
	l := landing{b: b}
	x.run.took(b)
	b.land(l.count)
	inside = false
	return nil
}

// idle tells the window which partitions have nothing to read.
func (x *rows) idle(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken {
		return
	}
	any := false
	for _, p := range x.ins {
		if p.waiting.Load() && p.oldest().IsZero() {
			x.window.Idle(p.name, now)
			any = true
		}
	}
	if any && x.window.Counts().Open > 0 { // it may close by that: it has to be written down
		x.run.account.change(func(*checkpoint.State) {})
	}
}

// next hands out rows that are due, once they are on the disk.
func (x *rows) next(ctx context.Context) (*batch, error) {
	for {
		began := x.run.clk.Now()
		if err := x.run.account.save(ctx); err != nil {
			return nil, err
		}
		x.pace = max(lookAtWindows, 10*min(x.run.clk.Now().Sub(began), time.Minute))
		list := x.due()
		x.full.Store(len(list) == x.limit)
		if len(list) > 0 {
			x.run.account.change(func(*checkpoint.State) {})
			if err := x.run.account.save(ctx); err != nil {
				return nil, err
			}
			return &batch{in: list, out: list, began: began, land: x.forget(len(list))}, nil
		}
		fired, stop := x.run.clk.After(x.pace)
		select {
		case <-fired:
		case <-x.filled:
			stop()
			fired, stop = x.run.clk.After(max(rowsPause, x.pace-lookAtWindows)) // a large state is not written down for each batch
			select {
			case <-fired:
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		stop()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		x.idle(x.run.clk.Now())
	}
}

// due returns rows that were not handed out yet.
func (x *rows) due() []*event.Event {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken {
		return nil
	}
	list := x.window.Closed(x.taken, x.limit)
	for i, e := range list {
		e.Repeat = x.taken+i < x.restored
	}
	x.taken += len(list)
	return list
}

func (x *rows) counts() WindowCounts {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.window.Counts()
}

func (x *rows) forget(n int) func(count func(s *checkpoint.State)) {
	return func(count func(s *checkpoint.State)) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.window.Forget(n)
		x.taken -= n
		x.restored = max(0, x.restored-n)
		x.run.account.change(count)
	}
}

func (x *rows) close() {}

// fill is the output of a lane that fills the window.
type fill struct {
	rows *rows
	name string
}

func (f *fill) put(ctx context.Context, b *batch) error { return f.rows.put(ctx, f.name, b) }
