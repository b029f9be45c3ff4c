package forward

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// reached is the consumer whose cursor says how far attempts may have come, beside that of hub.Consumer, which says how far they
// succeeded.
const reached = hub.Consumer + " reached"

// batch is events that are delivered together.
type batch struct {
	events []eventlog.Event // empty for a target that reads them itself
	first  time.Time        // when the first of them was stored
	end    int64            // the sequence number after the last one
}

// refused is an answer that says that what was sent is wrong, not that the target is.
type refused struct{ error }

func (r *refused) Unwrap() error { return r.error }

// lane forwards one partition.
type lane struct {
	*sender
	partition int

	// Only the lane's goroutine uses these.
	next   int64 // delivered up to here
	reach  int64 // an attempt may have come as far as this
	safe   int64 // and this is written down as the furthest an attempt may come
	pauses backoff.Backoff

	mu    sync.Mutex // guards the fields below
	state hub.Progress
	at    int64 // copy of next
}

func (l *lane) run(ctx context.Context) {
	l.pauses = backoff.Backoff{Base: l.f.cfg.Pause}
	for err := l.load(ctx); err != nil; err = l.load(ctx) {
		if !l.pause(ctx, err) {
			return
		}
	}
	l.pauses.Reset()
	for ctx.Err() == nil {
		l.skipTrimmed()
		b, err := l.target.gather(ctx, l, l.next)
		if err != nil {
			l.pause(ctx, err) // whether to go on is asked above
		} else if b.end > l.next {
			l.forward(ctx, b)
		}
	}
	// A tidy end leaves no doubt about what was delivered.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := l.save(last, l.reach); err != nil {
		l.f.log.Warn("hub: how far an endpoint has come is not written down; some events will be marked as repeated", "hub", l.hub.Name(), "endpoint", l.endpoint.Name, "err", err)
	}
}

// forward delivers a batch; it returns earlier only when ctx ends.
func (l *lane) forward(ctx context.Context, b batch) {
	for b.end > l.safe && l.target.ahead() > 0 {
		if err := l.save(ctx, b.end+l.target.ahead()); err != nil && !l.pause(ctx, err) {
			return
		}
	}
	refusals := 0
	for {
		seen := l.reach
		l.reach = max(l.reach, b.end)
		err := l.try(ctx, &b, seen)
		no, wrong := errors.AsType[*refused](err)
		switch {
		case err == nil:
			l.succeeded(b, seen)
			l.done(ctx, b.end)
			return
		case ctx.Err() != nil:
			return
		case wrong && len(b.events) > 1: // one of them is the reason: find it
			for _, e := range b.events {
				l.forward(ctx, batch{events: []eventlog.Event{e}, end: e.Sequence + 1})
				if l.next != e.Sequence+1 {
					return
				}
			}
			return
		case wrong:
			if refusals++; refusals >= l.endpoint.Attempts {
				if l.putAside(ctx, b.events[0], no, refusals) {
					l.done(ctx, b.end)
				}
				return
			}
		}
		if !l.pause(ctx, err) {
			return
		}
	}
}

func (l *lane) try(ctx context.Context, b *batch, seen int64) error {
	ctx, cancel := context.WithTimeout(ctx, l.f.cfg.Try)
	defer cancel()
	return l.target.deliver(ctx, l, b, seen)
}

// done writes down that everything before end is delivered.
func (l *lane) done(ctx context.Context, end int64) {
	l.next = end
	for {
		err := l.save(ctx, end+l.target.ahead())
		if err == nil {
			break
		}
		if !l.pause(ctx, err) {
			return // it will be delivered again, and marked
		}
	}
	l.pauses.Reset()
}

func (l *lane) load(ctx context.Context) error {
	for _, c := range []struct {
		consumer string
		into     *int64
	}{{hub.Consumer, &l.next}, {reached, &l.reach}} {
		list, err := l.f.server.Store().Cursors(ctx, l.hub.ID(), l.endpoint.Name, c.consumer)
		if err != nil {
			return err
		}
		for _, cursor := range list {
			if cursor.Partition == l.partition {
				*c.into = cursor.Next
			}
		}
	}
	l.reach = max(l.reach, l.next)
	l.safe = l.reach
	l.note(func(*hub.Progress) {})
	return nil
}

func (l *lane) save(ctx context.Context, safe int64) error {
	now := l.f.clock.Now()
	err := l.f.server.Store().Together(ctx, func(tx *hubstore.Tx) error {
		c := hubstore.Cursor{Endpoint: l.endpoint.Name, Consumer: hub.Consumer, Partition: l.partition, Next: l.next, Updated: now}
		if err := tx.SetCursor(l.hub.ID(), c); err != nil || l.target.ahead() == 0 {
			return err
		}
		c.Consumer, c.Next = reached, max(safe, l.next)
		return tx.SetCursor(l.hub.ID(), c)
	}, nil)
	if err == nil {
		l.safe = max(safe, l.next)
		l.note(func(*hub.Progress) {})
	}
	return err
}

// skipTrimmed goes on with what the log still has.
func (l *lane) skipTrimmed() {
	first, _ := l.stream.Bounds(l.partition)
	if first <= l.next {
		return
	}
	l.f.log.Error("hub: events were too old for the log before an endpoint took them", "hub", l.hub.Name(), "endpoint", l.endpoint.Name, "partition", l.partition,
		"lost", first-l.next, "next", "mend the endpoint, or keep events longer: hub serve --keep")
	lost := first - l.next
	l.next = first
	l.reach = max(l.reach, first)
	l.note(func(p *hub.Progress) { p.Lost += lost })
}

// putAside stores an event where somebody can look at it, and tells whether it is there.
func (l *lane) putAside(ctx context.Context, e eventlog.Event, why error, attempts int) bool {
	system := map[string]string{
		"isthmus-endpoint": l.endpoint.Name, "isthmus-event-id": eventID(l.hub.ID(), l.endpoint.Name, e), "isthmus-reason": fault.Message(why),
		"isthmus-attempts": strconv.Itoa(attempts), "isthmus-enqueued": e.Enqueued.UTC().Format(time.RFC3339Nano),
	}
	for k, v := range e.System {
		system[k] = v
	}
	for {
		err := l.aside.Append(ctx, e.PartitionKey, eventlog.Event{Body: e.Body, Properties: e.Properties, System: system})
		if err == nil {
			break
		}
		if !l.pause(ctx, err) {
			return false
		}
	}
	l.f.log.Warn("hub: an endpoint refused an event, which was put aside", "hub", l.hub.Name(), "endpoint", l.endpoint.Name, "partition", e.Partition, "sequence", e.Sequence,
		"attempts", attempts, "why", fault.Message(why), "next", "read it: isthmus hub events --endpoint "+hub.DeadLetter(l.endpoint.Name))
	l.note(func(p *hub.Progress) { p.PutAside++ })
	return true
}

// pause waits after a failure, and tells whether to go on.
func (l *lane) pause(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	wait := l.pauses.Next()
	if b, ok := errors.AsType[*busy](err); ok && b.wait > wait {
		wait = b.wait
	}
	now := l.f.clock.Now()
	first := false
	l.note(func(p *hub.Progress) {
		if p.Failing.IsZero() {
			p.Failing, first = now.UTC(), true
		}
		p.LastError, p.NextTry = fault.Message(err), now.Add(wait).UTC()
	})
	l.f.metrics.failures.WithLabelValues(l.hub.Name(), l.endpoint.Name).Inc()
	if first {
		l.f.log.Warn("hub: an endpoint does not take events; it is tried again", "hub", l.hub.Name(), "endpoint", l.endpoint.Name, "partition", l.partition, "err", err)
	}
	fired, stop := l.f.clock.After(wait)
	defer stop()
	select {
	case <-fired:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *lane) succeeded(b batch, seen int64) {
	var again int64
	for _, e := range b.events {
		if e.Sequence < seen && l.target.ahead() > 0 {
			again++
		}
	}
	l.note(func(p *hub.Progress) {
		if !p.Failing.IsZero() {
			l.f.log.Info("hub: an endpoint takes events again", "hub", l.hub.Name(), "endpoint", l.endpoint.Name, "partition", l.partition)
		}
		p.Failing, p.NextTry, p.LastError = time.Time{}, time.Time{}, ""
		p.Delivered += b.end - l.next
		p.Duplicates += again
	})
}

func (l *lane) note(change func(*hub.Progress)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.state)
	l.at = l.next
}

// add adds what the lane knows to the progress of its endpoint.
func (l *lane) add(ctx context.Context, p *hub.Progress) {
	l.mu.Lock()
	s, at := l.state, l.at
	l.mu.Unlock()
	p.Delivered += s.Delivered
	p.PutAside += s.PutAside
	p.Lost += s.Lost
	p.Duplicates += s.Duplicates
	if !s.Failing.IsZero() && (p.Failing.IsZero() || s.Failing.Before(p.Failing)) {
		p.Failing, p.LastError, p.NextTry = s.Failing, s.LastError, s.NextTry
	}
	first, end := l.stream.Bounds(l.partition)
	at = max(at, first)
	if end <= at {
		return
	}
	p.Waiting += end - at
	if list, err := l.stream.Events(ctx, l.partition, at, 1); err == nil && len(list) == 1 {
		if t := list[0].Enqueued.UTC(); p.Oldest.IsZero() || t.Before(p.Oldest) {
			p.Oldest = t
		}
	}
}
