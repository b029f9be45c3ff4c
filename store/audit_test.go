package store_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

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
				if err := tx.VerifyAudit(tenant); err != nil {
					t.Error(err)
				}
			}
			last, err := tx.Audit(store.AuditFilter{Tenant: "ot", Limit: 2, Last: true})
			if err != nil || len(last) != 2 || last[0].Sequence != 599 || last[1].Sequence != 600 || last[1].Previous != last[0].Hash {
				t.Errorf("the last two: %+v, %v", last, err)
			}
			page, err := tx.Audit(store.AuditFilter{Tenant: "ot", Kind: "Network", Path: "ot/n", Since: t0, After: 2, Limit: 1})
			if err != nil || len(page) != 1 || page[0].Sequence != 3 || string(page[0].After) != `{"b": 1,  "a": 2}` {
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

func TestAuditTellsTampering(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		for name, tc := range map[string]struct {
			sql  []string
			want string
		}{
			"a changed word":       {[]string{"UPDATE audit SET who = 'mallory' WHERE tenant = 'ot' AND sequence = 17"}, "record 17: its content"},
			"a moved boundary":     {[]string{"UPDATE audit SET who = 'alic', operation = 'ecreate' WHERE tenant = 'ot' AND sequence = 17"}, "record 17: its content"},
			"a missing record":     {[]string{"DELETE FROM audit WHERE tenant = 'ot' AND sequence = 30"}, "record 30: it is missing"},
			"the first is missing": {[]string{"DELETE FROM audit WHERE tenant = 'ot' AND sequence = 1"}, "record 1: it is missing"},
			"the end is missing":   {[]string{"DELETE FROM audit WHERE tenant = 'ot' AND sequence > 35"}, "record 36: the chain ends early"},
			"everything is gone":   {[]string{"DELETE FROM audit WHERE tenant = 'ot'"}, "record 1: the chain ends early"},
			"a hash made to fit":   {[]string{"UPDATE audit SET hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 16) WHERE tenant = 'ot' AND sequence = 17"}, "record 17: its content"},
		} {
			t.Run(name, func(t *testing.T) {
				each := dsn
				if !strings.HasPrefix(dsn, "postgres") {
					each = t.TempDir() + "/a.db"
				} else {
					db := databasetest.Raw(t, dsn)
					if _, err := db.Exec("DROP SCHEMA public CASCADE; CREATE SCHEMA public"); err != nil {
						t.Fatal(err)
					}
				}
				st := open(t, each)
				fillAudit(t, st, 40)
				db := databasetest.Raw(t, each)
				if _, err := db.Exec(tc.sql[0]); err == nil {
					t.Fatal("the database lets audit records change")
				}
				unlock := "DROP TRIGGER audit_stays_as_written; DROP TRIGGER audit_stays"
				if strings.HasPrefix(each, "postgres") {
					unlock = "DROP TRIGGER audit_stays_as_written ON audit"
				}
				for _, s := range append([]string{unlock}, tc.sql...) {
					if _, err := db.Exec(s); err != nil {
						t.Fatal(err)
					}
				}
				err := st.View(ctx, func(tx *store.Tx) error { return tx.VerifyAudit("ot") })
				if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Message(err), tc.want) {
					t.Errorf("got %v, want %q", err, tc.want)
				}
				if err := st.View(ctx, func(tx *store.Tx) error { return tx.VerifyAudit("") }); err != nil {
					t.Errorf("the other chain: %v", err)
				}
			})
		}
	})
}
