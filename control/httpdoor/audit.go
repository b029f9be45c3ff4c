package httpdoor

import (
	"context"
	"net/http"
	"time"

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
	Intact bool `json:"intact" doc:"every chain of records the caller may read is whole"`
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
	handle(d, route{id: "verify-audit", method: http.MethodGet, path: "/v1/audit/verify", access: person, tag: "audit",
		summary: "Check the chains of audit records"},
		func(ctx context.Context, _ *struct{}) (*struct{ Body intact }, error) {
			if err := d.ctl.VerifyAudit(ctx, principal(ctx)); err != nil {
				return nil, err
			}
			return &struct{ Body intact }{intact{true}}, nil
		})
}
