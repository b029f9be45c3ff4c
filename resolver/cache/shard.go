package cache

import "sync"

// shard is a part of the cache under one lock: a ring of entries, each in one piece, and a table of where they begin.
type shard struct {
	mu    sync.Mutex // guards all below
	limit int        // bytes of ring and slots together; never changes
	ring  []byte
	head  int // where the next entry goes
	tail  int // the oldest entry
	used  int // bytes from tail to head
	slots []slot
	live  int // entries that can be found
	stats Stats
	_     [64]byte // the next shard's lock is in another line of the processor's cache
}

// slot leads from a tag to an entry.
type slot struct {
	tag uint32
	at  uint32 // offset in the ring plus one; 0: free
}

const (
	slotSize  = 8
	perSlot   = 64      // bytes of ring for one slot, or two; most entries are longer
	firstRing = 8 << 10 // bytes
	maxChance = 1024    // bytes; a longer entry does not go round again, nor can it be moved without a buffer
	chances   = 256     // entries that may go round again in one Put, some 20 µs
)

func (s *shard) entry(at int) entry { return entry(s.ring[at:]) }

// find returns where an entry begins.
func (s *shard) find(tag uint32, k *Key) (int, bool) {
	if len(s.slots) == 0 {
		return 0, false
	}
	mask := uint32(len(s.slots) - 1)
	for i := tag & mask; ; i = (i + 1) & mask {
		sl := s.slots[i]
		if sl.at == 0 {
			return 0, false
		}
		if sl.tag == tag && s.entry(int(sl.at-1)).is(k) {
			return int(sl.at - 1), true
		}
	}
}

// index makes an entry findable.
func (s *shard) index(tag uint32, at int) {
	mask := uint32(len(s.slots) - 1)
	i := tag & mask
	for s.slots[i].at != 0 {
		i = (i + 1) & mask
	}
	s.slots[i] = slot{tag, uint32(at + 1)}
	s.live++
}

// unindex takes an entry out of the table and closes the gap (Knuth, volume 3, algorithm R).
func (s *shard) unindex(tag uint32, at int) {
	mask := uint32(len(s.slots) - 1)
	i := tag & mask
	for s.slots[i].at != uint32(at+1) {
		i = (i + 1) & mask
	}
	for gap := i; ; {
		i = (i + 1) & mask
		if s.slots[i].at == 0 {
			s.slots[gap] = slot{}
			s.live--
			return
		}
		if home := s.slots[i].tag & mask; (i-home)&mask >= (i-gap)&mask {
			s.slots[gap] = s.slots[i]
			gap = i
		}
	}
}

// put keeps an answer, in place of an older one. It is false when the answer is too long for the shard.
func (s *shard) put(tag uint32, k *Key, a *answer, now int64) bool {
	n := entrySize(k, a)
	if n > s.longest() {
		return false
	}
	if at, ok := s.find(tag, k); ok {
		s.entry(at).set(flagDead)
		s.unindex(tag, at)
	}
	at := s.room(n)
	s.entry(at)[:n].write(tag, k, a, now)
	s.index(tag, at)
	return true
}

// longest is the size of the longest entry taken: a few of them must fit.
func (s *shard) longest() int { return s.limit / 8 }

// room makes room for n bytes at the head and returns where they begin.
func (s *shard) room(n int) int {
	left := chances
	for {
		if 4*s.live < 3*len(s.slots) {
			if at, ok := s.place(n); ok {
				return at
			}
		}
		if !s.grow() {
			s.evict(&left)
		}
	}
}

// place takes n bytes at the head if they are free there.
func (s *shard) place(n int) (int, bool) {
	if len(s.ring) == 0 {
		return 0, false
	}
	if s.used == 0 {
		s.head, s.tail = 0, 0
	}
	if s.used == 0 || s.head > s.tail { // free to the end, and from the start to the tail
		if n <= len(s.ring)-s.head {
			return s.push(n), true
		}
		if n > s.tail {
			return 0, false
		}
		if rest := len(s.ring) - s.head; rest > 0 {
			le.PutUint32(s.ring[s.head:], 0) // sizes are multiples of 8, and so is the ring's
			s.used += rest
		}
		s.head = 0
	}
	if n <= s.tail-s.head {
		return s.push(n), true
	}
	return 0, false
}

func (s *shard) push(n int) int {
	at := s.head
	s.head += n
	s.used += n
	if s.head == len(s.ring) {
		s.head = 0
	}
	return at
}

// evict takes the oldest entry out. If it was asked for since it came and there is a chance left, it goes to the head instead.
func (s *shard) evict(left *int) {
	e := s.entry(s.tail)
	n := e.size()
	if n == 0 { // the ring goes on at its start
		s.used -= len(s.ring) - s.tail
		s.tail = 0
		return
	}
	at := s.tail
	s.used -= n
	if s.tail += n; s.tail == len(s.ring) {
		s.tail = 0
	}
	if e.flags()&flagDead != 0 {
		return
	}
	s.unindex(e.tag(), at)
	if e.flags()&flagUsed != 0 && n <= maxChance && *left > 0 {
		*left--
		var kept [maxChance]byte
		copy(kept[:], e[:n])
		if to, ok := s.place(n); ok {
			again := s.entry(to)[:n]
			copy(again, kept[:n])
			again.drop(flagUsed)
			s.index(again.tag(), to)
			return
		}
	}
	s.stats.Evicted++
}

// grow doubles the ring and its table, if the limit allows; the last step is shorter.
func (s *shard) grow() bool {
	size := max(2*len(s.ring), firstRing)
	slots := slotsFor(size)
	if size+slotSize*slots > s.limit {
		slots = slotsFor(s.limit)
		size = (s.limit - slotSize*slots) &^ 7
		if size <= len(s.ring) {
			return false
		}
	}
	ring, at, rest := s.ring, s.tail, s.used
	s.ring, s.slots, s.head, s.tail, s.used, s.live = make([]byte, size), make([]slot, slots), 0, 0, 0, 0
	for rest > 0 {
		e := entry(ring[at:])
		n := e.size()
		if n == 0 { // the ring goes on at its start
			rest -= len(ring) - at
			at = 0
			continue
		}
		if e.flags()&flagDead == 0 {
			to := s.push(n)
			copy(s.ring[to:], e[:n])
			s.index(e.tag(), to)
		}
		rest -= n
		if at += n; at == len(ring) {
			at = 0
		}
	}
	return true
}

// slotsFor is the number of slots for a ring, a power of two.
func slotsFor(ring int) int {
	n := 1
	for n*perSlot < ring {
		n *= 2
	}
	return n
}

func (s *shard) clear() {
	s.ring, s.slots, s.head, s.tail, s.used, s.live = nil, nil, 0, 0, 0, 0
}
