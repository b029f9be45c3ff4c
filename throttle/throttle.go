package throttle

import (
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

// Config says how much is allowed. The zero value works.
type Config struct {
	Burst int           // events at once; 20
	Every time.Duration // one more each; 3 s
	Keys  int           // remembered at most; 4096
}

// Throttle counts events by key.
type Throttle[K comparable] struct {
	cfg Config
	clk clock.Clock

	mu     sync.Mutex // guards the fields below
	until  map[K]time.Time
	others time.Time // of all keys for which there was no room
	swept  time.Time
}

// New returns a Throttle that has seen nothing.
func New[K comparable](cfg Config, clk clock.Clock) *Throttle[K] {
	if cfg.Burst <= 0 {
		cfg.Burst = 20
	}
	if cfg.Every <= 0 {
		cfg.Every = 3 * time.Second
	}
	if cfg.Keys <= 0 {
		cfg.Keys = 4096
	}
	return &Throttle[K]{cfg: cfg, clk: clk, until: map[K]time.Time{}}
}

// Take counts an event of the key and returns 0 when it is allowed, else how long it is until one will be. What is not allowed is not
// counted.
func (t *Throttle[K]) Take(key K) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clk.Now()
	until, known := t.until[key]
	if !known && len(t.until) >= t.cfg.Keys {
		t.sweep(now)
		if len(t.until) >= t.cfg.Keys {
			t.others, wait = t.next(t.others, now)
			return wait
		}
	}
	t.until[key], wait = t.next(until, now)
	return wait
}

// next moves the time at which a key will have its whole burst again.
func (t *Throttle[K]) next(until, now time.Time) (time.Time, time.Duration) {
	if until.Before(now) {
		until = now
	}
	if wait := until.Sub(now) - time.Duration(t.cfg.Burst-1)*t.cfg.Every; wait > 0 {
		return until, wait
	}
	return until.Add(t.cfg.Every), 0
}

// sweep forgets the keys that have their whole burst again, not more often than one could: it looks at every key.
func (t *Throttle[K]) sweep(now time.Time) {
	if since := now.Sub(t.swept); since >= 0 && since < t.cfg.Every {
		return
	}
	t.swept = now
	for k, until := range t.until {
		if !until.After(now) {
			delete(t.until, k)
		}
	}
}
