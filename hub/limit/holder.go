package limit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	shards = 16
	// maxKnown is how many names a hub's limiter knows in each shard at most.
	maxKnown = 65536 / shards
	// remember is how long a holder's trouble is remembered.
	remember = 10 * time.Minute
	// goesOn is how long after the last refusal the next one still belongs to the same trouble.
	goesOn = 10 * time.Second
)

// Holder is the allowances of one device or module.
type Holder struct {
	buckets [classes]bucket
	of      [classes]member // of its hub
	trouble atomic.Pointer[[classes]trouble]
	held    int // guarded by its shard's mu
}

// trouble is when a holder was refused, in nanoseconds since the limiter was made.
type trouble struct {
	since, last, count atomic.Int64
	level              atomic.Uint32
}

type shard struct {
	mu    sync.Mutex // guards the fields below
	known map[string]*Holder
	sweep int   // length at which it is looked for whom to forget
	swept int64 // when that was last done, in nanoseconds since the limiter was made
}

func (h *Hub) shard(name string) *shard { return &h.shards[maphash.String(h.seed, name)%shards] }

// Holder returns the allowances of a name for a single Take.
func (h *Hub) Holder(name string, now time.Time) *Holder { return h.find(name, now, 0) }

// Hold returns the allowances of a name for long: they are not forgotten until Release.
func (h *Hub) Hold(name string, now time.Time) *Holder { return h.find(name, now, 1) }

// Release ends a Hold.
func (h *Hub) Release(name string) {
	s := h.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.known[name]; d != nil && d.held > 0 {
		d.held--
	}
}

func (h *Hub) find(name string, now time.Time, hold int) *Holder {
	s := h.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.known[name]
	if d == nil {
		if len(s.known) >= max(64, s.sweep) {
			s.forget(int64(now.Sub(h.limiter.start)))
		}
		// Those who are held are connected, and so bounded by whoever lets them in.
		if len(s.known) >= maxKnown && hold == 0 {
			return &h.others
		}
		d = &Holder{}
		s.known[name] = d
	}
	d.held += hold
	return d
}

// forget removes whoever is not held and has all it may have. It is called when as many came as were left the last time, so that the
// work for each name is the same however many there are.
func (s *shard) forget(at int64) {
	if s.swept > 0 && at-s.swept < int64(time.Second) && len(s.known) >= maxKnown { // a full house is not searched again for each who comes
		return
	}
	s.swept = at
	for name, d := range s.known {
		if d.held == 0 && d.idle(at) {
			delete(s.known, name)
		}
	}
	s.sweep = min(2*len(s.known), maxKnown)
}

func (d *Holder) idle(at int64) bool {
	for i := range d.buckets {
		if d.buckets[i].used(at) > 0 {
			return false
		}
	}
	if all := d.trouble.Load(); all != nil {
		for i := range all {
			if all[i].count.Load() > 0 && at-all[i].last.Load() < int64(remember) {
				return false
			}
		}
	}
	return true
}

func (d *Holder) note(c Class, l Level, at int64) {
	all := d.trouble.Load()
	if all == nil {
		all = &[classes]trouble{}
		if !d.trouble.CompareAndSwap(nil, all) {
			all = d.trouble.Load()
		}
	}
	t := &all[c]
	if t.count.Add(1) == 1 || at-t.last.Load() > int64(goesOn) {
		t.since.Store(at)
	}
	t.last.Store(at)
	t.level.Store(uint32(l))
}

// Trouble is a time in which a device was refused or held back.
type Trouble struct {
	Class Class
	Level Level     // whose allowance was used up the last time
	Since time.Time // the first time of those that followed each other within ten seconds
	Last  time.Time
	Now   bool  // it goes on: the last time is less than ten seconds ago
	Count int64 // since the device is known here
}

// Troubles returns what a name was refused lately; none when it is not known.
func (h *Hub) Troubles(name string, now time.Time) []Trouble {
	s := h.shard(name)
	s.mu.Lock()
	d := s.known[name]
	s.mu.Unlock()
	if d == nil {
		return nil
	}
	all := d.trouble.Load()
	if all == nil {
		return nil
	}
	at := int64(now.Sub(h.limiter.start))
	var out []Trouble
	for i := range all {
		t := &all[i]
		last := t.last.Load()
		if t.count.Load() == 0 || at-last >= int64(remember) {
			continue
		}
		out = append(out, Trouble{
			Class: Class(i), Level: Level(t.level.Load()), Since: h.limiter.start.Add(time.Duration(t.since.Load())), Last: h.limiter.start.Add(time.Duration(last)),
			Now: at-last <= int64(goesOn), Count: t.count.Load(),
		})
	}
	return out
}

// Known returns how many names are remembered.
func (h *Hub) Known() int {
	n := 0
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		n += len(s.known)
		s.mu.Unlock()
	}
	return n
}
