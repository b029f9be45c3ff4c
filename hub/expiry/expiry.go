package expiry

import (
	"container/heap"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

// Expiry watches terms.
type Expiry struct {
	clock clock.Clock
	wake  chan struct{} // the first of all has changed; capacity 1

	mu      sync.Mutex // guards the fields below
	all     byEnd
	running bool
	ending  *Term     // whose end is being called
	settled sync.Cond // running, ending or all has changed
}

// New returns an Expiry without terms.
func New(clk clock.Clock) *Expiry {
	e := &Expiry{clock: clk, wake: make(chan struct{}, 1)}
	e.settled.L = &e.mu
	return e
}

// Term is one thing's place.
type Term struct {
	at    time.Time
	index int // in the heap; -1 when it is not there
	end   func()
}

// Add begins to watch: end is called when the time has come, on the goroutine of all terms. It must not wait, nor call Remove.
func (e *Expiry) Add(at time.Time, end func()) *Term {
	t := &Term{at: at, index: -1, end: end}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.insert(t)
	return t
}

// Move gives a term another time, also when it has ended: then it is watched again. It may be called from a term's end.
func (e *Expiry) Move(t *Term, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t.at = at
	if t.index < 0 {
		e.insert(t)
		return
	}
	heap.Fix(&e.all, t.index)
	e.knock()
}

func (e *Expiry) insert(t *Term) {
	heap.Push(&e.all, t)
	e.settled.Broadcast()
	switch {
	case !e.running:
		e.running = true
		go e.run()
	case t.index == 0:
		e.knock()
	}
}

// Remove ends the watch. Its end is not being called when Remove returns, and will not be.
func (e *Expiry) Remove(t *Term) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.index >= 0 {
		heap.Remove(&e.all, t.index)
	}
	if len(e.all) == 0 {
		e.knock()
	}
	for e.ending == t || e.running && len(e.all) == 0 {
		e.settled.Wait()
	}
}

func (e *Expiry) knock() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *Expiry) run() {
	for {
		e.mu.Lock()
		if len(e.all) == 0 {
			e.running = false
			e.settled.Broadcast()
			e.mu.Unlock()
			return
		}
		first := e.all[0]
		at := first.at
		wait := at.Sub(e.clock.Now())
		if wait <= 0 {
			heap.Pop(&e.all)
			e.ending = first
		}
		e.mu.Unlock()
		if wait <= 0 {
			first.end()
			e.mu.Lock()
			e.ending = nil
			e.settled.Broadcast()
			e.mu.Unlock()
			continue
		}
		fired, stop := e.clock.After(wait)
		if at.After(e.clock.Now()) { // the time may have gone on before the timer was there
			select {
			case <-fired:
			case <-e.wake:
			}
		}
		stop()
	}
}

// byEnd is a heap by time.
type byEnd []*Term

func (h byEnd) Len() int           { return len(h) }
func (h byEnd) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h byEnd) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *byEnd) Push(x any) {
	t := x.(*Term)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *byEnd) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h, t.index = (*h)[:last], -1
	return t
}
