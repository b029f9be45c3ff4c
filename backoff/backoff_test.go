package backoff_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/clock"
)

func TestPausesSpreadBetweenTheirBounds(t *testing.T) {
	for name, tc := range map[string]struct {
		b                backoff.Backoff
		floor, base, max time.Duration
	}{
		"zero":         {backoff.Backoff{}, 125 * time.Millisecond, 500 * time.Millisecond, time.Minute},
		"quick":        {backoff.Backoff{Base: 200 * time.Millisecond, Max: 15 * time.Second}, 50 * time.Millisecond, 200 * time.Millisecond, 15 * time.Second},
		"very long":    {backoff.Backoff{Base: 24 * time.Hour, Max: 365 * 24 * time.Hour}, 6 * time.Hour, 24 * time.Hour, 365 * 24 * time.Hour},
		"base above":   {backoff.Backoff{Base: 20 * time.Second, Max: 10 * time.Second}, 5 * time.Second, 10 * time.Second, 10 * time.Second},
		"no room left": {backoff.Backoff{Base: time.Minute, Max: time.Second}, 15 * time.Second, 15 * time.Second, 15 * time.Second},
	} {
		const rows = 200
		var low, high [80]time.Duration
		for row := range rows {
			b := tc.b
			for i := range low {
				d := b.Next()
				if row == 0 || d < low[i] {
					low[i] = d
				}
				high[i] = max(high[i], d)
			}
			if b.Failures() != len(low) {
				t.Fatalf("%s: %d failures", name, b.Failures())
			}
			b.Reset()
			if d := b.Next(); d > tc.base {
				t.Errorf("%s: %v after a reset", name, d)
			}
		}
		for i := range low {
			bound := tc.max
			if i < 10 { // every bound is reached by then
				bound = min(bound, tc.base<<i)
			}
			// With 200 draws the chance that none is in the lowest or the highest quarter is 10 to the power of -25.
			if spread := (bound - tc.floor) / 4; low[i] < tc.floor || high[i] > bound || low[i] > tc.floor+spread || high[i] < bound-spread {
				t.Errorf("%s: pause %d is %v to %v, want all of %v to %v", name, i, low[i], high[i], tc.floor, bound)
			}
		}
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := backoff.Backoff{Base: time.Hour}
		began := time.Now()
		if !b.Wait(ctx, clock.System{}) || time.Since(began) < 15*time.Second {
			t.Errorf("waited %v", time.Since(began))
		}
		cancel()
		if b.Wait(ctx, clock.System{}) {
			t.Error("a pause outlives its context")
		}
	})
}
