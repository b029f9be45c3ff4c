package store_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
)

func fillAudit(t *testing.T, st *store.Store, n int) {
	t.Helper()
	update(t, st, func(tx *store.Tx) error {
		for i := range n {
			for _, tenant := range []string{"ot", ""} {
				r := store.AuditRecord{Tenant: tenant, Time: t0, Who: "alice", Operation: "create", Kind: "Network", Path: "ot/n", Why: "because"}
				if i%2 == 0 {
					r.After = json.RawMessage(`{"b": 1,  "a": 2}`)
				}
				if err := tx.AppendAudit(r); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func TestAuditIsAChain(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		fillAudit(t, st, 600) // more than a page of verification
		view(t, st, func(tx *store.Tx) error {
			tenants, err := tx.AuditTenants()
			if err != nil || len(tenants) != 2 {
				t.Errorf("chains: %q, %v", tenants, err)
			}
			for _, tenant := range tenants {
				if err := tx.VerifyAudit(ctx, tenant, nil); err != nil {
					t.Error(err)
				}
			}
			last, err := tx.Audit(store.AuditFilter{Tenant: "ot", Limit: 2, Last: true})
			if err != nil || len(last) != 2 || last[0].Sequence != 599 || last[1].Sequence != 600 || last[1].Previous != last[0].Hash {
				t.Errorf("the last two: %+v, %v", last, err)
			}
			page, err := tx.Audit(store.AuditFilter{Tenant: "ot", Kind: "Network", Path: "ot/n", Since: t0, After: 2, Limit: 1})
			if err != nil || len(page) != 1 || page[0].Sequence != 3 || string(page[0].After) != `{"b":1,"a":2}` {
				t.Errorf("a page: %+v, %v", page, err)
			}
			for since, want := range map[int]int{1: 600, 1500: 600, 1970: 600, 2200: 0, 2262: 0, 2999: 0, 9999: 0} {
				list, err := tx.Audit(store.AuditFilter{Tenant: "ot", Since: time.Date(since, 1, 1, 0, 0, 0, 0, time.UTC).Add(1), Limit: 1000})
				if err != nil || len(list) != want {
					t.Errorf("since the year %d: %d records, %v", since, len(list), err)
				}
			}
			return nil
		})
	})
}

// tampered is what somebody with the database may do, once he has taken its triggers away.
var tampered = []struct {
	name string
	sql  []string // on the chain of 40 records of tenant ot
	what audit.What
	at   int64
	want string
}{
	{"a changed word", []string{"UPDATE audit SET who = 'mallory' WHERE tenant = 'ot' AND sequence = 17"}, audit.Changed, 17, "its content"},
	{"a moved boundary", []string{"UPDATE audit SET who = 'alic', operation = 'ecreate' WHERE tenant = 'ot' AND sequence = 17"}, audit.Changed, 17, "its content"},
	{"a changed object", []string{`UPDATE audit SET after = '{"a":1,"b":1}' WHERE tenant = 'ot' AND sequence = 17`}, audit.Changed, 17, "its content"},
	{"a hash taken from another", []string{"UPDATE audit SET hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 16) WHERE tenant = 'ot' AND sequence = 17"}, audit.Changed, 17, "its content"},
	{"a missing record", []string{"DELETE FROM audit WHERE tenant = 'ot' AND sequence = 30"}, audit.Removed, 30, "it is missing"},
	{"a missing record, the others renumbered", []string{"DELETE FROM audit WHERE tenant = 'ot' AND sequence = 30",
		"UPDATE audit SET sequence = -sequence WHERE tenant = 'ot' AND sequence > 30", "UPDATE audit SET sequence = -sequence - 1 WHERE tenant = 'ot' AND sequence < 0"}, audit.Removed, 30, "renumbered"},
	{"the first is missing", []string{"DELETE FROM audit WHERE tenant = 'ot' AND sequence = 1"}, audit.Removed, 1, "it is missing"},
	{"two reordered", []string{"UPDATE audit SET sequence = -17 WHERE tenant = 'ot' AND sequence = 17", "UPDATE audit SET sequence = 17 WHERE tenant = 'ot' AND sequence = 18",
		"UPDATE audit SET sequence = 18 WHERE tenant = 'ot' AND sequence = -17"}, audit.Reordered, 17, "record 18 stands before it"},
	{"one inserted", []string{"UPDATE audit SET sequence = -sequence WHERE tenant = 'ot' AND sequence >= 17", "UPDATE audit SET sequence = 1 - sequence WHERE tenant = 'ot' AND sequence < 0",
		"INSERT INTO audit SELECT tenant, 17, at, 'mallory', operation, kind, path, before, after, why, hash, hash FROM audit WHERE tenant = 'ot' AND sequence = 16"}, audit.Inserted, 17, "it was inserted"},
	{"one appended", []string{"INSERT INTO audit SELECT tenant, 41, at, 'mallory', operation, kind, path, before, after, why, hash, hash FROM audit WHERE tenant = 'ot' AND sequence = 40"}, audit.Changed, 41, "its content"},
	{"the end is missing", []string{"DELETE FROM audit WHERE tenant = 'ot' AND sequence > 35"}, audit.CutOff, 36, "the chain ends early"},
	{"everything is gone", []string{"DELETE FROM audit WHERE tenant = 'ot'"}, audit.CutOff, 1, "the chain ends early"},
	{"everything is gone, the head too", []string{"DELETE FROM audit WHERE tenant = 'ot'", "DELETE FROM audit_heads WHERE tenant = 'ot'"}, audit.CutOff, 1, "names record 20"},
	{"the end is missing, and the head fits", []string{"DELETE FROM audit WHERE tenant = 'ot' AND sequence > 15",
		"UPDATE audit_heads SET sequence = 15, hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 15) WHERE tenant = 'ot'"}, audit.CutOff, 16, "names record 20"},
	{"a checkpoint of another record", []string{"UPDATE audit_checkpoints SET sequence = 21 WHERE tenant = 'ot'"}, audit.Forged, 21, "does not fit"},
	{"a checkpoint that fits what is there", []string{"UPDATE audit_checkpoints SET sequence = 21, hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 21) WHERE tenant = 'ot'"}, audit.Forged, 21, "does not fit"},
	{"a checkpoint of another authority", []string{"UPDATE audit_checkpoints SET authority = 'ab' WHERE tenant = 'ot'"}, audit.Forged, 20, "another authority"},
}

// fresh is an empty database beside that of the test.
func fresh(t *testing.T, dsn string) string {
	t.Helper()
	if !strings.HasPrefix(dsn, "postgres") {
		return t.TempDir() + "/a.db"
	}
	if _, err := databasetest.Raw(t, dsn).Exec("DROP SCHEMA public CASCADE; CREATE SCHEMA public"); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// unlock takes the triggers away that keep records and checkpoints as they are.
func unlock(dsn string) []string {
	if strings.HasPrefix(dsn, "postgres") {
		return []string{"DROP TRIGGER audit_stays_as_written ON audit", "DROP TRIGGER audit_stays ON audit",
			"DROP TRIGGER audit_checkpoints_stay_as_written ON audit_checkpoints", "DROP TRIGGER audit_checkpoints_stay ON audit_checkpoints"}
	}
	return []string{"DROP TRIGGER audit_stays_as_written", "DROP TRIGGER audit_stays", "DROP TRIGGER audit_checkpoints_stay_as_written", "DROP TRIGGER audit_checkpoints_stay"}
}

func exec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestAuditTellsTampering(t *testing.T) {
	a := authority(t)
	server.Each(t, func(t *testing.T, dsn string) {
		for _, tc := range tampered {
			t.Run(tc.name, func(t *testing.T) {
				dsn := fresh(t, dsn)
				st := open(t, dsn)
				fillAudit(t, st, 40)
				checkpoint(t, st, a, "ot", 20)
				db := databasetest.Raw(t, dsn)
				if !strings.HasPrefix(tc.sql[0], "INSERT") {
					if _, err := db.Exec(tc.sql[0]); err == nil {
						t.Fatal("the database lets the audit log change")
					}
				}
				exec(t, db, append(unlock(dsn), tc.sql...)...)
				err := st.View(ctx, func(tx *store.Tx) error { return tx.VerifyAudit(ctx, "ot", a.CertificatePEM()) })
				var b *audit.Break
				if fault.KindOf(err) != fault.Conflict || !errors.As(err, &b) || b.What != tc.what || b.Sequence != tc.at || !strings.Contains(fault.Message(err), tc.want) {
					t.Errorf("got %v, want %s at %d: %q", err, tc.what, tc.at, tc.want)
				}
				if err := st.View(ctx, func(tx *store.Tx) error { return tx.VerifyAudit(ctx, "", a.CertificatePEM()) }); err != nil {
					t.Errorf("the other chain: %v", err)
				}
			})
		}
	})
}

// Whoever has the database can make every hash fit, but not the authority's signature.
func TestARewrittenChainIsFoundByItsCheckpoint(t *testing.T) {
	a := authority(t)
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		fillAudit(t, st, 40)
		checkpoint(t, st, a, "ot", 10)
		checkpoint(t, st, a, "ot", 30)
		exec(t, databasetest.Raw(t, dsn), append(unlock(dsn), "DELETE FROM audit WHERE tenant = 'ot' AND sequence > 25",
			"UPDATE audit_heads SET sequence = 25, hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 25) WHERE tenant = 'ot'")...)
		update(t, st, func(tx *store.Tx) error {
			for range 15 {
				if err := tx.AppendAudit(store.AuditRecord{Tenant: "ot", Time: t0, Who: "nobody", Operation: "update", Why: "never happened"}); err != nil {
					return err
				}
			}
			return nil
		})
		verify := func() error {
			return st.View(ctx, func(tx *store.Tx) error { return tx.VerifyAudit(ctx, "ot", a.CertificatePEM()) })
		}
		var b *audit.Break
		if err := verify(); !errors.As(err, &b) || b.What != audit.Rewritten || b.Sequence != 30 || !strings.Contains(b.Words, "after record 10") {
			t.Errorf("with the right checkpoint: %v", err)
		}
		exec(t, databasetest.Raw(t, dsn), "UPDATE audit_checkpoints SET hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 30) WHERE tenant = 'ot' AND sequence = 30")
		if err := verify(); !errors.As(err, &b) || b.What != audit.Forged || b.Sequence != 30 {
			t.Errorf("with a checkpoint made to fit: %v", err)
		}
	})
}
