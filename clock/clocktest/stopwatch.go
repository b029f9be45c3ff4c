package clocktest

import (
	"sync"
	"testing"
	"time"
)

const (
	beat = 5 * time.Millisecond
	late = 20 * time.Millisecond // a beat this late did not come because the process did not run, or not enough of it
)

// Stopwatch measures from Start on. Its methods may be called from several goroutines.
type Stopwatch struct {
	mu            sync.Mutex // guards what follows
	began, beaten time.Time
	lost          time.Duration
}

// Start starts a stopwatch, which runs until the test ends.
func Start(t testing.TB) *Stopwatch {
	now := time.Now()
	w := &Stopwatch{began: now, beaten: now}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.beat(time.Now())
			case <-over:
				return
			}
		}
	}()
	t.Cleanup(func() { close(over); <-done })
	return w
}

// beat notes that the process runs.
func (w *Stopwatch) beat(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if gap := now.Sub(w.beaten); gap > late {
		w.lost += gap - beat
	}
	w.beaten = now
}

// Took returns the time since Start in which the process ran.
func (w *Stopwatch) Took() time.Duration {
	now := time.Now()
	w.beat(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	return now.Sub(w.began) - w.lost
}
