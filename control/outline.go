package control

import (
	"context"
	"net/netip"
	"slices"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// NetworkNames is what the resolvers of a network know, and where they answer: for those who keep a DNS server of their own.
type NetworkNames struct {
	Network   string           `json:"network"`
	Names     []plan.Name      `json:"names" nullable:"false"`
	Zones     []string         `json:"zones" nullable:"false"`
	Redirect  []string         `json:"redirect,omitempty"`
	Forward   []plan.Forward   `json:"forward,omitempty"`
	Upstreams []netip.AddrPort `json:"upstreams,omitempty"`
	Clients   []netip.Prefix   `json:"clients,omitempty"`
	Resolvers []netip.AddrPort `json:"resolvers,omitempty"`
}

// NetworkNames returns what the resolvers of a network know. NotFound for a network that is not there or may not be seen.
func (c *Control) NetworkNames(ctx context.Context, p Principal, key resource.Key) (NetworkNames, error) {
	if _, err := c.Get(ctx, p, key); err != nil {
		return NetworkNames{}, err
	}
	here := placeKey{key.Tenant, key.Name}
	c.mu.RLock()
	defer c.mu.RUnlock()
	at := c.world.at(here)
	n := at.names.get(func() names { return compileNames(c.world, here) })
	out := NetworkNames{
		Network: key.Path(), Names: emptyNotNil(n.names), Zones: emptyNotNil(n.zones), Redirect: n.redirect, Forward: n.forward, Upstreams: n.upstreams, Clients: n.clients,
	}
	for _, a := range at.agents {
		out.Resolvers = append(out.Resolvers, a.Status.DNSAddresses...)
	}
	slices.SortFunc(out.Resolvers, netip.AddrPort.Compare)
	return out, nil
}

func emptyNotNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// GatewayOutline is a gateway as its processes get it, with the addresses at which agents listen for its private endpoints: for those who
// keep a proxy of their own.
type GatewayOutline struct {
	Gateway   plan.Gateway          `json:"gateway"`
	Addresses map[string]netip.Addr `json:"addresses,omitempty"` // endpoint uid to address
}

// GatewayOutline returns what the processes of a gateway are told. NotFound for a gateway that is not there or may not be seen.
func (c *Control) GatewayOutline(ctx context.Context, p Principal, key resource.Key) (GatewayOutline, error) {
	o, err := c.Get(ctx, p, key)
	if err != nil {
		return GatewayOutline{}, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	here := c.world.at(placeKey{key.Tenant, key.Scope})
	out := GatewayOutline{Gateway: c.compiler.gateway(c.world, here, o.(*resource.Gateway)), Addresses: map[string]netip.Addr{}}
	for i := range out.Gateway.Allowlists {
		out.Gateway.Allowlists[i].Parts = nil // how plans travel
	}
	for i := range out.Gateway.Routes {
		e := out.Gateway.Routes[i].Endpoint
		if e == nil {
			continue
		}
		e.Providers = nil // who they are is none of a proxy's business
		for _, have := range here.endpoints {
			if have.Metadata.UID == e.ID {
				out.Addresses[e.ID] = have.Status.Address
			}
		}
	}
	return out, nil
}
