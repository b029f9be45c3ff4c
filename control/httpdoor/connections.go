package httpdoor

import (
	"context"
	"net/http"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

type connectionsInput struct {
	Tenant string `query:"tenant" doc:"only connections of this consumer" example:"it"`
	Scope  string `query:"scope" doc:"only connections of this consumer network" example:"it-cloud"`
	State  string `query:"state" enum:"Pending,Approved,Rejected,Disconnected" doc:"only connections in this state"`
}

type decisionInput struct {
	body
	Tenant  string `path:"tenant" doc:"the consumer's tenant" example:"ot"`
	Network string `path:"network" doc:"the consumer's network" example:"plant-7"`
	Name    string `path:"name" doc:"the endpoint's name" example:"hub"`
}

type decisionBody struct {
	Decision resource.Decision `json:"decision" enum:"approve,reject,remove" doc:"remove is final"`
	Reason   string            `json:"reason,omitempty" doc:"what the consumer reads, and the audit record"`
}

func (d *door) registerConnections() {
	handle(d, route{id: "list-connections", method: http.MethodGet, path: "/v1/connections", access: person, tag: "connections",
		summary: "List connections one is a side of"},
		func(ctx context.Context, in *connectionsInput) (*many[control.ConnectionView], error) {
			views, err := d.ctl.Connections(ctx, principal(ctx),
				control.Filter{Tenant: in.Tenant, Scope: in.Scope, State: resource.ConnectionState(in.State)})
			if err != nil {
				return nil, err
			}
			return &many[control.ConnectionView]{Body: items[control.ConnectionView]{emptyNotNull(views)}}, nil
		})
	handleBody(d, route{id: "decide", method: http.MethodPost, path: "/v1/endpoints/{tenant}/{network}/{name}/decision", access: person,
		tag: "connections", summary: "Approve, reject or remove the connection of an endpoint"},
		func(ctx context.Context, in *decisionInput, b decisionBody) (*struct{ Body control.ConnectionView }, error) {
			switch b.Decision {
			case resource.Approve, resource.Reject, resource.Remove:
			default:
				return nil, fault.Newf("httpdoor.decide", fault.Invalid, "%q is not a decision", b.Decision).Advise("decide approve, reject or remove")
			}
			key := networkPath{in.Tenant, in.Network, in.Name}.key(resource.KindPrivateEndpoint)
			v, err := d.ctl.Decide(ctx, principal(ctx), key, b.Decision, b.Reason)
			if err != nil {
				return nil, err
			}
			return &struct{ Body control.ConnectionView }{v}, nil
		})
}
