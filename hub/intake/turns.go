package intake

import (
	"context"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Bounds that doors use, and how long a turn is waited for.
const (
	MaxBodies      = 1024 // taken at a time, in all
	MaxBodiesOfOne = 64   // of one sender; the Node SDK sends 20 at once
	Patience       = 30 * time.Second
)

// Turns bounds how many bodies come at once.
type Turns struct {
	most, mostOfOne int
	ofOne           string

	mu    sync.Mutex // guards the fields below
	all   int
	by    map[string]int
	freed chan struct{} // closed, and made anew, when one ends
}

// NewTurns returns turns for so many bodies, and so many of one sender; ofOne says for people whose those are: "of this device".
func NewTurns(most, mostOfOne int, ofOne string) *Turns {
	return &Turns{most: most, mostOfOne: mostOfOne, ofOne: ofOne, by: map[string]int{}, freed: make(chan struct{})}
}

// Take waits for a turn until wait ends: Exhausted then.
func (t *Turns) Take(ctx context.Context, who string, wait <-chan time.Time) (release func(), err error) {
	for {
		t.mu.Lock()
		if t.all < t.most && t.by[who] < t.mostOfOne {
			t.all++
			t.by[who]++
			t.mu.Unlock()
			return func() { t.release(who) }, nil
		}
		freed, mine := t.freed, t.by[who]
		t.mu.Unlock()
		select {
		case <-freed:
		case <-wait:
			return nil, fault.Newf("intake.Take", fault.Exhausted, "too many files come at once: %d %s", mine, t.ofOne).Advise("send fewer blocks at the same time")
		case <-ctx.Done():
			return nil, fault.Wrap("intake.Take", fault.Unavailable, ctx.Err(), "the client went away")
		}
	}
}

func (t *Turns) release(who string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all--
	if t.by[who]--; t.by[who] == 0 {
		delete(t.by, who)
	}
	close(t.freed)
	t.freed = make(chan struct{})
}
