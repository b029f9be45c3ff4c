package eventlog

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Trim forgets the events of a partition before the given sequence number, durably. A number beyond the end empties the partition;
// sequence numbers and offsets go on where they were. Trim works on a full disk.
func (l *Log) Trim(stream string, partition int, before int64) error {
	st, _, err := l.find("eventlog.Trim", stream, partition)
	if err != nil {
		return err
	}
	return l.trimStream(st, partition, before)
}

func (l *Log) trimStream(st *stream, partition int, before int64) error {
	r := getRequest(trimPartition, st.name)
	r.of, r.partition, r.number = st, partition, before
	_, err := l.do(context.Background(), "eventlog.Trim", r)
	return err
}

// TrimTo forgets what the retention does not allow, in one partition.
func (l *Log) TrimTo(stream string, partition int, keep Retention) error {
	st, _, err := l.find("eventlog.TrimTo", stream, partition)
	if err != nil {
		return err
	}
	return l.trimTo(st, partition, keep)
}

func (l *Log) trimTo(st *stream, partition int, keep Retention) error {
	e := st.partitions[partition].durable.Load()
	if keep.none() || e.first == e.next {
		return nil
	}
	before := e.first
	if keep.Age > 0 {
		oldest := l.clk.Now().Add(-keep.Age).UnixMilli()
		seq, err := l.search("eventlog.TrimTo", st, partition, func(enqueued, _ int64) bool { return enqueued >= oldest })
		if err != nil {
			return err
		}
		before = max(before, seq)
	}
	if keep.Bytes > 0 {
		least := e.nextOffset - keep.Bytes
		seq, err := l.search("eventlog.TrimTo", st, partition, func(_, offset int64) bool { return offset >= least })
		if err != nil {
			return err
		}
		before = max(before, seq)
	}
	if before <= e.first {
		return nil
	}
	return l.trimStream(st, partition, before)
}

func (c *committer) trim(b *pebble.Batch, r *request) error {
	if err := r.of.whenGone("eventlog.Trim"); err != nil {
		return err
	}
	p := r.of.partitions[r.partition]
	t := &p.tail
	before := min(r.number, t.next)
	if before <= t.first {
		return nil
	}
	if err := b.DeleteRange(eventKey(r.of.id, r.partition, t.first), eventKey(r.of.id, r.partition, before), nil); err != nil {
		return err
	}
	t.first = before
	p.cut.Store(before)
	c.touch(r.of, r.partition)
	return b.Set(boundsKey(r.of.id, r.partition), t.encode(), nil)
}

// retain applies the retention of every stream from time to time, and soon when one changes.
func (l *Log) retain(ctx context.Context) {
	for {
		var fired <-chan time.Time
		stop := func() {}
		if l.anyRetention() {
			fired, stop = l.clk.After(l.cfg.RetentionEvery)
		}
		select {
		case <-fired:
		case <-l.kept:
		case <-ctx.Done():
			stop()
			return
		case <-l.over:
			stop()
			return
		}
		stop()
		for _, st := range *l.streams.Load() {
			for i := range st.partitions {
				if err := l.trimTo(st, i, l.keeps(st)); err != nil && ctx.Err() == nil && !st.gone.Load() {
					l.log.Warn("old events could not be trimmed", "stream", st.name, "partition", i, "err", err)
				}
			}
		}
	}
}

func (l *Log) anyRetention() bool {
	if !l.cfg.Retention.none() {
		return true
	}
	for _, st := range *l.streams.Load() {
		if !l.keeps(st).none() {
			return true
		}
	}
	return false
}
