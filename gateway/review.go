package gateway

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/gateway/decide"
)

// cut goes before the reason for which an open connection was cut.
const cut = "cut-"

// review looks at every open connection again, and returns how many were cut.
func (g *Gateway) review() int {
	now := g.clk.Now()
	g.mu.Lock()
	g.reviewed = now.Round(0)
	g.mu.Unlock()
	var gone atomic.Int64
	g.carrier.Review(func(v carry.Visit) bool {
		if v.(*visit).keep(now) { //nolint:forcetypeassert // Arrive gives no others
			return true
		}
		gone.Add(1)
		return false
	})
	return int(gone.Load())
}

// keep tells whether the configuration in force allows the connection.
func (v *visit) keep(now time.Time) bool {
	f := v.door.front
	s := f.state.Load()
	if s == nil {
		v.refuse(cut+reasonGone, "")
		return false
	}
	listener, ok := s.at[v.door.address]
	if !ok {
		v.refuse(cut+string(decide.NoListener), "")
		return false
	}
	if !v.chosen {
		return true // Choose decides
	}
	is := s.decide.Choose(listener, v.source.Addr(), v.name, now)
	if is.Refused() {
		v.refuse(cut+string(is.Reason), ruleOf(is))
		return false
	}
	// Another rule may let it in now. Its limits are those of the rule that did when it came.
	var rule *use
	if is.Match.Rule != nil {
		rule = f.rules.get(is.Match.Rule.ID)
	}
	v.rule = v.rule.become(rule)
	v.named = v.named.become(f.names.get(cmp.Or(is.Pattern, anyName)))
	return true
}
