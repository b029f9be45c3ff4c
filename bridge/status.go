package bridge

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

// rates counts what was sent in each of the last seconds.
type rates struct {
	mu      sync.Mutex
	begin   time.Time // of seconds, by a clock that does not jump
	second  int64     // of the newest bucket
	buckets [rateSeconds + 1]int64
}

const rateSeconds = 10

// at moves to now's bucket. Called with mu.
func (r *rates) at(now time.Time) *int64 {
	if r.begin.IsZero() {
		r.begin = now
	}
	second := int64(now.Sub(r.begin) / time.Second)
	for i := 0; r.second < second && i < len(r.buckets); i++ {
		r.second++
		r.buckets[r.second%int64(len(r.buckets))] = 0
	}
	r.second = max(r.second, second)
	return &r.buckets[r.second%int64(len(r.buckets))]
}

func (r *rates) add(now time.Time, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*r.at(now) += n
}

// perSecond is the mean over the last ten whole seconds.
func (r *rates) perSecond(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	current := r.at(now)
	sum := -*current
	for _, n := range r.buckets {
		sum += n
	}
	seconds := min(max(r.second, 1), rateSeconds)
	return float64(sum) / float64(seconds)
}

// status is all that is known of the bridge.
func (c *carrier) status() Status {
	now := c.b.clk.Now()
	c.mu.Lock()
	p, r, last, letters := c.plan, c.current, c.last, c.letters
	c.mu.Unlock()
	s := Status{ID: c.id, Name: p.Name}
	s.Assignment, s.Identity, s.ReportedAt = p.Assignment, p.Identity, now.UTC()
	if p.Contract != nil {
		s.Contract = p.Contract.Version
	}
	if letters != nil {
		s.DeadKept = letters.Kept()
	}
	s.RecentErrors = c.troubles.list()
	s.EventsPerSec = c.rates.perSecond(now)
	if a := c.account.Load(); a != nil {
		a.fill(&s, now)
	} else {
		s.Partitions = slices.Clone(p.Known)
	}
	if r != nil && r.running.Load() {
		last = r
	}
	if last != nil {
		last.fill(&s)
	}
	slices.SortFunc(s.Partitions, func(a, b resource.BridgePartition) int {
		return cmp.Or(cmp.Compare(len(a.Partition), len(b.Partition)), cmp.Compare(a.Partition, b.Partition)) // 2 before 10
	})
	for _, x := range s.Partitions {
		s.Lag += max(0, x.End-max(x.Next, 0))
		if !x.Oldest.IsZero() && (s.OldestUnsent.IsZero() || x.Oldest.Before(s.OldestUnsent)) {
			s.OldestUnsent = x.Oldest
		}
	}
	c.state(&s, r)
	return s
}

// state says what the bridge does.
func (c *carrier) state(s *Status, r *run) {
	c.mu.Lock()
	o, paused := obstacle(&c.plan), c.plan.Spec.Paused
	c.mu.Unlock()
	w, n := c.troubles.shown()
	switch {
	case paused:
		s.State = resource.BridgePaused
	case o != nil:
		s.State, s.Step, s.Why = resource.BridgeWaiting, o.step, o.words
	case n > 0:
		s.State, s.Step, s.Why = resource.BridgeWaiting, w.step, w.words
		if w.failed {
			s.State = resource.BridgeFailed
		}
		if all := len(s.Partitions); n > 1 && n < all {
			s.Why = fmt.Sprintf("%s (%d of %d partitions)", s.Why, n, all)
		}
	case r == nil || !r.running.Load():
		s.State, s.Why = resource.BridgeWaiting, "it is starting"
	default:
		s.State = resource.BridgeRunning
	}
}

// fill tells what the account knows.
func (a *account) fill(s *Status, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	positions := a.state.Partitions
	if a.window != nil {
		positions = a.durable // the others would go on from events that the window forgets with this process
	}
	for name, at := range positions {
		s.Partitions = append(s.Partitions, resource.BridgePartition{Partition: name, Next: max(at.Next, 0), Reserved: at.Reserved})
	}
	n := a.state.Counts
	s.Sent, s.Repeated, s.Filtered, s.Dropped, s.Dead = n.Sent, n.Repeated, n.Filtered, n.Dropped, n.Dead
	date := now.UTC().Format(time.DateOnly)
	for _, d := range a.state.Days {
		if d.Date == date {
			s.EventsToday, s.VolumeToday = d.Events, d.Bytes
		}
	}
}

// fill tells what the run knows.
func (r *run) fill(s *Status) {
	for _, p := range r.parts {
		i := slices.IndexFunc(s.Partitions, func(x resource.BridgePartition) bool { return x.Partition == p.name })
		if i < 0 {
			i = len(s.Partitions)
			s.Partitions = append(s.Partitions, resource.BridgePartition{Partition: p.name})
		}
		at := &s.Partitions[i]
		at.End, at.Oldest = max(p.end.Load(), 0), p.oldest()
	}
	if r.rows != nil {
		n := r.rows.counts()
		s.LateEvents, s.OpenWindows, s.ClosedWindows = n.Late, n.Open, n.Closed
	}
}
