package gateway

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Set makes the gateways given, and no others, the ones that are carried. When it returns, what they do not allow has been cut, and
// everything else goes on untouched. It may wait some seconds for names of targets that are new. Before Run it only takes note.
func (g *Gateway) Set(gateways []plan.Gateway) {
	g.setting.Lock()
	defer g.setting.Unlock()
	g.mu.Lock()
	g.wanted, g.given = gateways, true
	now, ctx := g.phase, g.running
	g.mu.Unlock()
	if now == serving || now == draining {
		g.apply(ctx, gateways)
	}
}

// apply is called with setting held.
func (g *Gateway) apply(ctx context.Context, gateways []plan.Gateway) {
	began := g.clk.Now()
	select {
	case <-g.settled:
		g.notify("RELOADING=1")
		defer g.notify("READY=1")
	default:
	}
	// Targets first, so that no route leads to a group that is not there. Groups that are gone are still led to by those who have them.
	groups := uses(gateways)
	if g.balancer.Waits(groups) {
		g.tighten(gateways, began)
	}
	g.balancer.Set(groups)

	g.mu.Lock()
	fronts := map[string]*front{}
	for i := range gateways {
		p := &gateways[i]
		if fronts[p.Name] != nil {
			continue
		}
		f := g.fronts[p.Name]
		if f == nil {
			f = newFront(g, p.Name)
		}
		f.set(*p, began)
		fronts[p.Name] = f
	}
	gone := g.fronts
	g.fronts = fronts
	g.mu.Unlock()
	for name, f := range gone {
		if fronts[name] != f {
			f.state.Store(nil)
		}
	}
	g.relisten(slices.Collect(maps.Values(fronts)))
	g.told(g.review())
	g.poke()
	g.log.Debug("gateways set", "gateways", len(fronts), "took", g.clk.Now().Sub(began))
	g.settle(ctx)
}

// tighten puts new rules and limits in force over the old routes: who may no longer come in must not stay for as long as names of new
// targets take.
func (g *Gateway) tighten(gateways []plan.Gateway, now time.Time) {
	next := map[string]*plan.Gateway{}
	for i := range gateways {
		next[gateways[i].Name] = &gateways[i]
	}
	g.mu.Lock()
	for name, f := range g.fronts {
		n := next[name]
		if n == nil {
			f.state.Store(nil)
			continue
		}
		p := *f.now().decide.Gateway()
		p.Allowlists, p.OpenToAll, p.Limits = n.Allowlists, n.OpenToAll, n.Limits
		f.set(p, now)
	}
	g.mu.Unlock()
	g.told(g.review())
}

// told logs how many connections a configuration has cut.
func (g *Gateway) told(cut int) {
	if cut > 0 {
		g.log.Info("connections cut, they are no longer allowed", "connections", cut)
	}
}

func (g *Gateway) poke() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// uses lists the groups with the ports that routes lead to.
func uses(gateways []plan.Gateway) []balance.Use {
	var out []balance.Use
	for i := range gateways {
		p := &gateways[i]
		for _, group := range p.Groups {
			u := balance.Use{Gateway: p.Name, Group: group}
			for _, r := range p.Routes {
				if r.Group != group.Name {
					continue
				}
				for _, l := range p.Listeners {
					if !leadsFrom(&r, &l) {
						continue
					}
					port := r.Port
					if port == 0 {
						port = l.Port
					}
					u.Ports = append(u.Ports, port)
				}
			}
			out = append(out, u)
		}
	}
	return out
}

func leadsFrom(r *plan.GatewayRoute, l *resource.GatewayListener) bool {
	return len(r.Listeners) == 0 || slices.Contains(r.Listeners, l.Name)
}

// longestSleep bounds how far keep looks ahead: the machine's time may be set meanwhile.
const longestSleep = time.Minute

// keep cuts connections whose rule's time is over, and tries listeners again that could not be opened.
func (g *Gateway) keep(ctx context.Context) {
	for {
		now := g.clk.Now()
		wait := longestSleep
		if at, ok := g.nextExpiry(); ok {
			wait = min(wait, at.Sub(now))
		}
		if at, ok := g.nextTry(); ok {
			wait = min(wait, at.Sub(now))
		}
		due, stop := g.clk.After(wait)
		select {
		case <-ctx.Done():
			stop()
			return
		case <-g.changed:
			stop()
			continue
		case <-due:
		}
		now = g.clk.Now()
		// Times of rules are those of the wall clock. When that was set back, nobody knows which of them have been looked after.
		back := now.Round(0).Before(g.lastReview())
		if at, ok := g.nextExpiry(); back || ok && !now.Before(at) {
			if cut := g.review(); cut > 0 {
				g.log.Info("connections cut, the time of their rules is over", "connections", cut)
			}
		}
		if at, ok := g.nextTry(); ok && !now.Before(at) {
			g.retry()
		}
	}
}

func (g *Gateway) lastReview() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reviewed
}

// nextExpiry is when a rule ends, or has ended, since connections were looked at last.
func (g *Gateway) nextExpiry() (next time.Time, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.fronts {
		if at, has := f.now().decide.Rules().NextExpiry(g.reviewed); has && (!ok || at.Before(next)) {
			next, ok = at, true
		}
	}
	return next, ok
}
