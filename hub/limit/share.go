package limit

import "sync/atomic"

const (
	// grudge is the furthest ahead of its fair share that somebody is held to be, in nanoseconds of that share.
	grudge = int64(2e9)
	epoch  = int64(1e9) // in which a crowd is counted
)

// patience is how far ahead of its fair share somebody may be before it counts as greedy: so little that a crowd of any size which runs
// away from one moment to the next does not come to the half that is for the others before it is known.
func (p pace) patience() int64 { return p.depth / 16 }

// crowd counts who draws on an allowance: those of this second or the one before, whichever are more.
type crowd struct {
	now    atomic.Uint64 // the second, and how many came in it
	before atomic.Uint32 // how many came in the second before
}

// visit is the last second in which somebody was counted, plus one.
type visit struct{ at atomic.Int64 }

// join counts somebody who comes, once a second, and returns how many there are.
func (w *crowd) join(v *visit, at int64) float64 {
	second := at/epoch + 1
	fresh := v.at.Load() != second && v.at.Swap(second) != second
	for {
		old := w.now.Load()
		of, count := int64(old>>32), uint32(old)
		next := old
		switch {
		case of != second:
			next = uint64(second)<<32 | 1
		case fresh:
			next++
		}
		if next != old && !w.now.CompareAndSwap(old, next) {
			continue
		}
		if of != second {
			if of != second-1 {
				count = 0
			}
			w.before.Store(count)
		}
		return float64(max(uint32(next), w.before.Load()))
	}
}

// share is how far ahead of its fair share somebody is: the time at which it will be even, in nanoseconds since the limiter was made.
type share struct{ even atomic.Int64 }

func (s *share) greedy(at, patience int64) bool { return s.even.Load()-at > patience }

// charge adds what somebody was given, in nanoseconds of its share. It is never further ahead than the grudge, so that whoever calms down
// is soon calm.
func (s *share) charge(at int64, cost float64) {
	for {
		even := s.even.Load()
		next := min(max(even, at)+int64(min(cost, float64(grudge))), at+grudge)
		if s.even.CompareAndSwap(even, next) {
			return
		}
	}
}

// member is somebody who draws on the allowances of others: a device on its hub's, a hub on its tenant's.
type member struct {
	visit visit
	share share
}
