package httpdoor

import (
	"context"
	"net/http"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/resource"
)

type contractInput struct {
	body
	Tenant string `path:"tenant" doc:"the tenant whose contract it is" example:"ot"`
	Name   string `path:"name" doc:"the contract's name" example:"telemetry"`
}

type contractBody struct {
	Decision control.ContractDecision `json:"decision" enum:"accept,reject,withdraw" doc:"withdraw ends what holds; either side may"`
	Version  int64                    `json:"version,omitempty" doc:"of the text that is meant; needed to accept and to reject"`
	Digest   string                   `json:"digest,omitempty" doc:"of that text; needed to accept and to reject"`
	Reason   string                   `json:"reason,omitempty" doc:"what both sides read, and the audit records"`
}

func (d *door) registerContracts() {
	handleBody(d, route{id: "decide-contract", method: http.MethodPost, path: "/v1/contracts/{tenant}/{name}/decision", access: person,
		tag: "contracts", summary: "Accept, reject or withdraw a contract between two tenants"},
		func(ctx context.Context, in *contractInput, b contractBody) (*one[resource.Contract], error) {
			n, err := d.ctl.DecideContract(ctx, principal(ctx), tenantPath{in.Tenant, in.Name}.key(resource.KindContract),
				control.ContractChoice{Decision: b.Decision, Version: b.Version, Digest: b.Digest, Reason: b.Reason})
			if err != nil {
				return nil, err
			}
			return &one[resource.Contract]{ETag: etag(n), Body: *n}, nil
		})
}
