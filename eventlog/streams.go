package eventlog

import (
	"maps"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/isthmus-io/isthmus/fault"
)

// lookup finds a stream as it is after the requests carried out so far.
func (c *committer) lookup(name string) *stream {
	for _, st := range c.fresh {
		if st.name == name && !st.gone.Load() {
			return st
		}
	}
	if st := c.stream(name); st != nil && !st.gone.Load() {
		return st
	}
	return nil
}

func (c *committer) existing(op, name string, partition int) (*stream, error) {
	st := c.lookup(name)
	if st == nil {
		return nil, noStream(op, name)
	}
	return st, st.has(op, partition)
}

// ensure finds a stream or makes it. Without a count of partitions it may have any, and gets Config.Partitions.
func (c *committer) ensure(b *pebble.Batch, name string, m streamMeta) (*stream, error) {
	const op = "eventlog.Create"
	if st := c.lookup(name); st != nil {
		if m.partitions == 0 {
			return st, nil
		}
		return st, st.same(m.partitions, m.hashed)
	}
	if len(*c.streams.Load())+len(c.fresh) >= MaxStreams || c.next == math.MaxUint32 {
		return nil, fault.Newf(op, fault.Exhausted, "the event log holds %d streams, which is all it can", MaxStreams)
	}
	m.id, m.made, m.partitions = c.next, c.now, or(m.partitions, c.cfg.Partitions)
	c.next++
	if err := b.Set(streamKey(name), m.encode(), nil); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err, "")
	}
	st := c.newStream(name, m)
	c.fresh = append(c.fresh, st)
	c.rekept = c.rekept || m.retention != (Retention{})
	return st, nil
}

// keep changes a stream's retention. It holds before it is durable: a trim by it comes later in the journal than itself.
func (c *committer) keep(b *pebble.Batch, r *request) error {
	st := c.lookup(r.stream)
	if st == nil {
		return noStream("eventlog.SetRetention", r.stream)
	}
	keep := r.retention
	st.retention.Store(&keep)
	c.rekept = true
	return b.Set(streamKey(st.name), st.meta().encode(), nil)
}

// delete forgets all that is stored of a stream. It is one batch like any other, so a crash leaves the whole stream or nothing of it.
func (c *committer) delete(b *pebble.Batch, r *request) error {
	st := c.lookup(r.stream)
	if st == nil {
		return noStream("eventlog.DeleteStream", r.stream)
	}
	for _, prefix := range [...]byte{prefixEvent, prefixBounds, prefixProducer, prefixLastProducer} {
		if err := b.DeleteRange(idKey(prefix, st.id), idKey(prefix, st.id+1), nil); err != nil {
			return err
		}
	}
	if err := b.Delete(streamKey(st.name), nil); err != nil {
		return err
	}
	st.gone.Store(true)
	c.dropped = append(c.dropped, st)
	return b.Set(nextStreamKey, appendUint32(nil, c.next), nil)
}

func (c *committer) touch(st *stream, partition int) {
	if p := st.partitions[partition]; !p.touched {
		p.touched = true
		c.changed = append(c.changed, p)
	}
}

// publish shows readers what is durable now.
func (c *committer) publish() {
	for _, p := range c.changed {
		e := p.tail
		p.durable.Store(&e)
		p.touched = false
	}
	c.publishStreams()
	for _, p := range c.changed {
		p.news.announce()
	}
	for _, st := range c.dropped {
		for _, p := range st.partitions {
			p.news.announce()
		}
	}
	if c.rekept {
		select {
		case c.kept <- struct{}{}:
		default:
		}
	}
	clear(c.changed)
	clear(c.fresh)
	clear(c.dropped)
	c.changed, c.fresh, c.dropped = c.changed[:0], c.fresh[:0], c.dropped[:0]
	c.rekept = false
}

func (c *committer) publishStreams() {
	if len(c.fresh)+len(c.dropped) == 0 {
		return
	}
	m := maps.Clone(*c.streams.Load())
	for _, st := range c.dropped {
		if m[st.name] == st {
			delete(m, st.name)
		}
	}
	for _, st := range c.fresh {
		if !st.gone.Load() {
			m[st.name] = st
		}
	}
	c.streams.Store(&m)
}
