package balance

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

// Group is one group of targets.
type Group struct {
	b    *Balancer
	id   id
	show atomic.Pointer[tables]
	set  atomic.Pointer[settings]

	mu      sync.Mutex // guards the fields below
	hosts   []*host
	ports   []uint16
	targets map[netip.AddrPort]*target
	tooMany bool
}

// settings are those of the group's resource that targets go by, with defaults filled in.
type settings struct {
	bySource   bool
	check      resource.HealthCheck
	serverName string
	every      time.Duration
	rise, fall int
	timeout    time.Duration // of a check
	proxy      resource.ProxyVersion
}

func settingsOf(g *resource.TargetGroup) *settings {
	s := &settings{
		bySource: g.Balance == resource.BySource, check: cmp.Or(g.Health.Check, resource.CheckTCP), serverName: g.Health.ServerName,
		every: time.Duration(cmp.Or(g.Health.EverySeconds, 5)) * time.Second,
		rise:  cmp.Or(g.Health.Rise, 2), fall: cmp.Or(g.Health.Fall, 3),
		timeout: time.Duration(cmp.Or(g.ConnectMillis, 5000)) * time.Millisecond, proxy: g.ProxyProtocol,
	}
	s.timeout = min(s.timeout, max(s.every, time.Second))
	return s
}

// tables are what Next reads: immutable but for the state of targets.
type tables struct {
	bySource bool
	fixed    *table            // when every target names its port
	byPort   map[uint16]*table // otherwise
}

// table is the targets for one port.
type table struct {
	turn    atomic.Uint32 // where the next search begins
	targets []*target
}

func (t *tables) of(port uint16) *table {
	if t.byPort != nil {
		return t.byPort[port]
	}
	return t.fixed
}

// change is a configuration of a group on its way into force.
type change struct {
	group   *Group
	set     *settings
	ports   []uint16
	hosts   []*host // all, in order
	unknown []*host // those whose name was never resolved
}

// prepare reads what a configuration wants. Unreadable targets are left out: they were refused when they were written.
func (g *Group) prepare(u *Use) *change {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &change{group: g, set: settingsOf(&u.Group), ports: slices.Compact(slices.Sorted(slices.Values(u.Ports)))}
	for _, text := range u.Group.Targets {
		name, port, err := resource.ParseTarget(text)
		if err != nil {
			continue
		}
		if i := slices.IndexFunc(g.hosts, func(h *host) bool { return h.name == name && h.port == port }); i >= 0 {
			c.hosts = append(c.hosts, g.hosts[i])
			continue
		}
		h := &host{name: name, port: port, failed: make(chan struct{}, 1)}
		if a, err := netip.ParseAddr(name); err == nil {
			h.literal, h.addrs = true, []netip.Addr{a.Unmap()}
		} else {
			c.unknown = append(c.unknown, h)
		}
		c.hosts = append(c.hosts, h)
	}
	return c
}

// apply puts a change into force. It is called with the balancer's mu held.
func (g *Group) apply(c *change) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.hosts {
		if !slices.Contains(c.hosts, h) {
			h.end()
		}
	}
	for _, h := range c.unknown {
		h.addrs, h.problem = h.found, problemOf(h.name, h.err)
		h.stop = g.b.start(func(ctx context.Context) { g.keepResolving(ctx, h) })
	}
	old := g.set.Swap(c.set)
	g.hosts, g.ports = c.hosts, c.ports
	g.rebuild()
	if old != nil && *old != *c.set {
		for _, t := range g.targets {
			t.resettle(c.set)
		}
	}
}

// begin starts what Run owns. It is called with the balancer's mu held.
func (g *Group) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.hosts {
		if !h.literal {
			h.stop = g.b.start(func(ctx context.Context) { g.keepResolving(ctx, h) })
		}
	}
	for _, t := range g.targets {
		t.stop = g.b.start(t.watch)
	}
}

// end stops what Run owns.
func (g *Group) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.hosts {
		h.end()
	}
	for _, t := range g.targets {
		t.stop()
	}
}

// rebuild makes targets and tables of the hosts' addresses. It is called with mu, and the balancer's, held.
func (g *Group) rebuild() {
	next := &tables{bySource: g.set.Load().bySource, fixed: &table{}}
	if slices.ContainsFunc(g.hosts, func(h *host) bool { return h.port == 0 }) {
		next.byPort = make(map[uint16]*table, len(g.ports))
		for _, p := range g.ports {
			next.byPort[p] = &table{}
		}
	}
	kept := make(map[netip.AddrPort]*target, len(g.targets))
	g.tooMany = false
	for _, h := range g.hosts {
		for _, a := range h.addrs {
			if h.port != 0 {
				t := g.keep(kept, h, netip.AddrPortFrom(a, h.port))
				next.fixed.add(t)
				for _, of := range next.byPort {
					of.add(t)
				}
				continue
			}
			for _, p := range g.ports {
				next.byPort[p].add(g.keep(kept, h, netip.AddrPortFrom(a, p)))
			}
		}
	}
	for at, t := range g.targets {
		if kept[at] != t {
			t.stop()
		}
	}
	g.targets = kept
	g.show.Store(next)
}

// keep returns the group's target of an address, made if need be; nil when there are too many.
func (g *Group) keep(kept map[netip.AddrPort]*target, h *host, at netip.AddrPort) *target {
	if t := kept[at]; t != nil {
		return t
	}
	if len(kept) == MostTargets {
		if !g.tooMany {
			g.b.log.Warn("a group has more targets than are used", "gateway", g.id.gateway, "group", g.id.name, "used", MostTargets)
		}
		g.tooMany = true
		return nil
	}
	t := g.targets[at]
	if t == nil {
		t = newTarget(g, h, at)
		t.stop = g.b.start(t.watch)
	}
	t.host.Store(h)
	kept[at] = t
	return t
}

func (t *table) add(n *target) {
	if n != nil && !slices.Contains(t.targets, n) {
		t.targets = append(t.targets, n)
	}
}
