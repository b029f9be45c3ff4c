package httpdoor

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/resource"
)

type whyNameInput struct {
	Tenant  string `path:"tenant" doc:"the tenant" example:"ot"`
	Network string `path:"name" doc:"the network that asks" example:"plant-7"`
	Name    string `query:"name" required:"true" doc:"the name in question" example:"contoso.azure-devices.net"`
	Type    string `query:"type" doc:"the type of record; A when absent" example:"AAAA"`
}

type whyGatewayInput struct {
	Tenant   string `path:"tenant" doc:"the tenant" example:"ot"`
	Network  string `path:"network" doc:"the network" example:"ot-cloud"`
	Gateway  string `path:"name" doc:"the gateway" example:"front"`
	Source   string `query:"source" required:"true" doc:"the address a client comes from" example:"203.0.113.9"`
	Name     string `query:"name" doc:"the host name it asks for (SNI); none when absent" example:"contoso.azure-devices.net"`
	Port     uint16 `query:"port" doc:"the port it dials; the gateway's first when absent" example:"8883"`
	Listener string `query:"listener" doc:"the listener, where the port does not tell" example:"mqtt"`
}

// registerWhy registers what explains decisions.
func (d *door) registerWhy() {
	handle(d, route{id: "why-name", method: http.MethodGet, path: "/v1/networks/{tenant}/{name}/why", access: person, tag: "networks",
		summary: "How a network's resolvers decide a name, and why"},
		func(ctx context.Context, in *whyNameInput) (*struct{ Body control.NameExplanation }, error) {
			x, err := d.ctl.ExplainName(ctx, principal(ctx), tenantPath{in.Tenant, in.Network}.key(resource.KindNetwork), in.Name, in.Type)
			return &struct{ Body control.NameExplanation }{x}, err
		})
	handle(d, route{id: "why-gateway", method: http.MethodGet, path: "/v1/gateways/{tenant}/{network}/{name}/why", access: person, tag: "gateways",
		summary: "What a gateway does with a connection, and why"},
		func(ctx context.Context, in *whyGatewayInput) (*struct{ Body control.GatewayExplanation }, error) {
			source, err := netip.ParseAddr(in.Source)
			if err != nil {
				return nil, fault.Newf("httpdoor.why", fault.Invalid, "source %q is no IP address", brief(in.Source)).Because(err).
					Advise("give the address the client comes from, such as 203.0.113.9 or 2001:db8::1")
			}
			x, err := d.ctl.ExplainGateway(ctx, principal(ctx), networkPath{in.Tenant, in.Network, in.Gateway}.key(resource.KindGateway),
				decide.Question{Source: source, Name: in.Name, Port: in.Port, Listener: in.Listener})
			return &struct{ Body control.GatewayExplanation }{x}, err
		})
}
