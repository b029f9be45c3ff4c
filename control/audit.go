package control

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store"
)

// Audit returns records of one chain. A tenant reads its own; the deployment's principals read every one and the deployment's.
func (c *Control) Audit(ctx context.Context, p Principal, f AuditFilter) ([]AuditRecord, error) {
	op := "control.Audit"
	if f.Tenant == "" {
		f.Tenant = p.Tenant
	}
	if err := p.mayAudit(op); err != nil {
		return nil, err
	}
	if !p.sees(f.Tenant) {
		return nil, noSuch(op, tenantKey(f.Tenant))
	}
	if f.Limit < 0 || f.Limit > 1000 {
		return nil, fault.Newf(op, fault.Invalid, "%d records were asked for", f.Limit).Advise("ask for at most 1000, and for the next after the last one's sequence")
	}
	if f.Limit == 0 {
		f.Limit = 100
	}
	var out []AuditRecord
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		out, err = tx.Audit(store.AuditFilter{Tenant: f.Tenant, Kind: f.Kind, Path: f.Path, Since: f.Since, After: f.After, Limit: f.Limit, Last: f.Last})
		return err
	})
	return out, err
}

// VerifyAudit walks the chains of the principal's reach. Conflict names the first record that is broken.
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
			if err := tx.VerifyAudit(t); err != nil {
				return err
			}
		}
		return nil
	})
}
