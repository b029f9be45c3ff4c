package eventlog

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
)

// StreamOptions is how a stream is made. The zero value is what Append makes.
type StreamOptions struct {
	Partitions int       // 1 to MaxPartitions; 0: Config.Partitions
	Hash       string    // which partition a key has: "fnv" (also when empty), or "lookup3", see Lookup3
	Retention  Retention // zero: Config's; negative values keep all
}

// CreateStream makes a stream, durably. It does nothing when the stream is there already with as many partitions and the same hash;
// others are a Conflict, since the partition of every key would change. The retention of a stream that is there stays: see SetRetention.
func (l *Log) CreateStream(ctx context.Context, name string, o StreamOptions) error {
	return l.Create(ctx, name, o.Partitions)
}

// SetRetention changes what a stream keeps from now on, durably. Events are trimmed within Config.RetentionEvery. NotFound when there
// is no such stream.
func (l *Log) SetRetention(context.Context, string, Retention) error {
	return fault.New("eventlog.SetRetention", fault.Unavailable, "not built yet")
}

// DeleteStream forgets a stream with its events and its producers, durably and all at once. Readers that wait, and all later ones, get
// NotFound; a new stream of the same name begins at sequence number 0. It works on a full disk. NotFound when there is no such stream.
func (l *Log) DeleteStream(context.Context, string) error {
	return fault.New("eventlog.DeleteStream", fault.Unavailable, "not built yet")
}
