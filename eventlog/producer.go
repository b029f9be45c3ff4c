package eventlog

import (
	"context"
	"errors"

	"github.com/isthmus-io/isthmus/fault"
)

// What a producer did wrong, for errors.Is; the fault around it has the words.
var (
	ErrOutOfOrder      = errors.New("sequence is not the one after the producer's last")       // Conflict
	ErrProducerFenced  = errors.New("a newer epoch of the producer has taken over")            // Conflict
	ErrUnknownProducer = errors.New("no such producer in this partition, or it was forgotten") // NotFound
)

// Producer is one sender whose batches are stored once however often it sends them. Its events in a partition are numbered one after
// the other; after 2147483647 comes 0.
type Producer struct {
	ID       int64 // 1 and up, unique in its stream; 0: none
	Epoch    int16 // 1 and up
	Sequence int32 // in a Batch: of its first event. From RegisterProducer: of the last event stored, -1 when there is none
}

// RegisterProducer makes a producer in a partition when known.ID is 0, and takes over a known one otherwise: the epoch becomes
// known.Epoch, or one more than it was when that is 0, and whoever still sends with an older one gets ErrProducerFenced. A client that
// comes back after a broken connection gives the epoch it has, since what it has to send again bears it. The answer is durable; its
// Sequence is that of the last event stored, whatever known.Sequence says.
//
// A partition remembers the 1,000 producers last used. Errors: ErrUnknownProducer, ErrProducerFenced (known.Epoch is older than the
// epoch stored), NotFound when there is no such stream or partition.
func (l *Log) RegisterProducer(ctx context.Context, stream string, partition int, known Producer) (Producer, error) {
	return Producer{}, fault.New("eventlog.RegisterProducer", fault.Unavailable, "not built yet")
}
