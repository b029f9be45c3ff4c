package eventlog

import (
	"context"
	"time"

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

	pairs []byte // properties, then system, as stored
}

// Properties yields the application's properties in the order stored: for name, value := range v.Properties { … }
func (v *View) Properties(yield func(name, value []byte) bool) {}

// System yields the system properties in the order stored.
func (v *View) System(yield func(name, value []byte) bool) {}

// Event is a copy of all that, to keep.
func (v *View) Event() Event { return Event{} }

// Scan calls f with durable events of one partition in order, beginning with sequence number from, or with the oldest kept when that
// one is trimmed, until f returns false, limit events have been shown (0: no limit), or the end is reached. Nothing is copied. f must
// not wait long and must not call the log. NotFound when there is no such stream or partition.
func (l *Log) Scan(ctx context.Context, stream string, partition int, from int64, limit int, f func(*View) bool) error {
	return fault.New("eventlog.Scan", fault.Unavailable, "not built yet")
}

// SeekOffset returns the sequence number of the first event kept whose offset is the given one or later; the next sequence number when
// there is none.
func (l *Log) SeekOffset(stream string, partition int, offset int64) (sequence int64, err error) {
	return l.search("eventlog.SeekOffset", stream, partition, func(_, at int64) bool { return at >= offset })
}
