package control

import (
	"net/netip"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// compiler turns the world into plans. It has no state of its own.
type compiler struct {
	trustDomain string
	roots       string
	now         func() time.Time
}

// agent compiles what one agent must do. Slices of the plan are shared between plans and are not to be changed.
func (c compiler) agent(w *world, a *resource.Agent) plan.Plan {
	here := placeOf(a)
	p := w.at(here)
	out := plan.Plan{
		Self: plan.Self{
			ID: a.Status.SPIFFEID, Tenant: here.tenant, Network: here.network, Agent: a.Metadata.Name, Role: a.Spec.Role,
		},
		Roots:  c.roots,
		Relays: c.relays(w),
	}
	if a.Spec.Role == resource.RoleHub {
		out.Hubs = c.hubs(w, p, a)
		out.Targets = c.targets(w, p, a)
		out.Revoked = c.revokedWorkloads(w, p, a)
		return sealed(out)
	}
	out.Bridges, out.Revoked = c.bridges(w, p, a)
	if a.Spec.Role == resource.RoleBridge {
		return sealed(out)
	}
	var revoked []string
	out.Gateways, revoked = c.gateways(w, p, a)
	out.Revoked = append(out.Revoked, revoked...)
	if a.Spec.Role == resource.RoleGateway {
		return sealed(out)
	}
	n := p.names.get(func() names { return compileNames(w, here) })
	out.Names, out.Zones, out.Redirect, out.Forward, out.Upstreams, out.DNSClients = n.names, n.zones, n.redirect, n.forward, n.upstreams, n.clients
	out.Targets = c.targets(w, p, a)
	oldest := p.listener()
	for _, e := range p.endpoints {
		if e.Spec.Agent == a.Metadata.Name || e.Spec.Agent == "" && oldest == a {
			out.Endpoints = append(out.Endpoints, c.endpoint(w, p, e))
		}
	}
	for _, s := range p.services {
		if ps := c.service(w, s); len(ps.Links) > 0 {
			out.Services = append(out.Services, ps)
			for _, e := range w.users[s.Metadata.UID] {
				out.Revoked = append(out.Revoked, w.revoked[placeOf(e)]...)
			}
		}
	}
	return sealed(out)
}

func sealed(out plan.Plan) plan.Plan {
	slices.Sort(out.Revoked)
	out.Revoked = slices.Compact(out.Revoked)
	return out.Seal()
}

// relay compiles what a relay must know: whom to trust and whom not any more.
func (c compiler) relay(w *world, r *resource.Relay) plan.Plan {
	out := plan.Plan{Self: plan.Self{ID: r.Status.SPIFFEID}, Roots: c.roots}
	for _, ids := range w.revoked {
		out.Revoked = append(out.Revoked, ids...)
	}
	slices.Sort(out.Revoked)
	return out.Seal()
}

func (c compiler) relays(w *world) []plan.Relay {
	var out []plan.Relay
	for _, r := range w.relays {
		out = append(out, plan.Relay{Address: r.Spec.Address, ID: r.Status.SPIFFEID})
	}
	return out
}

// listener is the agent that listens for endpoints which name none: the oldest that is no hub.
func (p *place) listener() *resource.Agent {
	for _, a := range p.agents {
		if a.Spec.Role == resource.RoleAgent {
			return a
		}
	}
	return nil
}

// endpoint tells nothing of the provider's side until the connection is approved.
func (c compiler) endpoint(w *world, p *place, e *resource.PrivateEndpoint) plan.Endpoint {
	out := plan.Endpoint{
		ID: e.Metadata.UID, Name: e.Key().Path(), Address: e.Status.Address,
		PrefixLen: prefixLen(p.network, e.Status.Address), Open: e.Status.Connection.Open(),
	}
	s := w.services[w.targets[e.Metadata.UID]]
	if s == nil {
		out.Open = false
		return out
	}
	for _, port := range s.Ports() {
		out.Ports = append(out.Ports, port.Port)
	}
	if !out.Open {
		return out
	}
	out.Providers = w.providers(s)
	return out
}

// providers are the agents that dial a service for others.
func (w *world) providers(s *resource.Service) []plan.Peer {
	var out []plan.Peer
	for _, a := range w.at(placeOf(s)).agents {
		if a.Spec.Role == resource.RoleAgent {
			out = append(out, plan.Peer{ID: a.Status.SPIFFEID, Direct: a.Status.DirectAddress})
		}
	}
	return out
}

func prefixLen(n *resource.Network, a netip.Addr) int {
	if n != nil {
		for _, r := range n.Spec.AddressRanges {
			if r.Contains(a) {
				return r.Bits()
			}
		}
	}
	return a.BitLen()
}

// service lists approved links only. A service that Isthmus serves itself always gets PROXY headers: the hub knows its peers by
// nothing else.
func (c compiler) service(w *world, s *resource.Service) plan.Service {
	out := plan.Service{
		ID: s.Metadata.UID, Name: s.Key().Path(), Target: s.Spec.Target, Ports: s.Ports(), ProxyProtocol: s.Spec.ProxyProtocol,
	}
	if s.Spec.ServedBy != "" {
		out.ProxyProtocol, out.LinkKey = true, w.keys[s.Metadata.UID]
	}
	for _, e := range w.users[s.Metadata.UID] {
		if e.Status.Connection.Open() {
			out.Links = append(out.Links, plan.Link{
				Endpoint: e.Metadata.UID, Name: e.Key().Path(), LinkID: e.Status.Connection.LinkID,
				Consumer: identity.NetworkPrefix(c.trustDomain, e.Metadata.Tenant, e.Metadata.Network),
			})
		}
	}
	return out
}

func (c compiler) hubs(w *world, p *place, a *resource.Agent) []plan.Hub {
	var out []plan.Hub
	for _, s := range p.services {
		if s.Spec.ServedBy != a.Metadata.Name {
			continue
		}
		h := plan.Hub{
			ID: s.Metadata.UID, Name: s.Key().Path(), HostNames: servedNames(s), Public: s.Spec.PublicNetworkAccess, LinkKey: w.keys[s.Metadata.UID],
			DeviceStreams: s.Spec.DeviceStreams,
		}
		if h.Public == "" {
			h.Public = resource.PublicEnabled
		}
		switch s.Spec.Type {
		case resource.TypeDPS:
			h.Type = s.Spec.Type
		case resource.TypeEventHubs:
			h.Type, h.EventHubs = s.Spec.Type, s.Spec.EventHubs
		case resource.TypeBlob:
			h.Type, h.Containers = s.Spec.Type, s.Spec.Containers
		}
		h.KeysOff = s.Spec.KeyAccess == resource.KeysDisabled
		h.Assignments, h.Trusted = c.rightsAt(w, p, s)
		for _, e := range w.users[s.Metadata.UID] {
			if e.Status.Connection.Open() {
				h.Links = append(h.Links, e.Status.Connection.LinkID)
			}
		}
		slices.Sort(h.Links)
		out = append(out, h)
	}
	return out
}

// servedNames is what a hub answers to for a service: the public names first.
func servedNames(s *resource.Service) []string {
	names := s.HostNames()
	if s.Spec.PrivateLinkCertificate {
		for _, n := range s.PrivateNames() {
			if !slices.Contains(names, n.Private) {
				names = append(names, n.Private)
			}
		}
	}
	return names
}
