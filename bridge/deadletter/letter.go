package deadletter

import (
	"math"
	"time"

	"github.com/isthmus-io/isthmus/bridge/event"
)

// Letter is an event that could not be sent.
type Letter struct {
	ID     uint64 // rises
	Lane   string
	Step   string    // where it went no further: the name of a step, or contract, or destination
	Reason string    // in words
	At     time.Time // when
	Size   int       // bytes it takes on the disk
	Event  *event.Event
}

// Filter picks letters. The zero value picks all.
type Filter struct {
	Step, Lane    string
	First, Last   uint64    // ids, both of them included; 0: no bound
	After, Before time.Time // when the letter was written: not before After, before Before; zero: no bound
}

// entry is what the index knows of a letter.
type entry struct {
	id         uint64
	at         int64 // nanoseconds of the epoch
	offset     int64
	segment    *segment // nil: it is no more
	size       int32    // of the frame
	step, lane uint32
}

// most is a bound that no letter reaches.
const most = math.MaxUint64

// bounds returns the ids that may be picked.
func (f *Filter) bounds() (first, last uint64) {
	if last = f.Last; last == 0 {
		last = most
	}
	return f.First, last
}
