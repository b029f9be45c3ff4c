package eventlog

import (
	"context"
	"errors"

	"github.com/isthmus-io/isthmus/fault"
)

// Append stores ev in the partition of its key, or round robin when the key is empty, and returns once it is fsynced. A stream which
// does not exist is made, with Config.Partitions. ev may be used again when Append returns.
//
// Faults: Exhausted (the disk is full; nothing was stored), TooLarge, Invalid, Unavailable (the log stops or has failed), Timeout
// (ctx ended while waiting: the event may be stored or not).
func (l *Log) Append(ctx context.Context, stream, partitionKey string, ev Event) (Position, error) {
	return l.append(ctx, stream, partitionKey, -1, &ev)
}

// AppendTo is Append into a partition chosen by the caller, of a stream that exists. The key is only kept beside the event.
func (l *Log) AppendTo(ctx context.Context, stream string, partition int, partitionKey string, ev Event) (Position, error) {
	if _, _, err := l.find("eventlog.AppendTo", stream, partition); err != nil {
		return Position{}, err
	}
	return l.append(ctx, stream, partitionKey, partition, &ev)
}

func (l *Log) append(ctx context.Context, stream, key string, partition int, ev *Event) (Position, error) {
	r, err := l.eventRequest(stream, key, ev)
	if err != nil {
		return Position{}, err
	}
	r.partition, r.existing = partition, partition >= 0
	a, err := l.do(ctx, "eventlog.Append", r)
	return a.pos, err
}

// AppendAsync is Append without waiting for the disk: done is called exactly once, in the order of the appends of one caller, and
// ev may be used again as soon as AppendAsync returns. While too much waits (Config.QueueBytes) AppendAsync blocks, which is the
// back-pressure a door passes on to its peer. done runs on the log's own goroutine: it must be quick and must not append.
// When the log fails while the store hangs, the process must end and done may never be called.
func (l *Log) AppendAsync(stream, partitionKey string, ev Event, done func(Position, error)) {
	r, err := l.eventRequest(stream, partitionKey, &ev)
	if err != nil {
		done(Position{}, err)
		return
	}
	l.pushAsync(r, done)
}

func (l *Log) pushAsync(r *request, done func(Position, error)) {
	r.done = done
	if err := l.queue.push(context.Background(), r); err != nil {
		putRequest(r)
		done(Position{}, err)
	}
}

func (l *Log) eventRequest(stream, key string, ev *Event) (*request, error) {
	r, err := l.request(stream, key, len(ev.Body))
	if err != nil {
		return nil, err
	}
	if err := l.encode(r, ev); err != nil {
		putRequest(r)
		return nil, err
	}
	return r, nil
}

// request checks what does not depend on the events, which are to be encoded into it on the caller's time and have about size bytes.
func (l *Log) request(stream, key string, size int) (*request, error) {
	if err := checkName("stream", stream); err != nil {
		return nil, err
	}
	if l.stuck.Load() {
		l.metrics.refused.Inc()
		return nil, l.noSpace()
	}
	if len(key) > MaxNameBytes {
		return nil, fault.Newf("eventlog.Append", fault.Invalid, "a partition key has at most %d bytes, this one %d", MaxNameBytes, len(key))
	}
	r := getRequestFor(appendEvents, stream, size)
	r.key = key
	return r, nil
}

func checkName(what, name string) error {
	if name == "" || len(name) > MaxNameBytes {
		return fault.Newf("eventlog", fault.Invalid, "the name of a %s has 1 to %d bytes", what, MaxNameBytes)
	}
	return nil
}

// do pushes a request and waits for its answer.
func (l *Log) do(ctx context.Context, op string, r *request) (answer, error) {
	if err := l.queue.push(ctx, r); err != nil {
		putRequest(r)
		return answer{}, l.waited(op, err)
	}
	select {
	case <-r.reply:
	default:
		select {
		case <-r.reply:
		case <-ctx.Done():
			return answer{}, l.waited(op, ctx.Err()) // the committer still has r
		case <-l.failing:
			return answer{}, l.Err()
		}
	}
	a, err := r.answer, r.err
	putRequest(r)
	return a, err
}

func (l *Log) waited(op string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(op, fault.Timeout, "the event log did not answer in time; the event may be stored or not").Because(err)
	}
	return err
}
