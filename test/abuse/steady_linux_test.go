package abuse

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// tolerable is the 99th percentile that others may see under abuse, on a machine that is busy with the abuser as well.
const tolerable = 2 * time.Second

// steady is somebody who uses a service properly, again and again, and takes the time.
type steady struct {
	t    testing.TB
	what string
	stop func()

	using sync.RWMutex // held for reading by each use

	mu   sync.Mutex // guards the fields below: of the present lap
	from time.Time
	took []time.Duration
	bad  []error
}

// lap is how somebody fared in a while.
type lap struct {
	n           int // times served
	failed      int
	rate        float64 // served a second
	median, p99 time.Duration
}

// use has each of uses called again and again with a pause in between, until the test ends.
func use(t testing.TB, what string, pause time.Duration, uses ...func() error) *steady {
	s := &steady{t: t, what: what, from: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, once := range uses {
		all.Go(func() {
			for ctx.Err() == nil {
				s.using.RLock()
				began := time.Now()
				err := once()
				s.using.RUnlock()
				if ctx.Err() != nil {
					return
				}
				s.note(time.Since(began), err)
				select {
				case <-time.After(pause):
				case <-ctx.Done():
				}
			}
		})
	}
	s.stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(s.stop)
	return s
}

func (s *steady) note(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.bad = append(s.bad, err)
		return
	}
	s.took = append(s.took, took)
}

// lap ends a lap, in which nobody may have failed, and begins the next.
func (s *steady) lap(name string) lap {
	s.t.Helper()
	s.mu.Lock()
	took, bad, lasted := s.took, s.bad, time.Since(s.from)
	s.took, s.bad, s.from = nil, nil, time.Now()
	s.mu.Unlock()
	slices.Sort(took)
	l := lap{n: len(took), failed: len(bad), rate: float64(len(took)) / lasted.Seconds()}
	if l.n > 0 {
		l.median, l.p99 = took[l.n/2], took[l.n*99/100]
	}
	s.t.Logf("%s, %s: %d served, %d failed, %.0f a second, median %v, p99 %v", s.what, name, l.n, l.failed, l.rate, l.median.Round(time.Microsecond), l.p99.Round(time.Microsecond))
	if l.failed > 0 {
		s.t.Errorf("%s, %s: %d were not served, the first: %v", s.what, name, l.failed, bad[0])
	}
	return l
}

// fine is lap for a time of abuse: at least that many were served, or as many a second where the time was short, and in tolerable time.
func (s *steady) fine(name string, least int) lap {
	s.t.Helper()
	l := s.lap(name)
	if l.n < least && l.rate < float64(least) || l.p99 > tolerable {
		s.t.Errorf("%s, %s: %d were served, wanted at least %d, with 99 of 100 in %v, wanted %v", s.what, name, l.n, least, l.p99, tolerable)
	}
	return l
}

// warm waits until n uses are over, and ends the lap.
func (s *steady) warm(n int) lap {
	s.t.Helper()
	s.served(n)
	return s.lap("before")
}

// served waits until n uses of the lap have been served.
func (s *steady) served(n int) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patient); ; {
		s.mu.Lock()
		have := len(s.took)
		s.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			s.t.Fatalf("%s: %d were served, wanted %d", s.what, have, n)
		}
	}
}

// between calls do while nobody is in the middle of a use.
func (s *steady) between(do func()) {
	s.using.Lock()
	defer s.using.Unlock()
	do()
}
