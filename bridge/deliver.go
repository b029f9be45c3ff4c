package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

const (
	hungAfter   = 10 * time.Second // a write that takes longer is told of in the status
	giveUpAfter = 2 * time.Minute  // and given up, to be tried again
	flushLook   = 500 * time.Millisecond
)

// deliver is the output of what leaves the bridge: dead letters first, then the destination, then the account.
type deliver struct {
	run  *run
	lane string
	part *partition // whose sequence numbers are reserved; nil for rows and replays

	since  atomic.Int64 // when the write under way began, in nanoseconds of the run; 0: none is
	cancel atomic.Pointer[context.CancelCauseFunc]
	stuck  atomic.Bool // the destination does not take anything

	mu     sync.Mutex // one batch, or one flush, at a time; guards held
	buffer Buffered   // nil where what is written counts at once
	held   []landing  // taken in by buffer and not flushed
}

// landing is what is to be said when a batch is done with.
type landing struct {
	b              *batch
	sent, repeated int64
}

func newDeliver(r *run, lane string, part *partition) *deliver {
	d := &deliver{run: r, lane: lane, part: part}
	d.buffer, _ = r.destination.(Buffered)
	return d
}

func (d *deliver) put(ctx context.Context, b *batch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.run.bury(ctx, d.lane, b.dead); err != nil {
		return err
	}
	known := len(b.dead)
	if d.part != nil && len(b.out) > 0 {
		if err := d.run.account.reserve(ctx, d.part.name, b.next); err != nil {
			return err
		}
		d.part.tried.Store(b.next)
	}
	l := landing{b: b}
	for begin := 0; begin < len(b.out); {
		n, err := d.run.permit(ctx, d.lane, b.out[begin:])
		if err != nil {
			return err
		}
		if err := d.write(ctx, b, begin, begin+n, &l); err != nil {
			return err
		}
		begin += n
	}
	if err := d.run.bury(ctx, d.lane, b.dead[known:]); err != nil {
		return err
	}
	if d.buffer == nil {
		d.land(&l)
		return nil
	}
	b.in, b.out, b.from = nil, nil, nil // the destination has what it needs
	d.held = append(d.held, l)
	return d.flushIfDue(ctx)
}

// write brings part of a batch to the destination, whatever it takes.
func (d *deliver) write(ctx context.Context, b *batch, begin, end int, l *landing) error {
	events := b.out[begin:end]
	p := d.run.troubles.patience("destination/" + d.lane)
	for {
		err := d.attempt(ctx, "the destination", func(ctx context.Context) error { return d.run.destination.Write(ctx, d.lane, events) })
		refused, isRefused := errors.AsType[*event.Refused](err)
		if err == nil || isRefused {
			p.over()
			d.stuck.Store(false)
			for i, e := range events {
				if isRefused && refused.At[i] != nil {
					b.die(begin+i, AtDestination, refused.At[i])
					continue
				}
				l.sent++
				if e.Repeat {
					l.repeated++
				}
			}
			if d.buffer == nil {
				d.tell(l)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.stuck.Store(true)
		if d.buffer == nil { // some may have arrived
			for _, e := range events {
				e.Repeat = true
			}
		}
		if !p.again(ctx, AtDestination, err) {
			return ctx.Err()
		}
	}
}

// attempt does one thing at the destination, watched by the run.
func (d *deliver) attempt(ctx context.Context, what string, do func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	d.cancel.Store(&cancel)
	d.since.Store(int64(d.run.age()))
	defer func() {
		d.since.Store(0)
		d.cancel.Store(nil)
		cancel(nil)
	}()
	err := safely(what, func() error { return do(ctx) })
	if cause := context.Cause(ctx); err != nil && fault.KindOf(cause) == fault.Timeout {
		return cause
	}
	return err
}

// watch tells of a write that takes too long, and gives it up in the end.
func (d *deliver) watch(age time.Duration) {
	since := time.Duration(d.since.Load())
	if since == 0 {
		d.run.troubles.end("hung/" + d.lane)
		return
	}
	if age-since < hungAfter {
		return
	}
	d.stuck.Store(true)
	d.run.troubles.begin("hung/"+d.lane, waiting{step: AtDestination, words: fmt.Sprintf("the destination has not answered for more than %v", hungAfter)})
	if cancel := d.cancel.Load(); cancel != nil && age-since > giveUpAfter {
		(*cancel)(fault.Newf("bridge.write", fault.Timeout, "the destination did not answer within %v", giveUpAfter))
	}
}

// tell counts what was sent.
func (d *deliver) tell(l *landing) {
	d.run.c.rates.add(d.run.clk.Now(), l.sent)
	d.run.account.change(func(s *checkpoint.State) {
		s.Counts.Sent += l.sent
		s.Counts.Repeated += l.repeated
	})
	l.sent, l.repeated = 0, 0
}

// land says that a batch is done with.
func (d *deliver) land(l *landing) {
	d.tell(l)
	d.run.took(l.b)
	l.b.land(l.count)
}

// count counts what was not sent.
func (l *landing) count(s *checkpoint.State) {
	c := &s.Counts
	c.Filtered += l.b.filtered
	c.Dropped += l.b.dropped
	c.Dead += int64(len(l.b.dead))
}

// flushIfDue makes durable at the destination what a buffer holds, when it is time. Called with mu.
func (d *deliver) flushIfDue(ctx context.Context) error {
	at, pending := d.buffer.Due(d.lane)
	if len(d.held) == 0 || pending && at.After(d.run.clk.Now()) {
		return nil
	}
	return d.flushAll(ctx, pending)
}

// flush makes durable what a buffer holds, now.
func (d *deliver) flush(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.held) == 0 {
		return nil
	}
	_, pending := d.buffer.Due(d.lane)
	return d.flushAll(ctx, pending)
}

func (d *deliver) flushAll(ctx context.Context, pending bool) error {
	p := d.run.troubles.patience("destination/" + d.lane)
	for pending { // where all were refused there is nothing to flush
		err := d.attempt(ctx, "the destination", func(ctx context.Context) error { return d.buffer.Flush(ctx, d.lane) })
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.stuck.Store(true)
		if !p.again(ctx, AtDestination, err) {
			return ctx.Err()
		}
	}
	p.over()
	d.stuck.Store(false)
	for i := range d.held {
		d.land(&d.held[i])
	}
	d.held = nil
	return nil
}

// keepFlushing flushes when nothing new comes.
func (d *deliver) keepFlushing(ctx context.Context) {
	for ctx.Err() == nil {
		fired, stop := d.run.clk.After(flushLook)
		select {
		case <-fired:
		case <-ctx.Done():
		}
		stop()
		d.mu.Lock()
		_ = d.flushIfDue(ctx) // an error is the end of ctx
		d.mu.Unlock()
	}
}

// drop forgets what a buffer holds, at the end of a run: it comes again.
func (d *deliver) drop() {
	if d.buffer != nil {
		d.buffer.Drop(d.lane)
	}
}
