package schedule

import (
	"context"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

// Entry is an owner's place in a schedule. It must not be copied once it was added.
type Entry[T any] struct {
	owner T
	heap  *heap[T]
	due   int64 // Unix nanoseconds; guarded by heap.mu
	at    int   // its index in the heap, from 1; 0 when it is in none; guarded by heap.mu
}

// Schedule wakes owners.
type Schedule[T any] struct {
	clock clock.Clock
	fire  func(T)
	heaps []*heap[T]
	added int
}

// heap is a binary one; the root stands at index 1.
type heap[T any] struct {
	wake chan struct{}

	mu      sync.Mutex  // guards the fields below
	entries []*Entry[T] // entries[0] is unused
	until   int64       // when its goroutine wakes by itself; 0 while it is awake
}

// granule is the shortest sleep.
const granule = time.Millisecond

// New returns a schedule of so many heaps. fire is called by their goroutines.
func New[T any](heaps int, clk clock.Clock, fire func(T)) *Schedule[T] {
	s := &Schedule[T]{clock: clk, fire: fire}
	for range max(heaps, 1) {
		s.heaps = append(s.heaps, &heap[T]{wake: make(chan struct{}, 1), entries: make([]*Entry[T], 1)})
	}
	return s
}

// Add makes an entry known; it has no moment yet. All entries are added before Run.
func (s *Schedule[T]) Add(e *Entry[T], owner T) {
	e.owner, e.heap = owner, s.heaps[s.added%len(s.heaps)]
	s.added++
}

// Set wakes the entry's owner at a moment, instead of at the one set before.
func (s *Schedule[T]) Set(e *Entry[T], at time.Time) {
	h := e.heap
	h.mu.Lock()
	defer h.mu.Unlock()
	e.due = at.UnixNano()
	if e.at == 0 {
		h.entries = append(h.entries, e)
		e.at = len(h.entries) - 1
	}
	h.up(e.at)
	h.down(e.at)
	if h.entries[1] == e && h.until != 0 && e.due < h.until {
		h.until = 0
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
}

// Clear takes the entry's moment away.
func (s *Schedule[T]) Clear(e *Entry[T]) {
	h := e.heap
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.at != 0 {
		h.remove(e.at)
	}
}

// Run wakes owners until ctx ends.
func (s *Schedule[T]) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, h := range s.heaps {
		all.Go(func() { s.serve(ctx, h) })
	}
	all.Wait()
}

func (s *Schedule[T]) serve(ctx context.Context, h *heap[T]) {
	var due []T
	for ctx.Err() == nil {
		now := s.clock.Now()
		h.mu.Lock()
		for len(h.entries) > 1 && h.entries[1].due <= now.UnixNano() {
			due = append(due, h.entries[1].owner)
			h.remove(1)
		}
		sleep := time.Hour
		if len(h.entries) > 1 {
			sleep = max(time.Duration(h.entries[1].due-now.UnixNano()), granule)
		}
		h.until = 0
		if len(due) == 0 {
			h.until = now.Add(sleep).UnixNano()
		}
		h.mu.Unlock()
		for _, owner := range due {
			s.fire(owner)
		}
		if len(due) > 0 {
			clear(due)
			due = due[:0]
			continue
		}
		fired, stop := s.clock.After(sleep)
		select {
		case <-fired:
		case <-h.wake:
		case <-ctx.Done():
		}
		stop()
	}
}

func (h *heap[T]) swap(i, j int) {
	h.entries[i], h.entries[j] = h.entries[j], h.entries[i]
	h.entries[i].at, h.entries[j].at = i, j
}

func (h *heap[T]) up(i int) {
	for i > 1 && h.entries[i].due < h.entries[i/2].due {
		h.swap(i, i/2)
		i /= 2
	}
}

func (h *heap[T]) down(i int) {
	for {
		least := i
		for _, j := range [2]int{2 * i, 2*i + 1} {
			if j < len(h.entries) && h.entries[j].due < h.entries[least].due {
				least = j
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

func (h *heap[T]) remove(i int) {
	last := len(h.entries) - 1
	h.entries[i].at = 0
	moved := h.entries[last]
	h.entries[last] = nil
	h.entries = h.entries[:last]
	if i == last {
		return
	}
	h.entries[i], moved.at = moved, i
	h.up(i)
	h.down(moved.at)
}
