package control

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// madeGroup names the group that a plan makes for a service. People's groups have no slash in their names.
const madeGroup = "service/"

// holdsFor tells whether an allowlist is for a gateway of the same network.
func holdsFor(a *resource.Allowlist, g *resource.Gateway) bool {
	return len(a.Spec.Gateways) == 0 || slices.Contains(a.Spec.Gateways, g.Metadata.Name)
}

// carriers adds those who carry a gateway.
func (w *world) carriers(g *resource.Gateway, d *dirty) {
	for _, a := range w.at(placeOf(g)).agents {
		if g.Carries(a.Metadata.Name, a.Spec.Role) {
			d.members[identity.ID(a.Status.SPIFFEID)] = struct{}{}
		}
	}
}

// gateways compiles what a process carries, the oldest gateway first, and whom of the providers' side it must not speak to any more.
func (c compiler) gateways(w *world, p *place, a *resource.Agent) (out []plan.Gateway, revoked []string) {
	for _, g := range p.gateways {
		if !g.Carries(a.Metadata.Name, a.Spec.Role) {
			continue
		}
		pg := c.gateway(w, p, g)
		out = append(out, pg)
		for _, r := range pg.Routes {
			if r.Endpoint == nil {
				continue
			}
			if s := w.services[w.targets[r.Endpoint.ID]]; s != nil {
				revoked = append(revoked, w.revoked[placeOf(s)]...)
			}
		}
	}
	return out, revoked
}

func (c compiler) gateway(w *world, p *place, g *resource.Gateway) plan.Gateway {
	out := plan.Gateway{
		ID: g.Metadata.UID, Name: g.Key().Path(), Listeners: g.Spec.Listeners, Groups: slices.Clip(g.Spec.Groups), Limits: g.Spec.Limits, OpenToAll: g.Spec.OpenToAll,
	}
	for _, r := range g.Spec.Routes {
		switch {
		case r.Service != "":
			c.routeToService(p, g, r, &out)
		case r.Endpoint != "":
			c.routeToEndpoint(w, p, g, r, &out)
		default:
			out.Routes = append(out.Routes, plan.GatewayRoute{Names: r.Names, Listeners: r.Listeners, Group: r.Group, Port: r.Port})
		}
	}
	for _, a := range p.allowlists {
		if holdsFor(a.noun, g) {
			out.Allowlists = append(out.Allowlists, plan.Allowlist{
				Name: a.noun.Key().Path(), Owner: a.noun.Spec.Owner, Rules: a.noun.Spec.Rules, Parts: a.parts,
			})
		}
	}
	return out
}

// routeToService makes a group of the service's one target. Ports are mapped as the provider's agents do it.
func (c compiler) routeToService(p *place, g *resource.Gateway, r resource.GatewayRoute, out *plan.Gateway) {
	path := siblingPath(g, r.Service)
	made := plan.GatewayRoute{Names: r.Names, Listeners: r.Listeners, Service: path}
	i := slices.IndexFunc(p.services, func(s *resource.Service) bool { return s.Metadata.Name == r.Service })
	if i < 0 {
		made.Problem = "there is no service " + path
		out.Routes = append(out.Routes, made)
		return
	}
	s := p.services[i]
	if s.Spec.ServedBy != "" && s.Spec.PublicNetworkAccess == resource.PublicDisabled {
		made.Problem = "the service " + path + " is closed to the public side, from which a gateway comes: lead to a private endpoint for it"
		out.Routes = append(out.Routes, made)
		return
	}
	made.Group = madeGroup + r.Service
	if !slices.ContainsFunc(out.Groups, func(t resource.TargetGroup) bool { return t.Name == made.Group }) {
		group := resource.TargetGroup{Name: made.Group, Targets: []string{s.Spec.Target}}
		if s.Spec.ProxyProtocol && s.Spec.ServedBy == "" { // a hub believes headers only of endpoints' flows
			group.ProxyProtocol = resource.ProxyV2
		}
		out.Groups = append(out.Groups, group)
	}
	ports := s.Ports()
	out.Routes = append(out.Routes, spread(g, r, made, func(port uint16) (uint16, string) {
		var known []uint16
		for _, sp := range ports {
			if sp.Port == port {
				return sp.TargetPort, ""
			}
			known = append(known, sp.Port)
		}
		return 0, noPort("service "+path, port, known)
	})...)
}

// routeToEndpoint leads into the tunnels of an endpoint's service, only while its connection is approved.
func (c compiler) routeToEndpoint(w *world, p *place, g *resource.Gateway, r resource.GatewayRoute, out *plan.Gateway) {
	path := siblingPath(g, r.Endpoint)
	made := plan.GatewayRoute{Names: r.Names, Listeners: r.Listeners}
	i := slices.IndexFunc(p.endpoints, func(e *resource.PrivateEndpoint) bool { return e.Metadata.Name == r.Endpoint })
	if i < 0 {
		made.Problem = "there is no private endpoint " + path
		out.Routes = append(out.Routes, made)
		return
	}
	e := p.endpoints[i]
	s := w.services[w.targets[e.Metadata.UID]]
	if made.Problem = shut(e, s); made.Problem != "" {
		out.Routes = append(out.Routes, made)
		return
	}
	made.Endpoint = &plan.GatewayEndpoint{ID: e.Metadata.UID, Name: path, Providers: w.providers(s)}
	for _, port := range s.Ports() {
		made.Endpoint.Ports = append(made.Endpoint.Ports, port.Port)
	}
	out.Routes = append(out.Routes, spread(g, r, made, func(port uint16) (uint16, string) {
		if slices.Contains(made.Endpoint.Ports, port) {
			return port, ""
		}
		return 0, noPort("private endpoint "+path, port, made.Endpoint.Ports)
	})...)
}

// shut says why nothing passes an endpoint; empty when it is open. s may be nil: its service was deleted.
func shut(e *resource.PrivateEndpoint, s *resource.Service) string {
	cn, path := e.Status.Connection, e.Key().Path()
	switch {
	case s == nil || cn.State == resource.Disconnected:
		return "connection is Disconnected, which is final: delete the private endpoint " + path + " and make a new one"
	case cn.State == resource.Pending:
		return fmt.Sprintf("connection is Pending: the owner of %s has not approved the private endpoint %s", e.Spec.Service, path)
	case !cn.Open():
		words := fmt.Sprintf("connection is %s: the owner of %s refuses the private endpoint %s", cn.State, e.Spec.Service, path)
		if cn.Description != "" {
			words += " (" + cn.Description + ")"
		}
		return words
	}
	return ""
}

func noPort(what string, port uint16, known []uint16) string {
	var list []string
	for _, k := range known {
		list = append(list, strconv.Itoa(int(k)))
	}
	return fmt.Sprintf("the %s has no port %d, only %s: set the route's port", what, port, strings.Join(list, ", "))
}

func siblingPath(g *resource.Gateway, name string) string {
	return g.Metadata.Tenant + "/" + g.Metadata.Network + "/" + name
}

// spread makes one route of a route's listeners for which the target's port comes out the same way. target maps the port that is
// asked for to the target's own, or says why there is none.
func spread(g *resource.Gateway, r resource.GatewayRoute, made plan.GatewayRoute, target func(port uint16) (uint16, string)) []plan.GatewayRoute {
	type outcome struct {
		port    uint16
		problem string
	}
	var order []outcome
	on := map[outcome][]string{}
	for _, l := range g.Spec.Listeners {
		if len(r.Listeners) > 0 && !slices.Contains(r.Listeners, l.Name) || len(r.Names) > 0 && l.Protocol == resource.GatewayTCP {
			continue
		}
		asked := l.Port
		if r.Port != 0 {
			asked = r.Port
		}
		var o outcome
		o.port, o.problem = target(asked)
		if o.port == l.Port {
			o.port = 0 // the listener's own
		}
		if on[o] == nil {
			order = append(order, o)
		}
		on[o] = append(on[o], l.Name)
	}
	var out []plan.GatewayRoute
	for _, o := range order {
		one := made
		one.Port, one.Problem = o.port, o.problem
		if o.problem != "" {
			one.Group, one.Endpoint = "", nil
		}
		if len(order) > 1 {
			one.Listeners = on[o]
		}
		out = append(out, one)
	}
	return out
}

// gatewayStatus is what can be said of a gateway now.
func (c compiler) gatewayStatus(w *world, g *resource.Gateway, now time.Time) resource.GatewayStatus {
	p := w.at(placeOf(g))
	var out resource.GatewayStatus
	for _, a := range p.agents {
		if g.Carries(a.Metadata.Name, a.Spec.Role) {
			out.Agents = append(out.Agents, a.Metadata.Name)
		}
	}
	slices.Sort(out.Agents)
	if len(out.Agents) == 0 {
		out.Problems = append(out.Problems, nobodyCarries(g))
	}
	pg := c.gateway(w, p, g)
	for _, a := range pg.Allowlists {
		out.Rules += len(a.Rules) - expired(a.Rules, now)
	}
	for _, r := range pg.Routes {
		if r.Problem != "" {
			out.Problems = append(out.Problems, routeWords(r.Names, r.Listeners)+": "+r.Problem)
		}
	}
	return out
}

func nobodyCarries(g *resource.Gateway) string {
	if len(g.Spec.Agents) == 0 {
		return fmt.Sprintf("no process carries it: none has joined the network %s as a gateway yet", g.Metadata.Network)
	}
	return fmt.Sprintf("no process carries it: none of %s has joined the network %s", strings.Join(g.Spec.Agents, ", "), g.Metadata.Network)
}

// routeWords names a route for people.
func routeWords(names, listeners []string) string {
	words := "the route for " + strings.Join(names, ", ")
	if len(names) == 0 {
		words = "the route for every other name"
	}
	if len(listeners) > 0 {
		words += " on " + strings.Join(listeners, ", ")
	}
	return words
}

func expired(rules []resource.AllowRule, now time.Time) int {
	n := 0
	for i := range rules {
		if end := rules[i].Expires; !end.IsZero() && !end.After(now) {
			n++
		}
	}
	return n
}
