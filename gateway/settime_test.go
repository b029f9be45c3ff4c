package gateway_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway"
)

// wallClock is a clock whose time of day is set while its timers go on.
type wallClock struct {
	*clock.Fake
	by atomic.Int64
}

func (c *wallClock) Now() time.Time { return c.Fake.Now().Add(time.Duration(c.by.Load())) }

// The machine's time goes two hours ahead, at which a rule ends, and back. Who comes then is cut when the rule ends once more.
func TestARuleEndsAlsoWhenTheTimeWasSetBack(t *testing.T) {
	clk := &wallClock{Fake: clock.NewFake(time.Now().Round(0))}
	p, _ := threeWays(t)
	p.Limits.IdleSeconds = 604_800
	p.Allowlists[0].Rules[1].Expires = clk.Now().Add(time.Hour)
	w := startWith(t, gateway.Config{}, nil, clk, p)
	stays, goes := w.dial(plant, "a.example"), w.dial(office, "a.example")
	minute := func() { clk.Advance(time.Minute) }
	gone := func() bool { minute(); return w.g.Status().Gateways[0].Connections == 1 }

	clk.by.Store(int64(2 * time.Hour))
	await(t, "the first cut", gone)
	goes.wantCut(t)
	clk.by.Store(0)
	minute()
	again := w.dial(office, "a.example")
	await(t, "the second cut", gone)
	again.wantCut(t)
	stays.wantAlive(t)
	if clk.Now().Before(p.Allowlists[0].Rules[1].Expires) {
		t.Error("cut before its time")
	}
}
