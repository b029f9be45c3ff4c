package eventlog

import (
	"context"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/isthmus-io/isthmus/fault"
)

// Read returns durable events of one partition in order, beginning with sequence number from, or with the oldest kept when that one
// is trimmed. It returns at most limit events and about 4 MiB, at least one if there is one, and none at the end: see Wait.
// limit 0 is 1,000. NotFound when there is no such stream or partition.
func (l *Log) Read(ctx context.Context, stream string, partition int, from int64, limit int) ([]Event, error) {
	var events []Event
	size, limit := 0, or(limit, 1000)
	err := l.scan(ctx, "eventlog.Read", stream, partition, from, limit, func(v *View) bool {
		if events == nil {
			events = make([]Event, 0, min(limit, 256))
		}
		events = append(events, v.Event())
		size += v.size()
		return size < maxReadBytes
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// Wait returns nil as soon as the partition holds a durable event with sequence number from or a later one. It does not poll.
// Otherwise Timeout when ctx ends, Unavailable when the log stops, NotFound when there is no such stream or partition, or not any more.
func (l *Log) Wait(ctx context.Context, stream string, partition int, from int64) error {
	st, p, err := l.find("eventlog.Wait", stream, partition)
	if err != nil {
		return err
	}
	for {
		heard := p.news.listen()
		if st.gone.Load() {
			return noStream("eventlog.Wait", stream)
		}
		if p.durable.Load().next > from {
			return nil
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return fault.New("eventlog.Wait", fault.Timeout, "no new event in time").Because(ctx.Err())
		case <-l.over:
			return l.cause
		}
	}
}

// Bounds returns the sequence number of the oldest event kept and the one the next event will get; equal when the partition is
// empty, and both 0 when it does not exist.
func (l *Log) Bounds(stream string, partition int) (first, next int64) {
	i, err := l.Info(stream, partition)
	if err != nil {
		return 0, 0
	}
	return i.First, i.Next
}

// Info is Bounds with what doors tell their clients besides. NotFound when there is no such stream or partition.
func (l *Log) Info(stream string, partition int) (Info, error) {
	_, p, err := l.find("eventlog.Info", stream, partition)
	if err != nil {
		return Info{}, err
	}
	return p.durable.Load().info(), nil
}

// Partitions returns how many partitions the stream has, 0 when there is no such stream.
func (l *Log) Partitions(stream string) int {
	if st := l.stream(stream); st != nil {
		return len(st.partitions)
	}
	return 0
}

// SeekTime returns the sequence number of the first event kept whose enqueued time is t or later; the next sequence number when
// there is none.
func (l *Log) SeekTime(stream string, partition int, t time.Time) (int64, error) {
	at := t.UnixMilli()
	return l.seek("eventlog.SeekTime", stream, partition, func(enqueued, _ int64) bool { return enqueued >= at })
}

// SeekOffset returns the sequence number of the first event kept whose offset is the given one or later; the next sequence number when
// there is none.
func (l *Log) SeekOffset(stream string, partition int, offset int64) (sequence int64, err error) {
	return l.seek("eventlog.SeekOffset", stream, partition, func(_, at int64) bool { return at >= offset })
}

func (l *Log) seek(op, name string, partition int, ok func(enqueued, offset int64) bool) (int64, error) {
	st, _, err := l.find(op, name, partition)
	if err != nil {
		return 0, err
	}
	return l.search(op, st, partition, ok)
}

// search returns the first sequence number for which ok, which once true stays true, holds.
func (l *Log) search(op string, st *stream, partition int, ok func(enqueued, offset int64) bool) (int64, error) {
	if err := l.use(op); err != nil {
		return 0, err
	}
	defer l.closing.RUnlock()
	e := st.partitions[partition].durable.Load()
	it, err := l.db.NewIter(&pebble.IterOptions{
		LowerBound: eventKey(st.id, partition, e.first), UpperBound: eventKey(st.id, partition, e.next),
	})
	if err != nil {
		return 0, l.damaged(st.name, err)
	}
	defer func() { _ = it.Close() }()
	n := sort.Search(int(e.next-e.first), func(i int) bool {
		// An event trimmed meanwhile is answered for by its successor, which keeps ok monotonic.
		if err != nil || !it.SeekGE(eventKey(st.id, partition, e.first+int64(i))) {
			return true
		}
		var rec []byte
		if rec, err = it.ValueAndErr(); err != nil {
			return true
		}
		var enqueued, offset int64
		if enqueued, offset, err = header(rec); err != nil {
			return true
		}
		return ok(enqueued, offset)
	})
	if err != nil {
		return 0, l.damaged(st.name, err)
	}
	return e.first + int64(n), st.whenGone(op)
}

func (l *Log) find(op, name string, i int) (*stream, *partition, error) {
	st := l.stream(name)
	if st == nil {
		return nil, nil, noStream(op, name)
	}
	if err := st.has(op, i); err != nil {
		return nil, nil, err
	}
	return st, st.partitions[i], nil
}

func (st *stream) has(op string, partition int) error {
	if n := len(st.partitions); partition < 0 || partition >= n {
		return fault.Newf(op, fault.NotFound, "stream %s has partitions 0 to %d, not %d", st.name, n-1, partition)
	}
	return nil
}
