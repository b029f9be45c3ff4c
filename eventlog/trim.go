package eventlog

import (
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/isthmus-io/isthmus/fault"
)

// Trim forgets the events of a partition before the given sequence number, durably. A number beyond the end empties the partition;
// sequence numbers and offsets go on where they were. Trim works on a full disk.
func (l *Log) Trim(stream string, partition int, before int64) error {
	if _, _, err := l.find("eventlog.Trim", stream, partition); err != nil {
		return err
	}
	r := getRequest(trimPartition, stream)
	r.partition, r.number = partition, before
	_, err := l.do(context.Background(), "eventlog.Trim", r)
	return err
}

// TrimTo forgets what the retention does not allow, in one partition.
func (l *Log) TrimTo(stream string, partition int, keep Retention) error {
	if keep.none() {
		return nil
	}
	i, err := l.Info(stream, partition)
	if err != nil {
		return err
	}
	before := i.First
	if keep.Age > 0 {
		seq, err := l.SeekTime(stream, partition, l.clk.Now().Add(-keep.Age))
		if err != nil {
			return err
		}
		before = max(before, seq)
	}
	if keep.Bytes > 0 {
		_, p, err := l.find("eventlog.TrimTo", stream, partition)
		if err != nil {
			return err
		}
		least := p.durable.Load().nextOffset - keep.Bytes
		seq, err := l.search("eventlog.TrimTo", stream, partition, func(_, offset int64) bool { return offset >= least })
		if err != nil {
			return err
		}
		before = max(before, seq)
	}
	if before <= i.First {
		return nil
	}
	return l.Trim(stream, partition, before)
}

func (c *committer) trim(b *pebble.Batch, r *request) error {
	st, p, err := c.find("eventlog.Trim", r.stream, r.partition)
	if err != nil {
		return err
	}
	t := &p.tail
	before := min(r.number, t.next)
	if before <= t.first {
		return nil
	}
	if err := b.DeleteRange(eventKey(st.id, r.partition, t.first), eventKey(st.id, r.partition, before), nil); err != nil {
		return fault.Wrap("eventlog.Trim", fault.Internal, err, "")
	}
	t.first = before
	if err := b.Set(boundsKey(st.id, r.partition), t.encode(), nil); err != nil {
		return fault.Wrap("eventlog.Trim", fault.Internal, err, "")
	}
	c.touch(p)
	return nil
}

// retain applies Config.Retention from time to time.
func (l *Log) retain(ctx context.Context) {
	for !l.cfg.Retention.none() {
		fired, stop := l.clk.After(l.cfg.RetentionEvery)
		select {
		case <-fired:
		case <-ctx.Done():
			stop()
			return
		case <-l.over:
			stop()
			return
		}
		for _, st := range *l.streams.Load() {
			for i := range st.partitions {
				if err := l.TrimTo(st.name, i, l.cfg.Retention); err != nil && ctx.Err() == nil {
					l.log.Warn("old events could not be trimmed", "stream", st.name, "partition", i, "err", err)
				}
			}
		}
	}
}
