package cache

import (
	"hash/maphash"
	"math/bits"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resolver/message"
)

// Config holds the limits of a cache. The zero value of each is the number given.
type Config struct {
	Bytes int64 // of memory for everything; 64 MiB. Less than 64 KiB is as good as that

	MinTTL      time.Duration // an answer is kept at least as long, except one of TTL 0; no minimum
	MaxTTL      time.Duration // and at most so long; 1 day, at most 30
	MaxNegative time.Duration // the same for NXDOMAIN and NODATA, which the SOA's minimum bounds as well (RFC 2308 section 5); 5 min
	FailureTTL  time.Duration // for how long a failure is remembered (RFC 2308 section 7: at most 5 min); 5 s
	Stale       time.Duration // how long an entry may be used after its end when there is no other answer (RFC 8767); 1 day
	StaleTTL    time.Duration // the TTL of its records then; 30 s

	PrefetchBelow float64 // an entry asked for twice or more is announced when less than this share of its time is left; 0.1
}

func (c Config) withDefaults() Config {
	c.Bytes = max(or(c.Bytes, 64<<20), 64<<10)
	c.MaxTTL = min(or(c.MaxTTL, 24*time.Hour), 30*24*time.Hour)
	c.MinTTL = min(c.MinTTL, c.MaxTTL)
	c.MaxNegative = or(c.MaxNegative, 5*time.Minute)
	c.FailureTTL = min(or(c.FailureTTL, 5*time.Second), 5*time.Minute)
	c.Stale = or(c.Stale, 24*time.Hour)
	c.StaleTTL = or(c.StaleTTL, 30*time.Second)
	c.PrefetchBelow = or(c.PrefetchBelow, 0.1)
	return c
}

func or[T int64 | float64 | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

const (
	maxShards = 64
	minShard  = 256 << 10 // bytes; there are fewer shards rather than smaller ones
)

// Key is a question, and whom it was put to.
type Key struct {
	Name        []byte // wire form, lower case, at most 255 bytes; not kept
	Type, Class uint16
	DO, CD      bool   // signatures are wanted; checking disabled: each gets answers of its own
	Group       uint32 // the group of servers: what one says must not answer for another
}

// State is how good a hit is.
type State uint8

// The states of a hit.
const (
	Fresh State = iota
	Stale       // its time is up, and there was no newer answer
)

func (s State) String() string {
	if s == Stale {
		return "stale"
	}
	return "fresh"
}

// Hit is an answer from the cache.
type Hit struct {
	// Body is what was given to Get and behind it the records. Pointers among them count on it that they stand in a message right behind
	// its one question, which has the key's name, in whatever spelling.
	Body                              []byte
	Answers, Authorities, Additionals uint16
	Rcode                             int
	AD                                bool // the server had checked the signatures
	CNAME                             bool // among the answers is a CNAME
	Age                               time.Duration
	State                             State
	Prefetch                          bool // the caller, and only it, should ask again now
}

// Cache holds answers. Make it with New.
type Cache struct {
	cfg    Config
	clk    clock.Clock
	seed   maphash.Seed
	shards []shard
	shift  uint
}

// New returns an empty cache, which takes memory as it fills.
func New(cfg Config, clk clock.Clock) *Cache {
	cfg = cfg.withDefaults()
	n := 1
	for n < maxShards && cfg.Bytes/int64(2*n) >= minShard {
		n *= 2
	}
	c := &Cache{cfg: cfg, clk: clk, seed: maphash.MakeSeed(), shards: make([]shard, n), shift: 64 - uint(bits.Len(uint(n-1)))}
	for i := range c.shards {
		c.shards[i].limit = int(min(cfg.Bytes/int64(n), 1<<30))
	}
	return c
}

// hash tells keys apart; the bytes beside the name go in at the end.
func (c *Cache) hash(k *Key) uint64 {
	h := maphash.Bytes(c.seed, k.Name)
	rest := uint64(k.Group)<<32 | uint64(k.Type)<<16 | uint64(k.Class)
	if k.DO {
		rest ^= 1 << 15
	}
	if k.CD {
		rest ^= 1 << 14
	}
	hi, lo := bits.Mul64(h^rest, 0x9e3779b97f4a7c15)
	return hi ^ lo
}

func (c *Cache) shard(h uint64) *shard { return &c.shards[h>>c.shift] }

// Get appends the answer to dst, if there is one whose time is not up, or a stale one and a failure was noted just now.
func (c *Cache) Get(dst []byte, k Key, now time.Time) (Hit, bool) { return c.get(dst, &k, now, false) }

// Stale is Get that takes a stale answer as well. It is for callers who could get no other.
func (c *Cache) Stale(dst []byte, k Key, now time.Time) (Hit, bool) {
	return c.get(dst, &k, now, true)
}

func (c *Cache) get(dst []byte, k *Key, now time.Time, stale bool) (Hit, bool) {
	h := c.hash(k)
	s := c.shard(h)
	at := now.UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	off, ok := s.find(uint32(h), k)
	if !ok {
		s.stats.Misses++
		return Hit{Body: dst}, false
	}
	e := s.entry(off)
	age, left := e.times(at)
	state := Fresh
	if left <= 0 {
		if !c.staleGood(e, age) || !stale && e.failed() <= at {
			s.stats.Misses++
			return Hit{Body: dst}, false
		}
		state = Stale
	}
	hit := Hit{Rcode: int(e.rcode()), AD: e.flags()&flagAD != 0, CNAME: e.flags()&flagCNAME != 0, Age: time.Duration(age) * time.Millisecond, State: state}
	hit.Answers, hit.Authorities, hit.Additionals = e.counts()
	start := len(dst)
	dst = append(dst, e.body()...)
	hit.Body = dst
	if state == Fresh {
		e.age(dst[start:], uint32(age/1000))
		hit.Prefetch = e.asked() && left < int64(c.cfg.PrefetchBelow*float64(e.life())) && e.rcode() != rcodeServFail && e.announce()
		s.stats.Hits++
		if hit.Prefetch {
			s.stats.Prefetches++
		}
		return hit, true
	}
	ttl := uint32(c.cfg.StaleTTL / time.Second)
	e.bound(dst[start:], ttl, ttl)
	e.asked()
	s.stats.Stale++
	return hit, true
}

// staleGood tells whether an entry of an age, whose time is up, may still be used.
func (c *Cache) staleGood(e entry, age int64) bool {
	return age >= 0 && e.rcode() != rcodeServFail && age < e.life()+c.cfg.Stale.Milliseconds()
}

// Fail notes that there was no answer from anybody, for Config.FailureTTL.
func (c *Cache) Fail(k Key, now time.Time) {
	h := c.hash(&k)
	s := c.shard(h)
	at := now.UnixMilli()
	life := c.cfg.FailureTTL.Milliseconds()
	s.mu.Lock()
	defer s.mu.Unlock()
	if off, ok := s.find(uint32(h), &k); ok {
		e := s.entry(off)
		age, left := e.times(at)
		if left > 0 || c.staleGood(e, age) {
			e.fail(at + life)
			return
		}
	}
	if len(k.Name) <= message.MaxName {
		s.put(uint32(h), &k, &answer{rcode: rcodeServFail, life: life}, at)
	}
}

// Sight is what Look says.
type Sight struct {
	Age, Left time.Duration // Left is negative when its time is up
	State     State
	Rcode     int
	Usable    bool // Get would give it now
}

// Look tells what there is for a key, without counting as a question.
func (c *Cache) Look(k Key) (Sight, bool) {
	h := c.hash(&k)
	s := c.shard(h)
	at := c.clk.Now().UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	off, ok := s.find(uint32(h), &k)
	if !ok {
		return Sight{}, false
	}
	e := s.entry(off)
	age, left := e.times(at)
	out := Sight{Age: time.Duration(age) * time.Millisecond, Left: time.Duration(left) * time.Millisecond, Rcode: int(e.rcode()), Usable: left > 0}
	if left <= 0 {
		if !c.staleGood(e, age) {
			return Sight{}, false
		}
		out.State, out.Usable = Stale, e.failed() > at
	}
	return out, true
}

// Purge forgets everything and gives the memory back.
func (c *Cache) Purge() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.clear()
		s.mu.Unlock()
	}
}

// Stats counts since New; Entries and Bytes are of this moment.
type Stats struct {
	Hits, Misses, Stale uint64 // of Get and Stale
	Prefetches          uint64 // announced
	Kept, Refused       uint64 // of Put
	Evicted             uint64 // to make room
	Entries             int
	Bytes               int64 // all memory held
}

// Stats adds up the shards.
func (c *Cache) Stats() Stats {
	var out Stats
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		st := s.stats
		out.Entries += s.live
		out.Bytes += int64(len(s.ring) + slotSize*len(s.slots))
		s.mu.Unlock()
		out.Hits += st.Hits
		out.Misses += st.Misses
		out.Stale += st.Stale
		out.Prefetches += st.Prefetches
		out.Kept += st.Kept
		out.Refused += st.Refused
		out.Evicted += st.Evicted
	}
	return out
}
