package limit

import "sync/atomic"

// bucket is a token bucket as one number: when it will be whole again, in nanoseconds since the limiter was made. A unit taken moves
// that time on by what one unit takes to come back (the generic cell rate algorithm, ITU-T I.371).
type bucket struct{ whole atomic.Int64 }

// pace is a Rate in nanoseconds.
type pace struct {
	unit  float64 // in which one unit comes back; 0 for no limit
	depth int64   // in which an empty bucket becomes whole
}

func paceOf(r Rate) pace {
	if r.PerSecond <= 0 {
		return pace{}
	}
	unit := 1e9 / r.PerSecond
	return pace{unit, int64(max(1, unit*r.burst()))}
}

// take takes cost out of a bucket of that depth, or tells how long it is until it can. What costs more than the whole bucket costs the
// whole bucket.
func (b *bucket) take(now, cost, depth int64) (wait int64) {
	cost = min(cost, depth)
	for {
		whole := b.whole.Load()
		next := max(whole, now) + cost
		if wait := next - now - depth; wait > 0 {
			return wait
		}
		if b.whole.CompareAndSwap(whole, next) {
			return 0
		}
	}
}

// back undoes a take.
func (b *bucket) back(cost int64) { b.whole.Add(-cost) }

// used is how much of the bucket is gone, in nanoseconds.
func (b *bucket) used(now int64) int64 { return max(0, b.whole.Load()-now) }

// pressed tells whether so much is gone that it matters who takes more.
func (b *bucket) pressed(now int64, p pace) bool { return p.unit > 0 && b.used(now) > p.depth/4 }
