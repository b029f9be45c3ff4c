package eventlog

import (
	"context"
	"encoding/binary"
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
	c := &committer{Log: l, disk: newDisk(l), answers: make(chan []*request, 2), spare: make(chan []*request, 4)}
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
	changed []*partition // touched in the commit at hand
	now     int64        // unix milliseconds of the commit at hand
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
			r.answer()
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
		size += len(r.rec) + eventKeyLen + 8
	}
	b := c.db.NewBatchWithSize(size + 64)
	events := 0
	for _, r := range batch {
		switch {
		case full != nil && r.kind != trimPartition:
			r.err = full
			c.metrics.refused.Inc()
		case r.kind == appendEvent:
			if r.err = c.append(b, r); r.err == nil {
				events++
			}
		case r.kind == createStream:
			_, r.err = c.ensure(b, r.stream, int(r.number))
		case r.kind == trimPartition:
			r.err = c.trim(b, r)
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
	_ = b.Close()
	c.publish()
	c.answers <- batch
	return nil
}

func (c *committer) append(b *pebble.Batch, r *request) error {
	st, err := c.ensure(b, r.stream, 0)
	if err != nil {
		return err
	}
	i := r.partition
	switch {
	case i >= 0:
	case r.key != "":
		i = int(c.cfg.Partition(r.key) % uint32(len(st.partitions)))
	default:
		i = st.turn
		st.turn = (st.turn + 1) % len(st.partitions)
	}
	p := st.partitions[i]
	t := &p.tail
	t.lastEnqueued = max(t.lastEnqueued, c.now)
	op := b.SetDeferred(eventKeyLen, len(r.rec))
	putEventKey(op.Key, st.id, i, t.next)
	seal(op.Key, r.rec, t.lastEnqueued, t.nextOffset)
	copy(op.Value, r.rec)
	if err := op.Finish(); err != nil {
		return fault.Wrap("eventlog.Append", fault.Internal, err, "")
	}
	r.pos = Position{Partition: i, Sequence: t.next, Offset: t.nextOffset, Enqueued: time.UnixMilli(t.lastEnqueued).UTC()}
	t.lastOffset = t.nextOffset
	t.nextOffset += int64(len(r.rec))
	t.next++
	c.touch(p)
	return nil
}

func (c *committer) touch(p *partition) {
	if !p.touched {
		p.touched = true
		c.changed = append(c.changed, p)
	}
}

// ensure finds a stream or makes it. partitions 0: whatever it has, or Config.Partitions.
func (c *committer) ensure(b *pebble.Batch, name string, partitions int) (*stream, error) {
	st := c.stream(name)
	for i := 0; st == nil && i < len(c.fresh); i++ {
		if c.fresh[i].name == name {
			st = c.fresh[i]
		}
	}
	if st != nil {
		if partitions == 0 {
			return st, nil
		}
		return st, sameCount(st, partitions)
	}
	id := uint32(len(*c.streams.Load()) + len(c.fresh)) // streams are never removed, so their count is a new number
	if id >= MaxStreams {
		return nil, fault.Newf("eventlog.Create", fault.Exhausted, "the event log holds %d streams, which is all it can", MaxStreams)
	}
	st = newStream(name, id, or(partitions, c.cfg.Partitions))
	v := binary.BigEndian.AppendUint32(nil, id)
	v = binary.BigEndian.AppendUint16(v, uint16(len(st.partitions)))
	v = binary.BigEndian.AppendUint64(v, uint64(c.now))
	if err := b.Set(streamKey(name), v, nil); err != nil {
		return nil, fault.Wrap("eventlog.Create", fault.Internal, err, "")
	}
	c.fresh = append(c.fresh, st)
	return st, nil
}

// publish shows readers what is durable now.
func (c *committer) publish() {
	for _, p := range c.changed {
		e := p.tail
		p.durable.Store(&e)
		p.touched = false
	}
	c.addStreams(c.fresh)
	for _, p := range c.changed {
		p.news.announce()
	}
	clear(c.changed)
	clear(c.fresh)
	c.changed, c.fresh = c.changed[:0], c.fresh[:0]
}
