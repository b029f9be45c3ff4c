package client

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/audit"
)

// AuditFilter narrows an audit list.
type AuditFilter struct {
	Tenant string    // whose chain; the caller's own when empty
	Kind   string    // of the noun
	Path   string    // of the noun
	Since  time.Time // not before
	After  int64     // sequence, for paging
	Limit  int       // 100 when 0, at most 1000
	Last   bool      // the last Limit records instead of the first
}

// AuditRecord is one change.
type AuditRecord = audit.Record

// AuditCheckpoint is the deployment's signed word on what a chain of audit records was at a moment.
type AuditCheckpoint = audit.Checkpoint

// Audit lists audit records in the order of their sequence.
func (c *Client) Audit(ctx context.Context, f AuditFilter) ([]AuditRecord, error) {
	var reply struct {
		Items []AuditRecord `json:"items"`
	}
	q := values("tenant", f.Tenant, "kind", f.Kind, "path", f.Path)
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.After > 0 {
		q.Set("after", strconv.FormatInt(f.After, 10))
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Last {
		q.Set("last", "true")
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/audit", query: q, into: &reply})
	return reply.Items, err
}

// VerifyAudit lets the server check the chains of hashes the caller may read; the fault names the first record that does not fit.
func (c *Client) VerifyAudit(ctx context.Context) error {
	return c.do(ctx, request{method: http.MethodGet, path: "/v1/audit/verify"})
}

// AuditCheckpoints lists checkpoints of a chain, the caller's own when tenant is empty, of records with higher sequences, in order; at most 1000.
func (c *Client) AuditCheckpoints(ctx context.Context, tenant string, after int64, limit int) ([]AuditCheckpoint, error) {
	var reply struct {
		Items []AuditCheckpoint `json:"items"`
	}
	q := values("tenant", tenant)
	if after > 0 {
		q.Set("after", strconv.FormatInt(after, 10))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/audit/checkpoints", query: q, into: &reply})
	return reply.Items, err
}

// AuditCheckpoint lets the server sign where a chain ends now, the caller's own when tenant is empty. Conflict when the chain is broken, or has
// no record.
func (c *Client) AuditCheckpoint(ctx context.Context, tenant string) (AuditCheckpoint, error) {
	var reply AuditCheckpoint
	err := c.do(ctx, request{method: http.MethodPost, path: "/v1/audit/checkpoints", body: struct {
		Tenant string `json:"tenant,omitempty"`
	}{tenant}, into: &reply})
	return reply, err
}

// AuditChain gives one chain to an audit.Walk, the caller's own when tenant is empty.
func (c *Client) AuditChain(tenant string) audit.Source { return auditChain{c, tenant} }

type auditChain struct {
	*Client
	tenant string
}

func (a auditChain) Records(ctx context.Context, after int64, limit int) ([]audit.Record, error) {
	return a.Audit(ctx, AuditFilter{Tenant: a.tenant, After: after, Limit: limit})
}

func (a auditChain) Checkpoints(ctx context.Context, after int64, limit int) ([]audit.Checkpoint, error) {
	return a.AuditCheckpoints(ctx, a.tenant, after, limit)
}
