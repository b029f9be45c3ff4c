package store

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/isthmus-io/isthmus/audit"
)

// AuditRecord is one change, tied by hashes to the one before it in its tenant's chain.
type AuditRecord = audit.Record

// AppendAudit adds a record to its tenant's chain; Sequence, Previous and Hash are filled in, its texts made canonical.
func (tx *Tx) AppendAudit(r AuditRecord) error {
	head, err := tx.AuditHead(r.Tenant)
	if err != nil {
		return err
	}
	if r, err = r.Follow(head); err != nil {
		return err
	}
	if _, err := tx.sql.Exec("INSERT INTO audit ("+auditColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		r.Tenant, r.Sequence, nanos(r.Time), r.Who, r.Operation, r.Kind, r.Path, string(r.Before), string(r.After), r.Why, r.Previous, r.Hash); err != nil {
		return err
	}
	_, err = tx.sql.Exec("INSERT INTO audit_heads (tenant, sequence, hash) VALUES (?, ?, ?) ON CONFLICT (tenant) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
		r.Tenant, r.Sequence, r.Hash)
	return err
}

const auditColumns = "tenant, sequence, at, who, operation, kind, path, before, after, why, previous, hash"

// AuditFilter narrows a list of records of one chain.
type AuditFilter struct {
	Tenant     string
	Kind, Path string    // of the noun; empty for every one
	Since      time.Time // not before
	After      int64     // a sequence
	Limit      int
	Last       bool // the last Limit records, still in order
}

// Audit returns records of one tenant's chain in order.
func (tx *Tx) Audit(f AuditFilter) ([]AuditRecord, error) {
	where, args := "tenant = ? AND sequence > ? AND at >= ?", []any{f.Tenant, f.After, nanos(f.Since)}
	if f.Kind != "" {
		where, args = where+" AND kind = ?", append(args, f.Kind)
	}
	if f.Path != "" {
		where, args = where+" AND path = ?", append(args, f.Path)
	}
	order := "ASC"
	if f.Last {
		order = "DESC"
	}
	var out []AuditRecord
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var r AuditRecord
		var at int64
		var before, after string
		if err := scan(&r.Tenant, &r.Sequence, &at, &r.Who, &r.Operation, &r.Kind, &r.Path, &before, &after, &r.Why, &r.Previous, &r.Hash); err != nil {
			return err
		}
		r.Time, r.Before, r.After = moment(at), raw(before), raw(after)
		out = append(out, r)
		return nil
	}, "SELECT "+auditColumns+" FROM audit WHERE "+where+" ORDER BY sequence "+order+" LIMIT ?", append(args, f.Limit)...)
	if f.Last {
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
	}
	return out, err
}

func raw(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return json.RawMessage(s)
}

// AuditTenants names every tenant that has a chain, "" for the deployment's own.
func (tx *Tx) AuditTenants() ([]string, error) {
	return tx.tenants("SELECT tenant FROM audit_heads UNION SELECT tenant FROM audit UNION SELECT tenant FROM audit_checkpoints ORDER BY 1")
}

func (tx *Tx) tenants(query string) ([]string, error) {
	var out []string
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var t string
		if err := scan(&t); err != nil {
			return err
		}
		out = append(out, t)
		return nil
	}, query)
	return out, err
}

// VerifyAudit walks a tenant's chain and its checkpoints, whose signatures must be of an authority of the PEM text; nil: they are believed. The
// first record that is not as it was written is named in a Conflict, which wraps an *audit.Break.
func (tx *Tx) VerifyAudit(ctx context.Context, tenant string, rootsPEM []byte) error {
	_, err := tx.verify(ctx, audit.NewVerifier(tenant, audit.Place{}, rootsPEM), audit.Walk{Source: chainSource{tx, tenant}})
	return err
}

// VerifyAuditAfter walks the records after a place, which it believes, and no checkpoints. It returns where the chain ends.
func (tx *Tx) VerifyAuditAfter(ctx context.Context, tenant string, place audit.Place) (audit.Place, error) {
	return tx.verify(ctx, audit.NewVerifier(tenant, place, nil), audit.Walk{Source: chainSource{tx, tenant}, After: place.Sequence, Checkpoint: math.MaxInt64})
}

func (tx *Tx) verify(ctx context.Context, v *audit.Verifier, w audit.Walk) (audit.Place, error) {
	head, err := tx.AuditHead(v.Tenant())
	if err != nil {
		return audit.Place{}, err
	}
	if err = w.Run(ctx, v.Record, v.Expect); err == nil {
		err = v.End(&head)
	}
	if b, ok := errors.AsType[*audit.Break](err); ok {
		return audit.Place{}, b.Fault("store.VerifyAudit")
	}
	return v.Last(), err
}
