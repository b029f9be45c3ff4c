package mqttdoor

import (
	"container/heap"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

// expiry ends connections when their token ends. One goroutine does it for all of them; it is there while there is one that may end.
type expiry struct {
	clock clock.Clock
	wake  chan struct{} // the first of all has changed; capacity 1

	mu      sync.Mutex // guards the fields below
	all     byEnd
	running bool
	settled sync.Cond // running or all has changed
}

func newExpiry(clk clock.Clock) *expiry {
	e := &expiry{clock: clk, wake: make(chan struct{}, 1)}
	e.settled.L = &e.mu
	return e
}

// term is a connection's place in expiry.
type term struct {
	at    time.Time
	index int // in the heap; -1 when it is not there
	end   func()
}

// add begins to watch a connection; its end is called when the time has come, without locks held.
func (e *expiry) add(t *term) {
	e.mu.Lock()
	defer e.mu.Unlock()
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

// remove ends it. Whoever removes the last one waits for the goroutine to go.
func (e *expiry) remove(t *term) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.index >= 0 {
		heap.Remove(&e.all, t.index)
	}
	if len(e.all) == 0 {
		e.knock()
	}
	for e.running && len(e.all) == 0 {
		e.settled.Wait()
	}
}

func (e *expiry) knock() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *expiry) run() {
	for {
		e.mu.Lock()
		if len(e.all) == 0 {
			e.running = false
			e.settled.Broadcast()
			e.mu.Unlock()
			return
		}
		first := e.all[0]
		wait := first.at.Sub(e.clock.Now())
		if wait <= 0 {
			heap.Pop(&e.all)
		}
		e.mu.Unlock()
		if wait <= 0 {
			first.end()
			continue
		}
		fired, stop := e.clock.After(wait)
		if first.at.After(e.clock.Now()) { // the time may have gone on before the timer was there
			select {
			case <-fired:
			case <-e.wake:
			}
		}
		stop()
	}
}

// byEnd is a heap by time.
type byEnd []*term

func (h byEnd) Len() int           { return len(h) }
func (h byEnd) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h byEnd) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *byEnd) Push(x any) {
	t := x.(*term)
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
