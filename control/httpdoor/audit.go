package httpdoor

import (
	"context"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/control"
)

type auditInput struct {
	Tenant string    `query:"tenant" doc:"whose records; one's own when absent, which for the deployment are its own" example:"ot"`
	Kind   string    `query:"kind" doc:"only records about this kind" example:"PrivateEndpoint"`
	Path   string    `query:"path" doc:"only records about this object" example:"ot/plant-7/hub"`
	Since  time.Time `query:"since" doc:"not before this time"`
	After  int64     `query:"after" minimum:"0" doc:"only records with a higher sequence; for paging"`
	Limit  int       `query:"limit" minimum:"1" maximum:"1000" doc:"how many; 100 when absent"`
	Last   bool      `query:"last" doc:"the last ones instead of the first"`
}

type auditRecord struct {
	control.AuditRecord
	Before any `json:"before,omitempty" doc:"the object before the change"`
	After  any `json:"after,omitempty" doc:"the object after the change"`
}

type intact struct {
	Intact bool `json:"intact" doc:"every chain of records the caller may read is whole, and as its checkpoints say"`
}

type checkpointsInput struct {
	Tenant string `query:"tenant" doc:"of whose records; one's own when absent" example:"ot"`
	After  int64  `query:"after" minimum:"0" doc:"only checkpoints of records with a higher sequence; for paging"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many; 100 when absent"`
}

type checkpointBody struct {
	Tenant string `json:"tenant,omitempty" doc:"of whose records; one's own when absent" example:"ot"`
}

// Chains is what the door needs of package control for audit records.
type Chains interface {
	Audit(ctx context.Context, p control.Principal, f control.AuditFilter) ([]control.AuditRecord, error)
	VerifyAudit(ctx context.Context, p control.Principal) error
	Checkpoints(ctx context.Context, p control.Principal, tenant string, after int64, limit int) ([]audit.Checkpoint, error)
	Checkpoint(ctx context.Context, p control.Principal, tenant string) (audit.Checkpoint, error)
}

func (d *door) registerAudit() {
	handle(d, route{id: "list-audit", method: http.MethodGet, path: "/v1/audit", access: person, tag: "audit", summary: "Read audit records"},
		func(ctx context.Context, in *auditInput) (*many[auditRecord], error) {
			records, err := d.ctl.Audit(ctx, principal(ctx), control.AuditFilter{
				Tenant: in.Tenant, Kind: in.Kind, Path: in.Path, Since: in.Since, After: in.After, Limit: in.Limit, Last: in.Last})
			if err != nil {
				return nil, err
			}
			out := &many[auditRecord]{Body: items[auditRecord]{make([]auditRecord, len(records))}}
			for i, r := range records {
				out.Body.Items[i].AuditRecord = r
				if len(r.Before) > 0 {
					out.Body.Items[i].Before = r.Before
				}
				if len(r.After) > 0 {
					out.Body.Items[i].After = r.After
				}
			}
			return out, nil
		})
	handle(d, route{id: "list-audit-checkpoints", method: http.MethodGet, path: "/v1/audit/checkpoints", access: person, tag: "audit",
		summary: "List signed checkpoints of audit records"},
		func(ctx context.Context, in *checkpointsInput) (*many[audit.Checkpoint], error) {
			list, err := d.ctl.Checkpoints(ctx, principal(ctx), in.Tenant, in.After, in.Limit)
			if list == nil {
				list = []audit.Checkpoint{}
			}
			return &many[audit.Checkpoint]{Body: items[audit.Checkpoint]{list}}, err
		})
	handleBody(d, route{id: "make-audit-checkpoint", method: http.MethodPost, path: "/v1/audit/checkpoints", access: person, tag: "audit",
		summary: "Sign where the audit records end now"},
		func(ctx context.Context, _ *body, b checkpointBody) (*struct{ Body audit.Checkpoint }, error) {
			c, err := d.ctl.Checkpoint(ctx, principal(ctx), b.Tenant)
			return &struct{ Body audit.Checkpoint }{c}, err
		})
	handle(d, route{id: "verify-audit", method: http.MethodGet, path: "/v1/audit/verify", access: person, tag: "audit",
		summary: "Check the chains of audit records and their checkpoints"},
		func(ctx context.Context, _ *struct{}) (*struct{ Body intact }, error) {
			if err := d.ctl.VerifyAudit(ctx, principal(ctx)); err != nil {
				return nil, err
			}
			return &struct{ Body intact }{intact{true}}, nil
		})
}
