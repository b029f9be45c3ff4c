package bridge

import (
	"context"
	"log/slog"
	"time"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resource"
)

// Source is what is read. Methods may be called concurrently; every error is one that waiting may mend, except Invalid and TooLarge.
type Source interface {
	// Partitions lists all partitions.
	Partitions(ctx context.Context) ([]string, error)
	// Read begins to read a partition and pushes readers of lower epochs out. Conflict: somebody with a higher epoch reads it.
	Read(ctx context.Context, partition string, from Position, epoch int64) (Reader, error)
	Close() error
}

// Position is where reading begins: at Sequence where it is 0 or more, else with what came in at Time or later, else behind what is there
// if Latest, else with the oldest event. Write Earliest for the last.
type Position struct {
	Sequence int64
	Time     time.Time
	Latest   bool
}

// Earliest is the position of the oldest event.
func Earliest() Position { return Position{Sequence: -1} }

// At is the position of a sequence number.
func At(sequence int64) Position { return Position{Sequence: sequence} }

// Reader reads one partition, in order. Next and End may be called concurrently; Close ends a waiting Next.
type Reader interface {
	// Next waits for at least one event and gives those that are there, up to the bounds; one event may be larger than maxBytes. The events
	// are the caller's. After an error the reader is of no more use. Conflict: somebody with a higher epoch has taken the partition over.
	Next(ctx context.Context, maxEvents, maxBytes int) ([]*event.Event, error)
	// End is what the source said last of the partition: the sequence number its next event gets, and when its last one came in. Next
	// is -1 as long as nothing was said.
	End() (next int64, last time.Time)
	Close() error
}

// Destination is where events go. Lanes write concurrently, each one batch at a time.
type Destination interface {
	// Write returns nil when all events are durable there, *event.Refused when some of them never will be and the others are. After any
	// other error it is not known what arrived: the same events are written again, with Repeat set, after a pause. The batch and its
	// events must not be changed, nor kept after the return.
	Write(ctx context.Context, lane string, batch []*event.Event) error
	Close() error
}

// Buffered is a destination whose Write only takes events in, a batch whole or not at all: they count once Flush has returned. It keeps
// its own copy of what it needs of them.
type Buffered interface {
	Destination
	// Due tells when the lane should be flushed, and whether it holds anything. A time that has passed: now.
	Due(lane string) (at time.Time, pending bool)
	// Flush makes durable what the lane holds. After an error the lane holds what it held, and Flush is called again.
	Flush(ctx context.Context, lane string) error
	// Drop forgets what the lane holds; it comes again.
	Drop(lane string)
}

// DestinationArgs is what a destination is made of.
type DestinationArgs struct {
	Bridge      string // uid
	Name        string // ot/ot-cloud/telemetry
	Destination resource.BridgeDestination
	End         *end.End          // nil for disk
	Columns     []resource.Column // of the rows of the bridge's window, windowStart and windowEnd first; nil without a window
	Folders     []string          // below which disk destinations may write
	Dir         string            // of the bridge alone, for what it must keep; may not exist yet
	Log         *slog.Logger
	Clock       clock.Clock
}

// Step is code that is called with batches: one instance for each lane, called by one goroutine at a time.
type Step interface {
	// Process gives the outcome of each event of the batch, in order: what it becomes, or why the step does not take it. An error means
	// that nothing is known of the batch: the same events are given again after a pause. The events are the step's.
	Process(ctx context.Context, batch []*event.Event) ([]Outcome, error)
	Close(ctx context.Context) error
}

// Outcome is what becomes of one event: no Events leave it out. Origins of Events are set by the caller.
type Outcome struct {
	Events  []*event.Event
	Refused error // its words are the reason in the dead letter
}

// StepArgs is what an http or wasm step is made of.
type StepArgs struct {
	Bridge  string // uid
	Name    string // ot/ot-cloud/telemetry
	Lane    string
	Step    resource.BridgeStep
	End     *end.End // of http, with its secret
	Modules string   // the folder of WebAssembly modules
	Log     *slog.Logger
	Clock   clock.Clock
}
