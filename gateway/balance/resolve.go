package balance

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// host is one target as it was written: a name or an address.
type host struct {
	name    string
	port    uint16 // 0: that of the route or listener
	literal bool
	failed  chan struct{} // has room for one: a target of the name could not be connected
	stop    context.CancelFunc

	found []netip.Addr // of the first lookup, until it is in force
	err   error

	addrs   []netip.Addr // guarded by the group's mu
	problem string       // why the last lookup gave nothing new; guarded by the group's mu
}

func (h *host) end() {
	if h.stop != nil {
		h.stop()
	}
}

// hurry has the name resolved soon.
func (h *host) hurry() {
	select {
	case h.failed <- struct{}{}:
	default:
	}
}

// soonest is how often failing targets can have a name resolved.
const soonest = 2 * time.Second

// lookup returns the addresses of a name in a fixed order, at most MostAddresses.
func (b *Balancer) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := b.cfg.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap().WithZone("")
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	return addrs[:min(len(addrs), MostAddresses)], nil
}

func problemOf(name string, err error) string {
	if err == nil {
		return ""
	}
	return name + " cannot be resolved: " + words(err)
}

// keepResolving follows a name. When it cannot be resolved the addresses stay those known last.
func (g *Group) keepResolving(ctx context.Context, h *host) {
	wait := g.b.cfg.ResolveEvery
	if g.unresolved(h) {
		wait = min(wait, soonest)
	}
	for {
		if !g.pause(ctx, h, wait) {
			return
		}
		bounded, cancel := context.WithTimeout(ctx, g.b.cfg.ResolveEvery)
		addrs, err := g.b.lookup(bounded, h.name)
		cancel()
		if ctx.Err() != nil {
			return
		}
		g.resolved(ctx, h, addrs, err)
		wait = g.b.cfg.ResolveEvery
		if g.unresolved(h) {
			wait = min(wait, 2*soonest)
		}
	}
}

// pause waits a little more or less than d, or until a target of the name fails, and tells whether to go on.
func (g *Group) pause(ctx context.Context, h *host, d time.Duration) bool {
	d += rand.N(d/4) - d/8 //nolint:gosec // spreading lookups needs no secrecy
	least := min(d, soonest)
	for _, part := range []struct {
		wait   time.Duration
		failed <-chan struct{}
	}{{least, nil}, {d - least, h.failed}} {
		due, stop := g.b.clk.After(part.wait)
		select {
		case <-ctx.Done():
		case <-due:
		case <-part.failed:
		}
		stop()
	}
	return ctx.Err() == nil
}

func (g *Group) unresolved(h *host) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(h.addrs) == 0
}

// resolved puts what a lookup gave into force.
func (g *Group) resolved(ctx context.Context, h *host, addrs []netip.Addr, err error) {
	g.b.mu.Lock()
	defer g.b.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() != nil {
		return // no longer wanted
	}
	was := h.problem
	h.problem = problemOf(h.name, err)
	switch {
	case err != nil:
		if was == "" {
			g.b.log.Warn("a target's name cannot be resolved", "gateway", g.id.gateway, "group", g.id.name, "host", h.name,
				"known", len(h.addrs), "error", words(err))
		}
	case len(addrs) == 0:
		h.problem = h.name + " has no addresses"
	case !slices.Equal(addrs, h.addrs):
		g.b.log.Info("a target's name leads elsewhere", "gateway", g.id.gateway, "group", g.id.name, "host", h.name, "addresses", addrs)
		h.addrs = addrs
		g.rebuild()
	}
}
