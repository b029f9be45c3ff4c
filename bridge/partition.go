package bridge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// takeOverPause is how long a process that has pushed another one out of a partition waits before it sends: the other one has ended what it
// had under way by then, so that nothing of it comes behind the marked copies.
const takeOverPause = 2 * time.Second

// partition is the input that reads a partition of the source. Its stream's goroutine that reads owns it; what others see is atomic or
// under mu.
type partition struct {
	run   *run
	name  string
	start Position // where it begins as long as no event was read

	reader Reader
	read   int64 // the next to be read: all before it is handed out or left out. -1: not known
	fresh  bool  // the next event is the reader's first, and read says which it should be
	marked int64 // events below may have been sent before; -1: all up to where the source ends when it is first heard of
	repeats

	end     atomic.Int64 // the sequence number that the source's next event gets, as last heard; -1: never
	waiting atomic.Bool  // all that is there was handed out
	tried   atomic.Int64 // events below may have been sent by this lane

	mu     sync.Mutex // guards flying
	flying []flight   // batches handed out and not done with, in order
}

// flight is one of them.
type flight struct {
	next   int64
	oldest time.Time // when its first event came in
}

// newPartition begins where the account says.
func newPartition(r *run, name string) *partition {
	p := &partition{run: r, name: name, read: -1, start: startOf(r.plan.Spec.Source.Start)}
	r.account.look(func(s *checkpoint.State) {
		if at, ok := s.Partitions[name]; ok {
			p.read, p.marked = at.Next, at.Reserved
			if at.Foreign {
				p.marked = -1
			}
			p.repeats.begin(at.Origins)
		}
	})
	p.keep = r.plan.Spec.Source.Repeats == resource.RepeatsKeep
	p.end.Store(-1)
	p.tried.Store(p.read)
	return p
}

func startOf(text string) Position {
	if text == "latest" {
		return Position{Sequence: -1, Latest: true}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return Position{Sequence: -1, Time: t}
	}
	return Earliest()
}

func (p *partition) next(ctx context.Context) (*batch, error) {
	wait := p.run.troubles.patience("source/" + p.name)
	for ctx.Err() == nil {
		var events []*event.Event
		err := safely("the source", func() (err error) {
			if p.reader == nil {
				if err := p.open(ctx); err != nil {
					return err
				}
				p.run.troubles.end("source/" + p.name) // it is there again, whether or not it has anything new
			}
			p.waiting.Store(p.atEnd())
			events, err = p.reader.Next(ctx, p.run.maxEvents, p.run.maxBytes)
			p.waiting.Store(false)
			return err
		})
		if fault.KindOf(err) == fault.Conflict && err != nil { // another process reads: what is under way here must not come behind what it sends
			p.run.fail(&stepError{AtSource, err})
			return nil, err
		}
		if err != nil {
			p.close()
			wait.again(ctx, AtSource, err)
			continue
		}
		wait.over()
		p.hear()
		if b := p.take(events); b != nil {
			return b, nil
		}
	}
	return nil, ctx.Err()
}

// atEnd tells whether nothing is known of that is still to be handed out: also of a partition that is empty, or has had nothing since the time
// at which the bridge begins.
func (p *partition) atEnd() bool {
	end := p.end.Load()
	return end >= 0 && (p.read >= end || p.read < 0 && (end == 0 || !p.start.Time.IsZero()))
}

// open begins to read behind what was handed out last.
func (p *partition) open(ctx context.Context) error {
	from := p.start
	if p.read >= 0 {
		from = At(p.read)
	}
	r, err := p.run.source.Read(ctx, p.name, from, p.run.plan.Assignment)
	if err != nil {
		return err
	}
	p.reader, p.fresh = r, p.read >= 0
	p.hear()
	end := p.end.Load()
	if end < 0 {
		return nil
	}
	if p.read > end {
		return fault.Newf("bridge.read", fault.Invalid, "partition %s of the source ends at %d, and the bridge has come to %d: it is not the source it was", p.name, end, p.read).
			Advise("when the source was made anew, make a new bridge: its events have new names")
	}
	if p.marked < 0 {
		if !p.run.sleep(ctx, takeOverPause) {
			return ctx.Err()
		}
		p.marked = end
		p.pin(func(at *checkpoint.Partition) { at.Foreign, at.Reserved = false, max(at.Reserved, end) })
	}
	if from.Latest { // after a crash it is not to begin later than now
		p.read, p.fresh = end, false
		p.pin(func(at *checkpoint.Partition) { at.Next = end })
	}
	return p.run.account.save(ctx)
}

// pin changes what is known of the partition.
func (p *partition) pin(do func(at *checkpoint.Partition)) {
	p.run.account.change(func(s *checkpoint.State) {
		at, ok := s.Partitions[p.name]
		if !ok {
			at.Next = -1
		}
		do(&at)
		s.Partitions[p.name] = at
	})
}

// hear keeps what the source says of the partition's end.
func (p *partition) hear() {
	if end, _ := p.reader.End(); end > p.end.Load() {
		p.end.Store(end)
	}
}

func (p *partition) close() {
	if p.reader != nil {
		_ = p.reader.Close() // it is of no more use, whatever it says
		p.reader = nil
	}
}

// take makes a batch of what was read: without what was read before, marked where it may have been sent.
func (p *partition) take(events []*event.Event) *batch {
	for len(events) > 0 && events[0].Origin.Sequence < p.read {
		events = events[1:]
	}
	if len(events) == 0 {
		return nil
	}
	head, last := &events[0].Origin, &events[len(events)-1].Origin
	if p.fresh && head.Sequence > p.read {
		p.run.troubles.note(AtSource, lost(p.name, p.read, head.Sequence))
	}
	b := &batch{next: last.Sequence + 1, began: p.run.clk.Now()}
	if p.marked < 0 || head.Sequence < p.marked {
		for _, e := range events {
			e.Repeat = p.marked < 0 || e.Origin.Sequence < p.marked
		}
	}
	for _, e := range events { // steps and contracts may take the property away, and the mark has to stay
		if len(e.Properties) > 0 && !e.Repeat && e.Repeated() {
			e.Repeat = true
		}
	}
	p.read, p.fresh = b.next, false
	if p.end.Load() < b.next {
		p.end.Store(b.next)
	}
	oldest := head.Enqueued
	events, b.dropped = p.repeats.leaveOut(events)
	b.in, b.out = events, events
	p.mu.Lock()
	p.flying = append(p.flying, flight{b.next, oldest})
	p.mu.Unlock()
	moved := p.repeats.moved()
	b.land = func(count func(s *checkpoint.State)) {
		p.run.account.change(func(s *checkpoint.State) {
			at := s.Partitions[p.name]
			at.Next, at.Reserved = b.next, max(at.Reserved, b.next)
			if moved != nil {
				at.Origins = moved
			}
			s.Partitions[p.name] = at
			count(s)
		})
		p.mu.Lock()
		p.flying = p.flying[1:]
		p.mu.Unlock()
	}
	return b
}

func lost(partition string, next, head int64) string {
	return words(fault.Newf("bridge.read", fault.Expired, "the source no longer has events %d to %d of partition %s: they were never sent", next, head-1, partition).
		Advise("let the source keep events for longer than the destination may be away"))
}

// oldest is when the first event came in that is not done with; zero when there is none, or nothing of it was read.
func (p *partition) oldest() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.flying) == 0 {
		return time.Time{}
	}
	return p.flying[0].oldest
}

// settle lowers what is reserved to what was tried, at the end of a run: what was never sent needs no mark later.
func (p *partition) settle() {
	p.run.account.change(func(s *checkpoint.State) {
		if at, ok := s.Partitions[p.name]; ok && p.marked >= 0 {
			at.Reserved = min(at.Reserved, max(at.Next, p.tried.Load(), p.marked))
			s.Partitions[p.name] = at
		}
	})
}
