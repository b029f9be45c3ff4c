package eventlog

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/isthmus-io/isthmus/fault"
)

// failGrace is how long Run waits for a committer which may be caught inside a store that has failed.
const failGrace = time.Second

// Run commits appends until ctx ends, then what still waits, and returns nil. When the log fails it returns the fault at once; the
// process is expected to end then. Run can be called once.
func (l *Log) Run(ctx context.Context) error {
	if !l.running.CompareAndSwap(false, true) {
		return fault.New("eventlog.Run", fault.Conflict, "the event log is running already")
	}
	c := &committer{Log: l, disk: newDisk(l), answers: make(chan []*request, 2), spare: make(chan []*request, 4), next: l.nextStream, business: business{turn: 1}}
	committed, answered, trimmed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	defer context.AfterFunc(ctx, func() { close(l.halt) })()
	go func() { defer close(committed); c.run(ctx) }()
	go func() { defer close(answered); c.answer() }()
	go func() { defer close(trimmed); l.retain(ctx) }()
	select {
	case <-committed:
	case <-l.failing:
		fired, stop := l.clk.After(failGrace)
		defer stop()
		select {
		case <-committed:
		case <-fired:
			return l.Err()
		}
	}
	<-answered
	<-trimmed
	return l.Err()
}

// committer is the state of the goroutine that owns every sequence number.
type committer struct {
	*Log
	disk    *disk
	answers chan []*request // committed batches on their way to their callers
	spare   chan []*request // slices to use again

	fresh   []*stream    // made in the commit at hand
	dropped []*stream    // deleted in the commit at hand
	changed []*partition // touched in the commit at hand
	business
	rekept bool   // a retention is new in the commit at hand
	next   uint32 // lowest stream id never used
	now    int64  // unix milliseconds of the commit at hand
}

func (c *committer) run(ctx context.Context) {
	defer close(c.answers)
	stopped, ending := false, ctx.Done() // a context that cannot end has no channel at all
	for {
		batch := c.queue.take(c.slice(), c.cfg.BatchEvents, c.cfg.BatchBytes)
		if len(batch) > 0 {
			if err := c.commit(batch); err != nil {
				c.queue.refuse()
				return
			}
			continue
		}
		if stopped { // and nothing waits any more
			return
		}
		select {
		case <-c.queue.news:
		case <-c.failing:
			c.queue.refuse()
			return
		case <-ending:
			c.end(stopping("eventlog.Append"))
			stopped = true
		}
	}
}

func (c *committer) slice() []*request {
	select {
	case s := <-c.spare:
		return s
	default:
		return make([]*request, 0, 64)
	}
}

// answer runs the callbacks, so that the next fsync need not wait for them.
func (c *committer) answer() {
	for batch := range c.answers {
		for _, r := range batch {
			r.finish()
		}
		clear(batch)
		select {
		case c.spare <- batch[:0]:
		default:
		}
	}
}

// commit writes one batch with one fsync. An error means the log has failed.
func (c *committer) commit(batch []*request) error {
	c.now = c.clk.Now().UnixMilli()
	full := c.disk.check()
	size := 0
	for _, r := range batch {
		size += len(r.rec) + len(r.cuts)*(eventKeyLen+8)
	}
	b := c.db.NewBatch(pebble.WithInitialSizeBytes(size+64), pebble.WithMaxRetainedSizeBytes(2*c.cfg.BatchBytes))
	events := 0
	for _, r := range batch {
		if full != nil && !r.kind.frees() {
			r.err = full
			c.metrics.refused.Inc()
			continue
		}
		before := b.Len()
		if r.err = c.carryOut(b, r); r.err == nil && r.kind == appendEvents && b.Len() > before {
			events += len(r.cuts)
		}
	}
	if b.Empty() {
		_ = b.Close()
		c.answers <- batch
		return nil
	}
	start, stored := time.Now(), b.Len() // a measurement, not a decision
	if err := c.apply(b); err != nil {
		for _, r := range batch {
			if r.err == nil {
				r.err = err
			}
		}
		c.answers <- batch
		return err
	}
	c.metrics.commit(events, stored, time.Since(start))
	c.disk.wrote(stored)
	c.filled(stored)
	_ = b.Close()
	c.publish()
	c.answers <- batch
	return nil
}

// carryOut puts what a request asks for into b: all of it, or nothing and an error. The store below gives no errors here, since b is
// but a buffer.
func (c *committer) carryOut(b *pebble.Batch, r *request) error {
	switch r.kind {
	case appendEvents:
		return c.append(b, r)
	case registerProducer:
		return c.register(b, r)
	case createStream:
		_, err := c.ensure(b, r.stream, streamMeta{partitions: int(r.number), hashed: r.hashed, retention: r.retention})
		return err
	case keepStream:
		return c.keep(b, r)
	case trimPartition:
		return c.trim(b, r)
	case deleteStream:
		return c.delete(b, r)
	}
	return nil
}

func (c *committer) append(b *pebble.Batch, r *request) error {
	st, i, err := c.place(b, r)
	if err != nil {
		return err
	}
	p, known := st.partitions[i], (*producer)(nil)
	if id := r.producer.ID; id != 0 {
		if known = p.producers[id]; known == nil {
			return unknownProducer("eventlog.AppendBatch", id)
		}
		stored, err := known.admit("eventlog.AppendBatch", r.producer, len(r.cuts))
		if stored {
			r.answer.pos = known.duplicate(r.producer)
		}
		if stored || err != nil {
			return err
		}
	}
	t := &p.tail
	t.lastEnqueued = max(t.lastEnqueued, c.now)
	r.answer.pos = Position{Partition: i, Sequence: t.next, Offset: t.nextOffset, Enqueued: time.UnixMilli(t.lastEnqueued).UTC()}
	from := 0
	for _, to := range r.cuts {
		rec := r.rec[from:to]
		from = to
		op := b.SetDeferred(eventKeyLen, len(rec))
		putEventKey(op.Key, st.id, i, t.next)
		seal(op.Key, rec, t.lastEnqueued, t.nextOffset)
		copy(op.Value, rec)
		if err := op.Finish(); err != nil {
			return fault.Wrap("eventlog.Append", fault.Internal, err, "")
		}
		t.lastOffset = t.nextOffset
		t.nextOffset += int64(len(rec))
		t.next++
	}
	c.touch(st, i)
	c.wrote(p)
	if known == nil {
		return nil
	}
	known.last, known.batch, known.first = after(r.producer.Sequence, len(r.cuts)-1), r.producer.Sequence, r.answer.pos
	return c.keepProducer(b, st, i, r.producer.ID, known)
}

// place finds where an append goes.
func (c *committer) place(b *pebble.Batch, r *request) (*stream, int, error) {
	if r.existing {
		st, err := c.existing("eventlog.Append", r.stream, max(r.partition, 0))
		if err != nil {
			return nil, 0, err
		}
		return st, c.choose(st, r), nil
	}
	st, err := c.ensure(b, r.stream, streamMeta{})
	if err != nil {
		return nil, 0, err
	}
	return st, c.choose(st, r), nil
}

func (c *committer) choose(st *stream, r *request) int {
	switch {
	case r.partition >= 0:
		return r.partition
	case r.key != "":
		return int(st.hash(r.key) % uint32(len(st.partitions)))
	}
	i := st.turn
	st.turn = (st.turn + 1) % len(st.partitions)
	return i
}
