package httpdoor

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/resource"
)

// gatewayOutline has the gateway without a schema of its own: it is as plans have it, and plans have no schema.
type gatewayOutline struct {
	Gateway   any                   `json:"gateway" doc:"routes, groups, limits and allowlists as the gateway's processes get them"`
	Addresses map[string]netip.Addr `json:"addresses,omitempty" doc:"addresses of private endpoints it leads to, by uid"`
}

// registerOutlines registers what another program needs to stand in for a resolver or a gateway.
func (d *door) registerOutlines() {
	handle(d, route{id: "network-names", method: http.MethodGet, path: "/v1/networks/{tenant}/{name}/names", access: person, tag: "networks",
		summary: "What the resolvers of a network know, and where they answer"},
		func(ctx context.Context, in *tenantPath) (*struct{ Body control.NetworkNames }, error) {
			n, err := d.ctl.NetworkNames(ctx, principal(ctx), in.key(resource.KindNetwork))
			return &struct{ Body control.NetworkNames }{n}, err
		})
	handle(d, route{id: "gateway-outline", method: http.MethodGet, path: "/v1/gateways/{tenant}/{network}/{name}/outline", access: person, tag: "gateways",
		summary: "A gateway with its routes and rules as its processes get them"},
		func(ctx context.Context, in *networkPath) (*struct{ Body gatewayOutline }, error) {
			g, err := d.ctl.GatewayOutline(ctx, principal(ctx), in.key(resource.KindGateway))
			return &struct{ Body gatewayOutline }{gatewayOutline{g.Gateway, g.Addresses}}, err
		})
}
