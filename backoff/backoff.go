package backoff

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

// Backoff spaces attempts. The zero value works.
type Backoff struct {
	Base time.Duration // the longest first pause; 500 ms when 0. The floor is a quarter of it
	Max  time.Duration // the longest pause; a minute when 0

	failures int
}

// Next is how long to wait after one more failure.
func (b *Backoff) Next() time.Duration {
	base, bound := b.Base, b.Max
	if base <= 0 {
		base = 500 * time.Millisecond
	}
	if bound <= 0 {
		bound = time.Minute
	}
	if doubled := base << min(b.failures, 32); doubled>>min(b.failures, 32) == base { // has not overflown
		bound = min(bound, doubled)
	}
	b.failures++
	floor := base / 4
	return floor + rand.N(max(bound-floor, 1)) //nolint:gosec // spreading attempts needs no secrecy
}

// Wait waits for Next, or the end of the context, and tells whether the context still lives.
func (b *Backoff) Wait(ctx context.Context, clk clock.Clock) bool {
	fired, stop := clk.After(b.Next())
	defer stop()
	select {
	case <-fired:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Failures is how many pauses there were since the last Reset.
func (b *Backoff) Failures() int { return b.failures }

// Reset is for a success: the next pause is a first one.
func (b *Backoff) Reset() { b.failures = 0 }
