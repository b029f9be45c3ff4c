package client

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// NetworkNames is what the resolvers of a network know, and where they answer.
type NetworkNames struct {
	Network   string           `json:"network"`
	Names     []plan.Name      `json:"names"`
	Zones     []string         `json:"zones"`
	Redirect  []string         `json:"redirect,omitempty"`
	Forward   []plan.Forward   `json:"forward,omitempty"`
	Upstreams []netip.AddrPort `json:"upstreams,omitempty"`
	Clients   []netip.Prefix   `json:"clients,omitempty"`
	Resolvers []netip.AddrPort `json:"resolvers,omitempty"`
}

// NetworkNames returns what the resolvers of a network know.
func (c *Client) NetworkNames(ctx context.Context, network resource.Key) (n NetworkNames, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: objectPath(network) + "/names", into: &n})
	return n, err
}

// GatewayOutline is a gateway as its processes get it.
type GatewayOutline struct {
	Gateway   plan.Gateway          `json:"gateway"`
	Addresses map[string]netip.Addr `json:"addresses,omitempty"` // of private endpoints, by uid
}

// GatewayOutline returns a gateway with its routes and rules.
func (c *Client) GatewayOutline(ctx context.Context, gateway resource.Key) (g GatewayOutline, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: objectPath(gateway) + "/outline", into: &g})
	return g, err
}
