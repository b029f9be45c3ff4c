package admission

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// Config says how much one source may ask. The zero value of Sources is the number given; PerSecond has none.
type Config struct {
	PerSecond int // in the long run; 0 or less: no limit
	Burst     int // at once; twice PerSecond
	Sources   int // remembered; 32,768, rounded up to a power of two
}

// Rates counts queries by source.
type Rates struct {
	each  int64 // nanoseconds a query takes of a source's time
	burst int64 // how far ahead of the clock a source may be
	seed  maphash.Seed
	sets  []set
}

const (
	ways = 4
	leap = int64(time.Second) // by how much readers' ideas of now may differ
)

// A bucket is what identifies a source, and until when its queries have used up its time: the generic cell rate algorithm, which
// needs one number where tokens and their time would be two.
type bucket struct {
	tag   atomic.Uint64
	until atomic.Int64 // nanoseconds on the clock of Take
}

// A set fills a line of the processor's cache. A source has its place in one of its buckets.
type set [ways]bucket

// NewRates returns a table in which nobody has asked.
func NewRates(cfg Config) *Rates {
	r := &Rates{seed: maphash.MakeSeed()}
	if cfg.PerSecond <= 0 {
		return r
	}
	if cfg.Burst <= 0 {
		cfg.Burst = 2 * cfg.PerSecond
	}
	if cfg.Sources <= 0 {
		cfg.Sources = 32768
	}
	r.each = max(int64(time.Second)/int64(cfg.PerSecond), 1)
	r.burst = r.each * int64(cfg.Burst-1)
	n := 1
	for n*ways < cfg.Sources {
		n *= 2
	}
	r.sets = make([]set, n)
	return r
}

// Take counts a query of a source and tells whether it may be asked. What may not is not counted.
func (r *Rates) Take(from netip.Addr, now time.Time) bool {
	if r.each == 0 {
		return true
	}
	at := now.UnixNano()
	b := r.bucket(tag(r.seed, from), at)
	for {
		until := b.until.Load()
		ahead := max(until, at)
		switch {
		case until > at+r.burst+r.each+leap: // further than anybody gets: the machine's time was set back
			ahead = at
		case until > at+r.burst:
			return false
		}
		if b.until.CompareAndSwap(until, ahead+r.each) {
			return true
		}
	}
}

// tag stands for a source: an IPv4 address, or the first 56 bits of an IPv6 one. It is never 0.
func tag(seed maphash.Seed, from netip.Addr) uint64 {
	var key [9]byte
	if from.Is4() || from.Is4In6() {
		ip := from.Unmap().As4()
		key[8] = 4
		copy(key[:], ip[:])
	} else {
		ip := from.As16()
		copy(key[:7], ip[:])
	}
	return maphash.Bytes(seed, key[:]) | 1
}

// bucket finds a source's bucket, or takes one over: a free one, or that of the source which is the least ahead. One that is not ahead
// at all has its whole burst, which is what a source nobody knows has as well.
func (r *Rates) bucket(tag uint64, at int64) *bucket {
	s := &r.sets[tag>>1&uint64(len(r.sets)-1)]
	least := &s[0]
	for i := range s {
		b := &s[i]
		if b.tag.Load() == tag {
			return b
		}
		if b.until.Load() < least.until.Load() {
			least = b
		}
	}
	least.tag.Store(tag)
	least.until.Store(at)
	return least
}
