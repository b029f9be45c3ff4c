package eventlog

import (
	"slices"

	"github.com/isthmus-io/isthmus/fault"
)

// Bounds of one Batch.
const (
	MaxBatchEvents = 10_000
	MaxBatchBytes  = 4 << 20 // stored bytes
)

// Batch is events that are stored all or not at all, one after the other in one partition.
type Batch struct {
	Stream    string
	Partition int    // -1: by Key, or round robin when that is empty
	Key       string // partition key of all the events
	OwnKeys   bool   // it is not: each has its own in PartitionKey, or none; Key only chooses the partition
	Events    []Event
	Producer  Producer // ID 0: none
	// Existing answers NotFound when there is no such stream instead of making it. Always so with a partition or a producer.
	Existing bool
}

// AppendBatch is AppendAsync for a batch: the events, which may be used again when it returns, get consecutive sequence numbers, and
// first is where the first of them stands.
//
// A batch of a producer that is stored already is answered without error and stored no second time; first is then known when it was
// the producer's last, and has Sequence and Offset -1 otherwise. Errors besides those of Append: Invalid for a batch without events,
// TooLarge beyond MaxBatchEvents or MaxBatchBytes, ErrOutOfOrder (also for a batch of which only a part is stored),
// ErrProducerFenced, ErrUnknownProducer.
func (l *Log) AppendBatch(b Batch, done func(first Position, err error)) {
	r, err := l.batchRequest(&b)
	if err != nil {
		done(Position{}, err)
		return
	}
	l.pushAsync(r, done)
}

func (l *Log) batchRequest(b *Batch) (*request, error) {
	const op = "eventlog.AppendBatch"
	switch {
	case len(b.Events) == 0:
		return nil, fault.New(op, fault.Invalid, "a batch has one event at least")
	case len(b.Events) > MaxBatchEvents:
		return nil, fault.Newf(op, fault.TooLarge, "a batch has at most %d events, this one %d", MaxBatchEvents, len(b.Events)).
			Advise("send fewer in one batch")
	case b.Producer.ID < 0 || b.Producer.ID > 0 && b.Producer.Sequence < 0:
		return nil, fault.New(op, fault.Invalid, "the id of a producer and its sequence numbers are not negative")
	case b.Partition >= 0:
		if _, _, err := l.find(op, b.Stream, b.Partition); err != nil {
			return nil, err
		}
	}
	size := 0
	for i := range b.Events {
		size += len(b.Events[i].Body) + headerLen + max(len(b.Key), len(b.Events[i].PartitionKey)) + 4
	}
	size = min(size, MaxBatchBytes)
	r, err := l.request(b.Stream, b.Key, size)
	if err != nil {
		return nil, err
	}
	r.partition, r.producer = max(b.Partition, -1), b.Producer
	r.existing = b.Existing || b.Partition >= 0 || b.Producer.ID > 0
	r.rec = slices.Grow(r.rec[:0], size)
	for i := range b.Events {
		key := r.key
		if b.OwnKeys {
			key = b.Events[i].PartitionKey
		}
		if err := l.encodeAs(r, key, &b.Events[i]); err != nil {
			putRequest(r)
			return nil, err
		}
		if len(r.rec) > MaxBatchBytes {
			putRequest(r)
			return nil, fault.Newf(op, fault.TooLarge, "a batch takes at most %s; %d of this one's %d events take more",
				sizeWords(MaxBatchBytes), i+1, len(b.Events)).Advise("send fewer in one batch")
		}
	}
	return r, nil
}

// encode adds an event to a request.
func (l *Log) encode(r *request, ev *Event) error { return l.encodeAs(r, r.key, ev) }

func (l *Log) encodeAs(r *request, key string, ev *Event) error {
	before := len(r.rec)
	r.rec = appendRecord(r.rec, key, ev)
	if n := len(r.rec) - before; n > l.cfg.MaxEventBytes {
		return fault.Newf("eventlog.Append", fault.TooLarge, "an event takes at most %d bytes, this one %d", l.cfg.MaxEventBytes, n).
			Advise("send less in one message, or put the content elsewhere and send where it is")
	}
	r.cuts = append(r.cuts, len(r.rec))
	return nil
}
