package httpdoor

import (
	"context"
	"net/http"

	"github.com/isthmus-io/isthmus/control"
)

type sshCertificate struct{ Body control.SSHCertificate }

func (d *door) registerPasses() {
	handleBody(d, route{id: "create-pass", method: http.MethodPost, path: "/v1/access/passes", access: person, tag: "access",
		status: http.StatusCreated, summary: "Get a certificate for using one's grants"},
		func(ctx context.Context, _ *body, b control.PassRequest) (*struct{ Body control.Pass }, error) {
			p, err := d.ctl.Pass(ctx, principal(ctx), b)
			if err != nil {
				return nil, err
			}
			return &struct{ Body control.Pass }{p}, nil
		})
	handleBody(d, route{id: "create-ssh-certificate", method: http.MethodPost, path: "/v1/access/ssh-certificates", access: person, tag: "access",
		status: http.StatusCreated, summary: "Have one's SSH key certified for as long as a grant lasts"},
		func(ctx context.Context, _ *body, b control.SSHCertificateRequest) (*sshCertificate, error) {
			c, err := d.ctl.SSHCertificate(ctx, principal(ctx), b)
			if err != nil {
				return nil, err
			}
			return &sshCertificate{c}, nil
		})
	handle(d, route{id: "get-ssh-authority", method: http.MethodGet, path: "/v1/access/authority", access: person, tag: "access",
		summary: "Read the public keys of a tenant's SSH authority"},
		func(ctx context.Context, in *struct {
			Tenant string `query:"tenant" doc:"one's own when absent" example:"ot"`
		}) (*struct{ Body control.SSHAuthority }, error) {
			a, err := d.ctl.SSHAuthority(ctx, principal(ctx), in.Tenant)
			if err != nil {
				return nil, err
			}
			return &struct{ Body control.SSHAuthority }{a}, nil
		})
	handle(d, route{id: "explain-access", method: http.MethodGet, path: "/v1/access/why", access: person, tag: "access",
		summary: "Explain why somebody is let into a target, or is not"},
		func(ctx context.Context, in *struct {
			Target string `query:"target" doc:"not needed with a grant" example:"ot/plant-7/press-4-ssh"`
			Person string `query:"person" doc:"name, or TENANT/NAME; oneself when absent" example:"alice@example.net"`
			Grant  string `query:"grant" doc:"id; the one nearest to letting in when absent"`
		}) (*struct{ Body control.AccessExplanation }, error) {
			x, err := d.ctl.ExplainAccess(ctx, principal(ctx), control.AccessQuestion{Target: in.Target, Person: in.Person, Grant: in.Grant})
			if err != nil {
				return nil, err
			}
			return &struct{ Body control.AccessExplanation }{x}, nil
		})
}
