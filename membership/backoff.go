package membership

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

// backoff spaces attempts: full jitter between min and the smaller of max and base doubled with each failure, so that thousands of
// members which lost the same server do not come back at once. The floor keeps even a run of luck from spinning.
type backoff struct {
	min, base, max time.Duration
	failures       int
}

func newBackoff(base, limit time.Duration) backoff {
	return backoff{min: base / 5, base: base, max: limit}
}

func (b *backoff) next() time.Duration {
	top := b.max
	if b.failures < 30 {
		top = min(b.max, b.base<<b.failures)
	}
	b.failures++
	return b.min + rand.N(max(top-b.min, 1)) //nolint:gosec // spreading attempts needs no secrecy
}

func (b *backoff) reset() { b.failures = 0 }

// pause waits for d or the end of the context, and tells whether the context still lives.
func pause(ctx context.Context, clk clock.Clock, d time.Duration) bool {
	fired, stop := clk.After(d)
	defer stop()
	select {
	case <-fired:
		return true
	case <-ctx.Done():
		return false
	}
}
