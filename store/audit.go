package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// AuditRecord is one change, tied by hashes to the one before it in its tenant's chain.
type AuditRecord struct {
	Tenant    string          `json:"tenant,omitempty"` // whose chain; empty for the deployment's own
	Sequence  int64           `json:"sequence"`         // from 1, without gaps
	Time      time.Time       `json:"time"`
	Who       string          `json:"who"`
	Operation string          `json:"operation"` // create, update, delete, approve, reject, remove, denied, enrol, …
	Kind      string          `json:"kind"`
	Path      string          `json:"path"`
	Before    json.RawMessage `json:"before,omitempty"`
	After     json.RawMessage `json:"after,omitempty"`
	Why       string          `json:"why,omitempty"`
	Previous  string          `json:"previous"` // hash of the record before; empty for the first
	Hash      string          `json:"hash"`     // SHA-256 of everything above, in hexadecimal
}

// digest hashes the record's fields, each with its length before it, so that no two records give the same bytes.
func (r AuditRecord) digest() string {
	h := sha256.New()
	var n [8]byte
	number := func(v int64) {
		binary.BigEndian.PutUint64(n[:], uint64(v))
		h.Write(n[:])
	}
	number(r.Sequence)
	number(nanos(r.Time))
	for _, f := range []string{r.Tenant, r.Who, r.Operation, r.Kind, r.Path, string(r.Before), string(r.After), r.Why, r.Previous} {
		number(int64(len(f)))
		h.Write([]byte(f))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// AppendAudit adds a record to its tenant's chain; Sequence, Previous and Hash are filled in.
func (tx *Tx) AppendAudit(r AuditRecord) error {
	head, _, err := tx.auditHead(r.Tenant)
	if err != nil {
		return err
	}
	r.Sequence, r.Previous = head.Sequence+1, head.Hash
	r.Hash = r.digest()
	if _, err := tx.sql.Exec("INSERT INTO audit ("+auditColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		r.Tenant, r.Sequence, nanos(r.Time), r.Who, r.Operation, r.Kind, r.Path, string(r.Before), string(r.After), r.Why, r.Previous, r.Hash); err != nil {
		return err
	}
	_, err = tx.sql.Exec("INSERT INTO audit_heads (tenant, sequence, hash) VALUES (?, ?, ?) ON CONFLICT (tenant) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
		r.Tenant, r.Sequence, r.Hash)
	return err
}

const auditColumns = "tenant, sequence, at, who, operation, kind, path, before, after, why, previous, hash"

func (tx *Tx) auditHead(tenant string) (head AuditRecord, ok bool, err error) {
	ok, err = tx.sql.Row([]any{&head.Sequence, &head.Hash}, "SELECT sequence, hash FROM audit_heads WHERE tenant = ?", tenant)
	return head, ok, err
}

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
	var out []string
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var t string
		if err := scan(&t); err != nil {
			return err
		}
		out = append(out, t)
		return nil
	}, "SELECT tenant FROM audit_heads UNION SELECT tenant FROM audit ORDER BY 1")
	return out, err
}

// VerifyAudit walks a tenant's chain. The first record that is missing, moved or changed is named in a Conflict.
func (tx *Tx) VerifyAudit(tenant string) error {
	op := "store.VerifyAudit"
	whose := "of tenant " + tenant
	if tenant == "" {
		whose = "of the deployment"
	}
	broken := func(seq int64, what string) error {
		return fault.Newf(op, fault.Conflict, "the audit chain %s is broken at record %d: %s", whose, seq, what).
			Advise("somebody changed the database past the control plane: keep a copy of it, and compare it with a backup from record %d on", seq)
	}
	head, _, err := tx.auditHead(tenant)
	if err != nil {
		return err
	}
	const page = 500
	last := AuditRecord{}
	for {
		records, err := tx.Audit(AuditFilter{Tenant: tenant, After: last.Sequence, Limit: page})
		if err != nil {
			return err
		}
		for _, r := range records {
			switch {
			case r.Sequence != last.Sequence+1:
				return broken(last.Sequence+1, "it is missing")
			case r.Previous != last.Hash:
				return broken(r.Sequence, "it does not follow the record before it")
			case r.Hash != r.digest():
				return broken(r.Sequence, "its content does not fit its hash")
			}
			last = r
		}
		if len(records) < page {
			break
		}
	}
	if last.Sequence != head.Sequence || last.Hash != head.Hash {
		return broken(last.Sequence+1, "the chain ends early")
	}
	return nil
}
