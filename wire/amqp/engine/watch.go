package engine

import (
	"container/heap"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

// watch wakes connections when their time has come: for empty frames, for silences that are too long, and for what takes too long. One
// goroutine does it for all; it is there while there is a connection. Whoever removes the last one waits for it to go.
type watch struct {
	clock clock.Clock
	wake  chan struct{} // the first of all has changed; capacity 1

	mu      sync.Mutex // guards the fields below, and places; it is taken inside a connection's lock, never the other way round
	all     byTime
	running bool
	ticking *Conn     // whose tick is being called
	settled sync.Cond // running, ticking or all has changed
}

// place is a connection's place in the watch.
type place struct {
	at    time.Time
	index int // in the heap; -1 when it is not there
}

func newWatch(clk clock.Clock) *watch {
	w := &watch{clock: clk, wake: make(chan struct{}, 1)}
	w.settled.L = &w.mu
	return w
}

func (w *watch) add(c *Conn, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.place = place{at: at, index: -1}
	w.insert(c)
}

func (w *watch) insert(c *Conn) {
	heap.Push(&w.all, c)
	w.settled.Broadcast()
	switch {
	case !w.running:
		w.running = true
		go w.run()
	case c.place.index == 0:
		w.knock()
	}
}

// hurry lets a connection be woken earlier than it is to be.
func (w *watch) hurry(c *Conn, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !at.Before(c.place.at) {
		return
	}
	c.place.at = at
	if c.place.index >= 0 {
		heap.Fix(&w.all, c.place.index)
		if c.place.index == 0 {
			w.knock()
		}
	}
}

// remove ends the watch of a connection: it is not being woken when remove returns, and will not be.
func (w *watch) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.ticking == c {
		w.settled.Wait()
	}
	heap.Remove(&w.all, c.place.index)
	if len(w.all) == 0 {
		w.knock()
	}
	for w.running && len(w.all) == 0 {
		w.settled.Wait()
	}
}

func (w *watch) knock() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) run() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.all) > 0 {
		first := w.all[0]
		now := w.clock.Now()
		if wait := first.place.at.Sub(now); wait > 0 {
			w.mu.Unlock()
			w.sleep(wait, now.Add(wait))
			w.mu.Lock()
			continue
		}
		heap.Pop(&w.all)
		first.place.at = now.Add(time.Hour)
		w.ticking = first
		w.mu.Unlock()
		at := first.tick(now)
		w.mu.Lock()
		if at.Before(first.place.at) { // otherwise somebody has hurried it meanwhile
			first.place.at = at
		}
		heap.Push(&w.all, first)
		w.ticking = nil
		w.settled.Broadcast()
	}
	w.running = false
	w.settled.Broadcast()
}

func (w *watch) sleep(d time.Duration, until time.Time) {
	fired, stop := w.clock.After(d)
	defer stop()
	if until.After(w.clock.Now()) { // the time may have gone on before the timer was there
		select {
		case <-fired:
		case <-w.wake:
		}
	}
}

// byTime is a heap.
type byTime []*Conn

func (h byTime) Len() int           { return len(h) }
func (h byTime) Less(i, j int) bool { return h[i].place.at.Before(h[j].place.at) }
func (h byTime) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place.index, h[j].place.index = i, j
}

// Push implements heap.Interface.
func (h *byTime) Push(x any) {
	c := x.(*Conn)
	c.place.index = len(*h)
	*h = append(*h, c)
}

// Pop implements heap.Interface.
func (h *byTime) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.place.index = -1
	return c
}
