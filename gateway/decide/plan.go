package decide

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/gateway/allowlist"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Plan is a gateway's part of a plan, compiled.
type Plan struct {
	gateway   plan.Gateway
	rules     *allowlist.Table
	routes    []Route
	listeners map[string]*listener
}

// Route is where a name leads. It must not be changed.
type Route struct {
	plan.GatewayRoute
	Number int                   // which of the gateway's routes, from 0
	To     *resource.TargetGroup // the group meant, nil with an Endpoint or a Problem
}

// listener is one listener with the names it knows.
type listener struct {
	resource.GatewayListener
	exact    map[string]Choice
	suffixes map[string]Choice // "example.net" for "*.example.net"
	labels   int               // of the longest suffix
	nameless Choice            // without a route when there is none
}

// Choice is one name of a listener and where it leads.
type Choice struct {
	Pattern string // a name, "*." and a suffix, or "" for the route without names
	Route   *Route
}

// Compile makes decisions quick. Rules that have expired by now are left out. The gateway belongs to the plan and must not be changed.
func Compile(g plan.Gateway, now time.Time) *Plan {
	p := &Plan{gateway: g, rules: allowlist.New(g.Allowlists, now), routes: make([]Route, len(g.Routes)), listeners: map[string]*listener{}}
	for i, r := range g.Routes {
		p.routes[i] = Route{GatewayRoute: r, Number: i}
		if r.Endpoint != nil || r.Problem != "" {
			continue
		}
		at := slices.IndexFunc(g.Groups, func(t resource.TargetGroup) bool { return t.Name == r.Group })
		if at < 0 {
			p.routes[i].Problem = "its group " + r.Group + " is not there"
			continue
		}
		p.routes[i].To = &g.Groups[at]
	}
	for _, l := range g.Listeners {
		p.listeners[l.Name] = p.compile(l)
	}
	return p
}

func (p *Plan) compile(gl resource.GatewayListener) *listener {
	l := &listener{GatewayListener: gl, exact: map[string]Choice{}, suffixes: map[string]Choice{}}
	take := func(m map[string]Choice, name, pattern string, r *Route) {
		if m[name].Route == nil {
			m[name] = Choice{pattern, r}
		}
	}
	for _, bound := range []bool{true, false} { // whoever comes first stays
		for i := range p.routes {
			r := &p.routes[i]
			if bound != (len(r.Listeners) > 0) || bound && !slices.Contains(r.Listeners, l.Name) {
				continue
			}
			if len(r.Names) == 0 && l.nameless.Route == nil {
				l.nameless.Route = r
			}
			for _, n := range r.Names {
				if suffix, ok := strings.CutPrefix(n, "*."); ok {
					take(l.suffixes, suffix, n, r)
					l.labels = max(l.labels, strings.Count(suffix, ".")+1)
				} else {
					take(l.exact, n, n, r)
				}
			}
		}
	}
	return l
}

// Rules are the allowlists.
func (p *Plan) Rules() *allowlist.Table { return p.rules }

// Gateway is what was compiled. It must not be changed.
func (p *Plan) Gateway() *plan.Gateway { return &p.gateway }

// Route returns where a name leads that a client of a listener asks for, and by which of the route's names; "" is a client that sends
// none. False is nowhere. The route may have a Problem.
func (p *Plan) Route(listener, name string) (Choice, bool) {
	l := p.listeners[listener]
	if l == nil {
		return Choice{}, false
	}
	c := l.route(name)
	return c, c.Route != nil
}

func (l *listener) route(name string) Choice {
	if l.Protocol == resource.GatewayTCP || name == "" {
		return l.nameless
	}
	if c := l.exact[name]; c.Route != nil {
		return c
	}
	// Only as many labels are tried as the longest suffix has, so that a name of a hundred labels costs no more.
	at := len(name)
	for range l.labels {
		dot := strings.LastIndexByte(name[:at], '.')
		if dot < 0 {
			break
		}
		at = dot
	}
	for at < len(name) {
		suffix := name[at+1:]
		if c := l.suffixes[suffix]; c.Route != nil {
			return c
		}
		dot := strings.IndexByte(suffix, '.')
		if dot < 0 {
			break
		}
		at += 1 + dot
	}
	return l.nameless
}

// Order returns everything a listener knows in the order in which it is tried: exact names, wildcards from the longest to the shortest,
// the route without names.
func (p *Plan) Order(listener string) []Choice {
	l := p.listeners[listener]
	if l == nil {
		return nil
	}
	var out []Choice
	if l.Protocol != resource.GatewayTCP {
		out = slices.AppendSeq(out, maps.Values(l.exact))
		out = slices.AppendSeq(out, maps.Values(l.suffixes))
	}
	wild := func(c Choice) int {
		if strings.HasPrefix(c.Pattern, "*.") {
			return 1 + strings.Count(c.Pattern, ".")
		}
		return 1 << 10
	}
	slices.SortFunc(out, func(a, b Choice) int {
		return cmp.Or(wild(b)-wild(a), strings.Compare(a.Pattern, b.Pattern))
	})
	if l.nameless.Route != nil {
		out = append(out, l.nameless)
	}
	return out
}

// TargetPort is the port a route leads to for clients of a listener, for targets without one of their own.
func (r *Route) TargetPort(listener uint16) uint16 { return cmp.Or(r.Port, listener) }

// Decision is what becomes of a connection.
type Decision struct {
	Reason  Reason          // why it is refused; "" when it is let in
	Match   allowlist.Match // the rule that decided; its Rule is nil when none did
	Route   *Route          // where it leads, nil as long as that is not known
	Pattern string          // by which of the route's names; "" when it has none
	Port    uint16          // the port there
}

// Refused tells whether the connection ends here.
func (d Decision) Refused() bool { return d.Reason != "" }

// Reason is why a connection is refused, as one short word.
type Reason string

// The reasons there are.
const (
	NoListener   Reason = "no-listener"   // the gateway does not listen there
	NoRule       Reason = "no-rule"       // no rule lets the source in
	Denied       Reason = "denied"        // a rule denies it
	NoRoute      Reason = "no-route"      // nothing is behind the name
	RouteProblem Reason = "route-problem" // the route leads nowhere at the moment
	NoSuchPort   Reason = "no-such-port"  // the private endpoint has no such port
)

// Reasons lists every reason, for metrics that must be complete.
func Reasons() []Reason {
	return []Reason{NoListener, NoRule, Denied, NoRoute, RouteProblem, NoSuchPort}
}

// Arrive decides as much as can be before the ClientHello. A decision without a reason is none yet.
func (p *Plan) Arrive(listener string, source netip.Addr, now time.Time) Decision {
	l := p.listeners[listener]
	if l == nil {
		return Decision{Reason: NoListener}
	}
	match, outlook := p.rules.Outlook(source, l.Port, now)
	switch {
	case outlook == allowlist.Denied:
		return Decision{Reason: Denied, Match: match}
	case outlook == allowlist.None && !p.gateway.OpenToAll:
		return Decision{Reason: NoRule}
	}
	return Decision{}
}

// Choose decides about a connection that Arrive has let pass. The name is as a ClientHello gives it, in lower case; "" is none. At
// a listener that reads no ClientHello the name does not count.
func (p *Plan) Choose(listener string, source netip.Addr, name string, now time.Time) Decision {
	l := p.listeners[listener]
	if l == nil {
		return Decision{Reason: NoListener}
	}
	if l.Protocol == resource.GatewayTCP {
		name = ""
	}
	match, ok := p.rules.Lookup(source, l.Port, name, now)
	switch {
	case ok && match.Rule.Denies():
		return Decision{Reason: Denied, Match: match}
	case !ok && !p.gateway.OpenToAll:
		return Decision{Reason: NoRule}
	}
	to := l.route(name)
	d := Decision{Match: match, Route: to.Route, Pattern: to.Pattern}
	if d.Route == nil {
		d.Reason = NoRoute
		return d
	}
	d.Port = d.Route.TargetPort(l.Port)
	switch e := d.Route.Endpoint; {
	case d.Route.Problem != "":
		d.Reason = RouteProblem
	case e != nil && !slices.Contains(e.Ports, d.Port):
		d.Reason = NoSuchPort
	}
	return d
}

// Decide is Arrive and then Choose: what becomes of a connection in the end.
func (p *Plan) Decide(listener string, source netip.Addr, name string, now time.Time) Decision {
	if d := p.Arrive(listener, source, now); d.Refused() {
		return d
	}
	return p.Choose(listener, source, name, now)
}
