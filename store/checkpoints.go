package store

import (
	"context"

	"github.com/isthmus-io/isthmus/audit"
)

const checkpointColumns = "domain, tenant, sequence, hash, at, authority, signature"

// AddCheckpoint keeps a checkpoint, once: added is false when there is one of the same record already, whoever made it.
func (tx *Tx) AddCheckpoint(c audit.Checkpoint) (added bool, err error) {
	n, err := tx.sql.Exec("INSERT INTO audit_checkpoints ("+checkpointColumns+") VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, sequence) DO NOTHING",
		c.TrustDomain, c.Tenant, c.Sequence, c.Hash, nanos(c.At), c.Authority, c.Signature)
	return n > 0, err
}

// Checkpoints returns at most limit checkpoints of a tenant's chain, of records with higher sequences, in order.
func (tx *Tx) Checkpoints(tenant string, after int64, limit int) ([]audit.Checkpoint, error) {
	return tx.checkpoints("tenant = ? AND sequence > ? ORDER BY sequence LIMIT ?", tenant, after, limit)
}

// LastCheckpoint returns that of the latest record; the zero Checkpoint when there is none.
func (tx *Tx) LastCheckpoint(tenant string) (audit.Checkpoint, error) {
	list, err := tx.checkpoints("tenant = ? ORDER BY sequence DESC LIMIT 1", tenant)
	if err != nil || len(list) == 0 {
		return audit.Checkpoint{}, err
	}
	return list[0], nil
}

func (tx *Tx) checkpoints(where string, args ...any) ([]audit.Checkpoint, error) {
	var out []audit.Checkpoint
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var c audit.Checkpoint
		var at int64
		if err := scan(&c.TrustDomain, &c.Tenant, &c.Sequence, &c.Hash, &at, &c.Authority, &c.Signature); err != nil {
			return err
		}
		c.At = moment(at)
		out = append(out, c)
		return nil
	}, "SELECT "+checkpointColumns+" FROM audit_checkpoints WHERE "+where, args...)
	return out, err
}

// AuditHead returns where a tenant's chain ends; the zero place when it has no records.
func (tx *Tx) AuditHead(tenant string) (audit.Place, error) {
	var head audit.Place
	_, err := tx.sql.Row([]any{&head.Sequence, &head.Hash}, "SELECT sequence, hash FROM audit_heads WHERE tenant = ?", tenant)
	return head, err
}

// AuditMoved names the tenants whose chain does not end with its last checkpoint, "" for the deployment's own.
func (tx *Tx) AuditMoved() ([]string, error) {
	return tx.tenants(`SELECT h.tenant FROM audit_heads h
		WHERE h.sequence <> COALESCE((SELECT MAX(c.sequence) FROM audit_checkpoints c WHERE c.tenant = h.tenant), 0) ORDER BY h.tenant`)
}

// chainSource gives one chain of the database to a Walk.
type chainSource struct {
	tx     *Tx
	tenant string
}

func (s chainSource) Records(_ context.Context, after int64, limit int) ([]audit.Record, error) {
	return s.tx.Audit(AuditFilter{Tenant: s.tenant, After: after, Limit: limit})
}

func (s chainSource) Checkpoints(_ context.Context, after int64, limit int) ([]audit.Checkpoint, error) {
	return s.tx.Checkpoints(s.tenant, after, limit)
}
