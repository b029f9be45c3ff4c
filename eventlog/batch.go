package eventlog

import "github.com/isthmus-io/isthmus/fault"

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
	done(Position{}, fault.New("eventlog.AppendBatch", fault.Unavailable, "not built yet"))
}
