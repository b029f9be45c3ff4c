package control

import (
	"context"

	"github.com/isthmus-io/isthmus/store"
)

// Audit returns records of one chain. A tenant reads its own; the deployment's principals read every one and the deployment's.
func (c *Control) Audit(ctx context.Context, p Principal, f AuditFilter) ([]AuditRecord, error) {
	op := "control.Audit"
	tenant, limit, err := p.chain(op, f.Tenant, f.Limit)
	if err != nil {
		return nil, err
	}
	var out []AuditRecord
	err = c.store.View(ctx, func(tx *store.Tx) (err error) {
		out, err = tx.Audit(store.AuditFilter{Tenant: tenant, Kind: f.Kind, Path: f.Path, Since: f.Since, After: f.After, Limit: limit, Last: f.Last})
		return err
	})
	return out, err
}

// VerifyAudit walks the chains of the principal's reach, and holds each against its checkpoints. Conflict names the first record that is not as
// it was written, and what was done to it.
func (c *Control) VerifyAudit(ctx context.Context, p Principal) error {
	if err := p.mayAudit("control.VerifyAudit"); err != nil {
		return err
	}
	return c.store.View(ctx, func(tx *store.Tx) error {
		chains := []string{p.Tenant}
		if p.whole() {
			var err error
			if chains, err = tx.AuditTenants(); err != nil {
				return err
			}
		}
		for _, t := range chains {
			if err := tx.VerifyAudit(ctx, t, c.authority.CertificatePEM()); err != nil {
				return err
			}
		}
		return nil
	})
}
