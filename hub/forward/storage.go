package forward

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// readAtOnce is how many events are read of the log in one go.
const readAtOnce = 256

// storage writes files of JSON lines into a bucket.
type storage struct{ *sender }

func (s *storage) ahead() int64 { return 0 }

func (s *storage) close() {}

// gather waits until the first event is old enough or there is enough for a file.
func (s *storage) gather(ctx context.Context, l *lane, from int64) (batch, error) {
	if err := s.stream.Wait(ctx, l.partition, from); err != nil {
		return batch{}, err
	}
	list, err := s.stream.Events(ctx, l.partition, from, 1)
	if err != nil || len(list) == 0 { // none: trimmed meanwhile
		return batch{}, err
	}
	first := list[0]
	due := first.Enqueued.Add(time.Duration(s.endpoint.BatchSeconds) * time.Second)
	for {
		now := s.f.clock.Now()
		if !now.Before(due) || s.enough(ctx, l, first.Offset) {
			break
		}
		fired, stop := s.f.clock.After(min(due.Sub(now), time.Second))
		select {
		case <-fired:
		case <-ctx.Done():
			stop()
			return batch{}, nil
		}
	}
	_, next := s.stream.Bounds(l.partition)
	return batch{first: first.Enqueued, end: next}, nil
}

// enough tells whether the partition has a file's worth of events, by their stored size, which is about what they take as JSON.
func (s *storage) enough(ctx context.Context, l *lane, offset int64) bool {
	_, next := s.stream.Bounds(l.partition)
	last, err := s.stream.Events(ctx, l.partition, next-1, 1)
	return err == nil && len(last) == 1 && last[0].Offset-offset >= int64(s.endpoint.BatchBytes)
}

// build makes a file of the events from from to before, or of as many as fit.
func (s *storage) build(ctx context.Context, l *lane, from, before int64) (file []byte, end int64, err error) {
	for end = from; end < before && len(file) < s.endpoint.BatchBytes; {
		list, err := s.stream.Events(ctx, l.partition, end, int(min(readAtOnce, before-end)))
		if err != nil {
			return nil, from, err
		}
		if len(list) == 0 { // trimmed meanwhile
			break
		}
		for _, e := range list {
			file = append(append(file, line(s.hub.ID(), s.endpoint.Name, e, false)...), '\n')
			end = e.Sequence + 1
			if len(file) >= s.endpoint.BatchBytes {
				break
			}
		}
	}
	return file, end, nil
}

// name is that of a file: the same whenever it is written, because it says only where the file begins (IoT Hub: file name format).
func (s *storage) name(l *lane, first time.Time, from int64) string {
	label, _, _ := strings.Cut(s.hub.HostName(), ".")
	return fmt.Sprintf("%s%s/%s/%02d/%s-%012d.json", s.endpoint.Prefix, label, s.endpoint.Name, l.partition, fileTime(first), from)
}

func (s *storage) deliver(ctx context.Context, l *lane, b *batch, _ int64) error {
	op := "forward.deliver"
	if s.f.cfg.Bucket == nil {
		return fault.New(op, fault.Unavailable, "this process has no bucket").Advise("start the hub with a place for files")
	}
	select {
	case s.f.building <- struct{}{}:
		defer func() { <-s.f.building }()
	case <-ctx.Done():
		return fault.New(op, fault.Timeout, "other files took too long to write").Because(ctx.Err())
	}
	file, end, err := s.build(ctx, l, l.next, b.end)
	if err != nil || len(file) == 0 {
		return err
	}
	if err := s.f.cfg.Bucket.Put(ctx, s.hub.ID(), s.endpoint.Bucket, s.name(l, b.first, l.next), "application/x-ndjson", file); err != nil {
		return err
	}
	b.end = end
	return nil
}
