package limit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/resource"
)

const (
	shards = 64
	spares = 16 // of entries kept for reuse, in each shard
)

// table is everybody of one kind who holds a connection, and those whose rates are not whole again.
type table[K comparable] struct {
	limit  atomic.Pointer[resource.Limit] // of each, unless each has its own
	seed   maphash.Seed
	shards [shards]shard[K]
}

type shard[K comparable] struct {
	mu      sync.Mutex // guards the fields below and those of the entries, except their bytes
	entries map[K]*entry[K]
	idle    entry[K] // a ring of those without a connection; next is the longest idle
	idling  int
	most    int       // of them
	spare   *entry[K] // linked by next
	spared  int
}

type entry[K comparable] struct {
	key        K
	home       *shard[K]
	open       int
	full       int64 // when all new connections of the burst are there again
	bytes      bucket
	prev, next *entry[K] // in the idle ring, nil outside
}

func newTable[K comparable](idle int) *table[K] {
	t := &table[K]{seed: maphash.MakeSeed()}
	t.limit.Store(&resource.Limit{})
	for i := range t.shards {
		s := &t.shards[i]
		s.entries = map[K]*entry[K]{}
		s.most = max(1, idle/shards)
		s.idle.prev, s.idle.next = &s.idle, &s.idle
	}
	return t
}

type over uint8

const (
	overConnections over = 1 + iota
	overRate
)

// enter takes one connection, or says what forbids it. Without a limit of its own, that of the table holds.
func (t *table[K]) enter(key K, own *resource.Limit, now int64) (*entry[K], over) {
	s := &t.shards[maphash.Comparable(t.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := own
	if limit == nil {
		limit = t.limit.Load() // behind the lock, or a change could go through the entries first and leave an old rate in this one
	}
	e := s.entries[key]
	if e == nil { // nobody's first connection is over a limit
		e = s.take()
		e.key = key
		s.entries[key] = e
	}
	if limit.Connections > 0 && e.open >= limit.Connections {
		return nil, overConnections
	}
	full, ok := takeOne(e.full, now, limit.PerSecond)
	if !ok {
		return nil, overRate
	}
	e.full = full
	e.bytes.rate.Store(limit.BytesPerSecond)
	if e.next != nil {
		s.unlink(e)
	}
	e.open++
	return e, 0
}

// leave gives one connection back.
func (e *entry[K]) leave(now int64) {
	s := e.home
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.open--; e.open > 0 {
		return
	}
	if e.rested(now) {
		s.forget(e)
		return
	}
	e.prev, e.next = s.idle.prev, &s.idle
	e.prev.next, s.idle.prev = e, e
	s.idling++
	// Two go for each that comes, so that those who rested do not pile up, and no call does much.
	for range 2 {
		if first := s.idle.next; first != &s.idle && (s.idling > s.most || first.rested(now)) {
			s.unlink(first)
			s.forget(first)
		}
	}
}

// rested tells whether nothing is left to remember.
func (e *entry[K]) rested(now int64) bool { return e.full <= now && e.bytes.full.Load() <= now }

func (s *shard[K]) unlink(e *entry[K]) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
	s.idling--
}

// forget takes an entry without connections out, and keeps the memory of a few.
func (s *shard[K]) forget(e *entry[K]) {
	delete(s.entries, e.key)
	var none K
	e.key, e.full = none, 0
	e.bytes.full.Store(0)
	e.bytes.rate.Store(0)
	if s.spared < spares {
		e.next, s.spare = s.spare, e
		s.spared++
	}
}

func (s *shard[K]) take() *entry[K] {
	if e := s.spare; e != nil {
		s.spare, e.next = e.next, nil
		s.spared--
		return e
	}
	return &entry[K]{home: s}
}

func (t *table[K]) each(f func(*entry[K])) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, e := range s.entries {
			f(e)
		}
		s.mu.Unlock()
	}
}

func (t *table[K]) size() (all, idle int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		all += len(s.entries)
		idle += s.idling
		s.mu.Unlock()
	}
	return all, idle
}
