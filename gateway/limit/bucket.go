package limit

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	second = int64(time.Second)

	burstConnections = 2 * second // of new connections: what comes in that time may come at once
	burstBytes       = second

	// A connection that has used up its bytes waits for a tenth of a second's worth, or this many, so that a slow one does not turn
	// into tiny segments and a fast one does not stutter.
	portion = 16 << 10

	shortestWait = int64(time.Millisecond)
)

// A rate is kept as one time, called full: when all of the burst will be there again, in nanoseconds since the limiter was made. What is
// taken moves it ahead by as long as that lasts at the rate, so that a rate which changes keeps the share that was used up.

// takeOne moves full ahead by one connection, or returns false when it would be more than the burst ahead.
func takeOne(full, now int64, perSecond int) (int64, bool) {
	if perSecond <= 0 {
		return full, true
	}
	next := max(full, now) + max(1, second/int64(perSecond))
	if next-now > burstConnections {
		return full, false
	}
	return next, true
}

// bucket is the bytes of one source, rule or name.
type bucket struct {
	rate atomic.Int64 // bytes a second; 0: no limit
	full atomic.Int64
}

func (b *bucket) take(want int, now int64) (n int, wait time.Duration) {
	rate := b.rate.Load()
	if rate <= 0 || want <= 0 {
		return want, 0
	}
	least := min(int64(want), max(1, min(rate/10, portion)))
	for {
		full := b.full.Load()
		from := max(full, now)
		there := muldiv(max(0, now+burstBytes-from), rate, second)
		if there < least {
			missing := muldiv(least, second, rate) + 1 - (now + burstBytes - from)
			return 0, time.Duration(max(missing, shortestWait))
		}
		n := min(int64(want), there)
		if b.full.CompareAndSwap(full, from+muldiv(n, second, rate)+1) {
			return int(n), 0
		}
	}
}

// giveBack returns bytes of the last take that did not pass.
func (b *bucket) giveBack(n int) {
	if rate := b.rate.Load(); rate > 0 && n > 0 {
		b.full.Add(-muldiv(int64(n), second, rate))
	}
}

// muldiv is a*b/c without overflow in between. None is negative; a result over 2^63 is the largest number.
func muldiv(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(c) {
		return 1<<63 - 1
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	if q > 1<<63-1 {
		return 1<<63 - 1
	}
	return int64(q)
}
