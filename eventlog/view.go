package eventlog

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/isthmus-io/isthmus/fault"
)

// View is a stored event as it lies in the log. What it points to is good only until the function given to Scan returns.
type View struct {
	Partition int
	Sequence  int64
	Offset    int64
	Enqueued  time.Time
	Format    uint8
	Key       []byte // partition key
	Body      []byte

	properties, system pairs
}

// Properties yields the application's properties: for name, value := range v.Properties { … }
func (v *View) Properties(yield func(name, value []byte) bool) { v.properties.each(yield) }

// System yields the system properties.
func (v *View) System(yield func(name, value []byte) bool) { v.system.each(yield) }

// size is about what the event takes.
func (v *View) size() int {
	return headerLen + len(v.Key) + len(v.properties.b) + len(v.system.b) + len(v.Body)
}

// Event is a copy of all that, to keep.
func (v *View) Event() Event {
	return Event{
		Body: append([]byte(nil), v.Body...), Properties: v.properties.strings(), System: v.system.strings(), Format: v.Format,
		PartitionKey: string(v.Key), Enqueued: v.Enqueued, Partition: v.Partition, Sequence: v.Sequence, Offset: v.Offset,
	}
}

// Scan calls f with durable events of one partition in order, beginning with sequence number from, or with the oldest kept when that
// one is trimmed, until f returns false, limit events have been shown (0: no limit), or the end is reached: see Wait. Nothing is
// copied. f must not wait long, since the log cannot be closed meanwhile, and must not call the log. NotFound when there is no such
// stream or partition.
func (l *Log) Scan(ctx context.Context, stream string, partition int, from int64, limit int, f func(*View) bool) error {
	return l.scan(ctx, "eventlog.Scan", stream, partition, from, limit, f)
}

func (l *Log) scan(ctx context.Context, op, stream string, partition int, from int64, limit int, f func(*View) bool) error {
	st, p, err := l.find(op, stream, partition)
	if err != nil || limit < 0 {
		return err
	}
	if err := l.use(op); err != nil {
		return err
	}
	defer l.closing.RUnlock()
	w := walks.Get().(*walk) //nolint:forcetypeassert // the pool holds nothing else
	defer w.rest()
	for {
		e := p.durable.Load()
		start, end := max(from, e.first, p.cut.Load()), e.next
		if start >= end {
			return st.whenGone(op)
		}
		if limit > 0 {
			end = min(end, start+int64(limit))
		}
		seen, err := w.walk(ctx, l, st, partition, start, end, f)
		switch {
		case err != nil:
			return err
		case seen:
			return nil
		case st.gone.Load():
			return st.whenGone(op)
		case p.cut.Load() <= start: // no trim explains the hole
			return l.damaged("a gap in "+stream, nil)
		}
	}
}

// walk is one way through a partition, with all it needs in one piece.
type walk struct {
	view         View
	lower, upper [eventKeyLen]byte
	options      pebble.IterOptions
}

var walks = sync.Pool{New: func() any { return new(walk) }}

func (w *walk) rest() {
	w.view = View{}
	walks.Put(w)
}

// walk shows f the events from start up to end. It reports false, having shown none, when the first is not there.
func (w *walk) walk(ctx context.Context, l *Log, st *stream, partition int, start, end int64, f func(*View) bool) (seen bool, err error) {
	putEventKey(w.lower[:], st.id, partition, start)
	putEventKey(w.upper[:], st.id, partition, end)
	w.options = pebble.IterOptions{LowerBound: w.lower[:], UpperBound: w.upper[:]}
	it, err := l.db.NewIter(&w.options)
	if err != nil {
		return false, l.damaged(st.name, err)
	}
	defer func() { _ = it.Close() }()
	next := start
	for ok := it.First(); ok; ok = it.Next() {
		rec, err := it.ValueAndErr()
		if err != nil {
			return false, l.damaged(st.name, err)
		}
		if err := w.view.decode(it.Key(), rec); err != nil {
			return false, l.damaged(st.name, err)
		}
		if w.view.Sequence != next {
			if next == start {
				return false, nil
			}
			return false, l.damaged("a gap in "+st.name, nil)
		}
		if next++; !f(&w.view) {
			return true, nil
		}
		if next%256 == 0 && ctx.Err() != nil {
			return false, l.waited("eventlog.Scan", ctx.Err())
		}
	}
	if err := it.Error(); err != nil {
		return false, l.damaged(st.name, err)
	}
	return next > start, nil
}

func (st *stream) whenGone(op string) error {
	if st.gone.Load() {
		return noStream(op, st.name)
	}
	return nil
}

func noStream(op, name string) *fault.Error {
	return fault.Newf(op, fault.NotFound, "there is no stream %q", name)
}
