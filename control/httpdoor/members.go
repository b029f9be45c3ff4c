package httpdoor

import (
	"context"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/control"
)

const (
	memberPrefix = "/member/v1/"
	planPath     = memberPrefix + "plan"
	maxMember    = 256 << 10 // bytes of a member's request
	maxReport    = 8 << 20   // of one that tells of bridges: 200 with some hundred partitions each
)

type renewBody struct {
	CSR string `json:"csr" doc:"PEM; only its key is used"`
}

type servingBody struct {
	CSR   string   `json:"csr" doc:"PEM; only its key is used"`
	Hosts []string `json:"hosts" doc:"public names of services it serves" example:"[\"contoso.azure-devices.net\"]"`
}

// enrolReply is control.EnrolReply with the plan left open: its shape is the members' own affair.
type enrolReply struct {
	ID          string    `json:"id" doc:"SPIFFE id"`
	Name        string    `json:"name"`
	Certificate string    `json:"certificate" doc:"PEM"`
	Roots       string    `json:"roots" doc:"PEM of the deployment's authorities"`
	Expires     time.Time `json:"expires" doc:"when the certificate ends"`
	Plan        any       `json:"plan" doc:"the first plan, as it comes over the plan stream"`
}

type certificate struct{ Body control.CertificateReply }

func (d *door) registerMembers() {
	handleBody(d, route{id: "enrol", method: http.MethodPost, path: memberPrefix + "enrol", access: anybody, tag: "members",
		status: http.StatusCreated, summary: "Join with a token", maxBody: maxMember},
		func(ctx context.Context, _ *body, b control.EnrolRequest) (*struct{ Body enrolReply }, error) {
			r, err := d.ctl.Enrol(ctx, b)
			if err != nil {
				return nil, d.wrongSecret(requestOf(ctx), "join token", err)
			}
			return &struct{ Body enrolReply }{enrolReply{string(r.ID), r.Name, r.Certificate, r.Roots, r.Expires, r.Plan}}, nil
		})
	handleBody(d, route{id: "report", method: http.MethodPost, path: memberPrefix + "report", access: member, tag: "members",
		status: http.StatusNoContent, summary: "Say how one is", maxBody: maxReport},
		func(ctx context.Context, _ *body, b control.AgentReport) (*struct{}, error) {
			return nil, orRemoved(d.ctl.Report(ctx, memberOf(ctx).id, b))
		})
	handleBody(d, route{id: "renew", method: http.MethodPost, path: memberPrefix + "renew", access: renewer, tag: "members",
		summary: "Get a new certificate for the same identity", maxBody: maxMember},
		func(ctx context.Context, _ *body, b renewBody) (*certificate, error) {
			c, err := d.ctl.Renew(ctx, memberOf(ctx).id, b.CSR)
			if err != nil {
				return nil, orRemoved(err)
			}
			return &certificate{c}, nil
		})
	handleBody(d, route{id: "serving-certificate", method: http.MethodPost, path: memberPrefix + "serving-certificate", access: member,
		tag: "members", summary: "Get a certificate for public names one serves", maxBody: maxMember},
		func(ctx context.Context, _ *body, b servingBody) (*certificate, error) {
			c, err := d.ctl.ServingCertificate(ctx, memberOf(ctx).id, b.CSR, b.Hosts)
			if err != nil {
				return nil, orRemoved(err)
			}
			return &certificate{c}, nil
		})
}
