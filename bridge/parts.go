package bridge

import (
	"context"
	"log/slog"
	"time"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resource"
)

// Contract decides what crosses. It is safe for concurrent use.
type Contract interface {
	// Apply changes the event into what may cross, or says why it may not; the event is then as it was.
	Apply(e *event.Event) error
	// Take asks whether so many events and bytes may cross now. wait is 0: they may, and count in the rate of seconds. Otherwise: ask
	// again after wait, why says it in words. today is what has crossed on now's day (UTC), these not among it; the caller counts them.
	Take(today checkpoint.Day, now time.Time, events int, bytes int64) (wait time.Duration, why string)
}

// Letters keeps events that could not be sent. It is safe for concurrent use.
type Letters interface {
	// Put returns nil when the event is durable. Exhausted: there is no room, ask again later. The same event may be put twice.
	Put(ctx context.Context, lane, step string, e *event.Event, reason string) error
	// Kept is how many are kept.
	Kept() int64
	Close() error
}

// LettersArgs is what a store of dead letters is made of.
type LettersArgs struct {
	Bridge string // uid
	Limits resource.DeadLetters
	Dir    string // of the dead letters alone; may not exist yet
	Log    *slog.Logger
	Clock  clock.Clock
}

// Window aggregates events of all lanes into rows. The caller has a lock around it: it is called by one goroutine at a time.
type Window interface {
	// Add takes a batch of a lane in. Refused are events that never will be, with the reason; the others are in. After any other error none
	// is in, and the same batch comes again after a pause (Exhausted: too many groups). The events must not be kept.
	Add(lane string, batch []*event.Event) error
	// Idle tells that at now nothing was left to read in the lane's partition. Said again and again for as long as it holds; ended by Add.
	Idle(lane string, now time.Time)
	// Closed returns rows that are due and not forgotten, oldest first, at most limit, the first skip left out. Each has Origin.Name, which
	// stays the same however often it is given, and is the caller's own copy. They are in the next Snapshot byte for byte, so what is
	// closed stays closed and the same, whatever is read in which order after a crash.
	Closed(skip, limit int) []*event.Event
	// Forget drops the first n rows of Closed.
	Forget(n int)
	// Snapshot is all state in bytes, closed rows that are not forgotten among it.
	Snapshot() ([]byte, error)
	Counts() WindowCounts
	Close() error
}

// WindowCounts is for the status. Late and Closed are since the state was new: they are in the snapshot.
type WindowCounts struct{ Late, Open, Closed int64 }

// WindowArgs is what a window is made of.
type WindowArgs struct {
	Bridge     string // uid
	Name       string // ot/ot-cloud/telemetry
	Step       resource.BridgeStep
	References []resource.ReferenceTable
	// End gives a private endpoint by name, with the content of a secret.
	End     func(endpoint, secret string) (*end.End, error)
	Folder  string   // of reference tables that are files
	Lanes   []string // all partitions: each holds windows open until it has passed them, or is idle
	State   []byte   // a Snapshot to go on from; nil: begin anew
	Log     *slog.Logger
	Clock   clock.Clock
	Changed func() // call it when a table was read anew: what waited for it tries again
}
