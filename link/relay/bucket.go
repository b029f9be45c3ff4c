package relay

import "time"

// bucket allows rate events a second and burst at once. It is not safe for concurrent use: the session that reads asks owns it.
type bucket struct {
	rate, burst float64
	level       float64 // events allowed now
	last        time.Time
}

func newBucket(rate float64, burst int, now time.Time) *bucket {
	return &bucket{rate: rate, burst: float64(burst), level: float64(burst), last: now}
}

// take reports whether one more event is allowed now, and counts it. A clock that goes back gives nothing.
func (b *bucket) take(now time.Time) bool {
	if d := now.Sub(b.last); d > 0 {
		b.level = min(b.burst, b.level+d.Seconds()*b.rate)
		b.last = now
	}
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}
