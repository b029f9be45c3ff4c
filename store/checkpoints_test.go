package store_test

import (
	"slices"
	"testing"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/store"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
)

func authority(t *testing.T) *identity.Authority {
	t.Helper()
	a, _, err := identity.NewAuthority("isthmus.test", t0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// checkpoint signs one record of a chain as it is now.
func checkpoint(t *testing.T, st *store.Store, a *identity.Authority, tenant string, sequence int64) audit.Checkpoint {
	t.Helper()
	var c audit.Checkpoint
	update(t, st, func(tx *store.Tx) error {
		r, err := tx.Audit(store.AuditFilter{Tenant: tenant, After: sequence - 1, Limit: 1})
		if err != nil {
			return err
		}
		if c, err = audit.SignCheckpoint(a, tenant, r[0].Place(), t0.Add(1)); err != nil {
			return err
		}
		added, err := tx.AddCheckpoint(c)
		if !added {
			t.Error("it was there already")
		}
		return err
	})
	return c
}

func TestCheckpointsAreKept(t *testing.T) {
	a := authority(t)
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		fillAudit(t, st, 5)
		first, last := checkpoint(t, st, a, "ot", 2), checkpoint(t, st, a, "ot", 5)
		update(t, st, func(tx *store.Tx) error {
			again := last
			again.Signature = "another"
			if added, err := tx.AddCheckpoint(again); added || err != nil {
				t.Errorf("a second one of the same record: %t, %v", added, err)
			}
			return nil
		})
		view(t, st, func(tx *store.Tx) error {
			all, err := tx.Checkpoints("ot", 0, 10)
			if err != nil || !slices.Equal(all, []audit.Checkpoint{first, last}) {
				t.Errorf("%+v, %v", all, err)
			}
			if page, err := tx.Checkpoints("ot", 2, 1); err != nil || !slices.Equal(page, []audit.Checkpoint{last}) {
				t.Errorf("a page: %+v, %v", page, err)
			}
			if c, err := tx.LastCheckpoint("ot"); err != nil || c != last {
				t.Errorf("the last: %+v, %v", c, err)
			}
			if c, err := tx.LastCheckpoint(""); err != nil || c != (audit.Checkpoint{}) {
				t.Errorf("none: %+v, %v", c, err)
			}
			if moved, err := tx.AuditMoved(); err != nil || !slices.Equal(moved, []string{""}) {
				t.Errorf("moved: %q, %v", moved, err)
			}
			return nil
		})
		fillAudit(t, st, 1)
		view(t, st, func(tx *store.Tx) error {
			if moved, err := tx.AuditMoved(); err != nil || !slices.Equal(moved, []string{"", "ot"}) {
				t.Errorf("moved: %q, %v", moved, err)
			}
			if end, err := tx.VerifyAuditAfter(ctx, "ot", last.Place()); err != nil || end.Sequence != 6 {
				t.Errorf("after the last: %+v, %v", end, err)
			}
			if _, err := tx.VerifyAuditAfter(ctx, "ot", audit.Place{Sequence: 9, Hash: "x"}); err == nil {
				t.Error("a chain shorter than what is believed of it is taken")
			}
			return nil
		})
		db := databasetest.Raw(t, dsn)
		for _, s := range []string{"UPDATE audit_checkpoints SET hash = 'x'", "DELETE FROM audit_checkpoints"} {
			if _, err := db.Exec(s); err == nil {
				t.Errorf("%s is taken", s)
			}
		}
	})
}
