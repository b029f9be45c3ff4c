package transport

import (
	"math/rand/v2"
	"time"
)

const (
	backoffBase   = 200 * time.Millisecond
	backoffCap    = 15 * time.Second
	backoffStable = time.Minute // a connection that lasted this long was a success
	backoffFloor  = 50 * time.Millisecond
)

// backoff says how long to wait before the next attempt: anywhere between nothing and a bound that doubles, so that agents that lost
// the same relay do not come back in step ("full jitter"). The floor keeps an unlucky row of draws from spinning.
type backoff struct {
	failures int
	draw     func(time.Duration) time.Duration // uniform in [0, d)
}

// next returns the pause after an attempt whose connection lasted for lasted (0 when there was none).
func (b *backoff) next(lasted time.Duration) time.Duration {
	if lasted >= backoffStable {
		b.failures = 0
	}
	bound := backoffCap
	if b.failures < 16 {
		bound = min(backoffCap, backoffBase<<b.failures)
	}
	b.failures++
	return max(backoffFloor, b.draw(bound))
}

// uniform draws from [0, d).
func uniform(d time.Duration) time.Duration { return rand.N(d) } //nolint:gosec // jitter, no secret
