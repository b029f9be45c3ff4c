package hubstore

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	mostTurns   = 4                // queries that read at once, on a large machine
	mostWaiting = 256              // for their turn
	longestWait = 20 * time.Second // for it
)

// turns lets few queries read at once. One that no index helps takes a core, and one of the few connections, for as long as it looks at
// every twin; devices that connect, and whoever reads one twin, need both.
type turns struct {
	places  chan struct{}
	waiting atomic.Int64
}

func (t *turns) open() {
	t.places = make(chan struct{}, min(max(2, runtime.GOMAXPROCS(0)/2), mostTurns))
}

// take waits for a turn, which done ends; however long that takes when patient. Exhausted when too many wait, or for too long.
func (t *turns) take(ctx context.Context, patient bool) (done func(), err error) {
	done = func() { <-t.places }
	select {
	case t.places <- struct{}{}:
		return done, nil
	default:
	}
	op := "hubstore.Query"
	if n := t.waiting.Add(1); n > mostWaiting && !patient {
		t.waiting.Add(-1)
		return nil, fault.Newf(op, fault.Exhausted, "%d queries wait already", mostWaiting).Advise("ask again in a moment; queries that an index helps take less time")
	}
	defer t.waiting.Add(-1)
	var over <-chan time.Time
	if !patient {
		timer := time.NewTimer(longestWait)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case t.places <- struct{}{}:
		return done, nil
	case <-over:
		return nil, fault.Newf(op, fault.Exhausted, "other queries have taken all the time there was for %v", longestWait).
			Advise("ask again in a moment; queries that an index helps take less time")
	case <-ctx.Done():
		return nil, fault.New(op, fault.Timeout, "who asked has gone").Because(ctx.Err())
	}
}
