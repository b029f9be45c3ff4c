package gateway

import (
	"cmp"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/gateway/allowlist"
	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/gateway/handover"
	"github.com/isthmus-io/isthmus/gateway/limit"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Limits where a gateway's resource leaves a field at 0.
const (
	defaultConnections = 100_000
	defaultDrain       = 300 * time.Second
)

// front is one gateway of the plan. It stays the same one, with its limits' counts, through every Set which has it.
type front struct {
	g       *Gateway
	name    string
	limiter *limit.Limiter
	rules   tally                 // by id
	names   tally                 // by name of a route
	state   atomic.Pointer[state] // nil: gone from the plan
	last    atomic.Pointer[state] // the last that was not nil
	open    atomic.Int64          // connections that were let in by source
}

// state is a front's configuration, compiled. It is immutable.
type state struct {
	decide *decide.Plan
	at     map[netip.AddrPort]string // listeners by address
	ways   []way                     // by the number of their route
	most   int64                     // connections
	drain  time.Duration
	idle   time.Duration
}

// way is where a route leads.
type way struct {
	group *balance.Group
	proxy resource.ProxyVersion
	wait  time.Duration // for each target; 0: the default
}

// door is one listening address in the eyes of the gate. It is immutable. What is listened on there has one name in one configuration
// and may have another in the next, under connections that are on their way in.
type door struct {
	front   *front
	address netip.AddrPort // the zero address is every address
}

func addressOf(l *resource.GatewayListener) netip.AddrPort {
	return netip.AddrPortFrom(l.Address.Unmap(), l.Port)
}

func newFront(g *Gateway, name string) *front {
	return &front{g: g, name: name, limiter: limit.New(limit.Config{}, g.clk)}
}

// now returns the configuration in force, or the last one when the gateway is gone from the plan.
func (f *front) now() *state { return f.last.Load() }

// set compiles a configuration and puts it in force for connections that come.
func (f *front) set(p plan.Gateway, now time.Time) {
	s := &state{
		decide: decide.Compile(p, now), ways: make([]way, len(p.Routes)), at: make(map[netip.AddrPort]string, len(p.Listeners)),
		most: int64(p.Limits.Connections), drain: time.Duration(p.Limits.DrainSeconds) * time.Second,
		idle: cmp.Or(time.Duration(p.Limits.IdleSeconds)*time.Second, carry.DefaultIdleTimeout),
	}
	if s.most == 0 {
		s.most = defaultConnections
	}
	if s.drain == 0 {
		s.drain = defaultDrain
	}
	for i := range p.Listeners {
		s.at[addressOf(&p.Listeners[i])] = p.Listeners[i].Name
	}
	for i, r := range p.Routes {
		w := &s.ways[i]
		if r.Group == "" {
			continue
		}
		w.group = f.g.balancer.Group(f.name, r.Group)
		for _, group := range p.Groups {
			if group.Name == r.Group {
				w.proxy, w.wait = group.ProxyProtocol, time.Duration(group.ConnectMillis)*time.Millisecond
			}
		}
	}
	limits := map[string]resource.Limit{}
	s.decide.Rules().All(func(r *allowlist.Rule) bool {
		if r.Limit != (resource.Limit{}) {
			limits[r.ID] = r.Limit
		}
		return true
	})
	f.limiter.Set(p.Limits.Source, p.Limits.Name, func(id string) resource.Limit { return limits[id] })
	f.last.Store(s)
	f.state.Store(s)
	f.rules.prune(func() map[string]bool {
		known := map[string]bool{}
		s.decide.Rules().All(func(r *allowlist.Rule) bool {
			known[r.ID] = true
			return true
		})
		return known
	})
	f.names.prune(func() map[string]bool {
		known := map[string]bool{}
		for _, r := range p.Routes {
			for _, n := range r.Names {
				known[n] = true
			}
		}
		return known
	})
}

// pattern is the name of a route that a name leads by, for metrics; "" is none.
func (s *state) pattern(listener, name string) string {
	if name == "" {
		return ""
	}
	c, ok := s.decide.Route(listener, name)
	if !ok {
		return ""
	}
	return cmp.Or(c.Pattern, anyName)
}

// entrance is a listener in the eyes of the carrier, which calls it by its address.
func entrance(p *plan.Gateway, l *resource.GatewayListener) *carry.Entrance {
	return &carry.Entrance{
		Name: handover.Key(addressOf(l)), Port: l.Port, TLS: l.Protocol != resource.GatewayTCP, TrustProxies: l.TrustProxies,
		HelloTimeout: time.Duration(p.Limits.HelloSeconds) * time.Second, IdleTimeout: time.Duration(p.Limits.IdleSeconds) * time.Second,
		MaxHello: p.Limits.HelloBytes,
	}
}
