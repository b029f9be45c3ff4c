package control

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/audit"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// raw is the database as somebody sees it who has it, without the triggers that keep the audit log.
func (r *rig) raw(statements ...string) {
	r.t.Helper()
	db, err := sql.Open("sqlite", r.dsn)
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	for _, s := range append([]string{"DROP TRIGGER IF EXISTS audit_stays_as_written", "DROP TRIGGER IF EXISTS audit_stays",
		"DROP TRIGGER IF EXISTS audit_checkpoints_stay_as_written", "DROP TRIGGER IF EXISTS audit_checkpoints_stay"}, statements...) {
		if _, err := db.Exec(s); err != nil {
			r.t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestCheckpointsOnDemand(t *testing.T) {
	r := plant(t)
	made, err := r.Checkpoint(ctx, otRead, "")
	if err != nil || made.Tenant != "ot" || made.Sequence == 0 || made.TrustDomain != "isthmus.test" || !made.At.Equal(r.clk.Now()) {
		t.Fatalf("%+v, %v", made, err)
	}
	if err := made.Verify(r.authz.CertificatePEM()); err != nil {
		t.Error(err)
	}
	list, err := r.Checkpoints(ctx, otOps, "ot", 0, 0)
	if err != nil || len(list) != 1 || list[0] != made {
		t.Errorf("%+v, %v", list, err)
	}
	r.clk.Advance(time.Hour)
	again, err := r.Checkpoint(ctx, admin, "ot")
	if err != nil || again.Place() != made.Place() || !again.At.Equal(r.clk.Now()) {
		t.Errorf("of the same record an hour later: %+v, %v", again, err)
	}
	if list, err := r.Checkpoints(ctx, otOps, "ot", made.Sequence, 0); err != nil || len(list) != 0 {
		t.Errorf("two are kept of one record: %+v, %v", list, err)
	}
	// A wish to see what is another's is answered as if there were none.
	_, err = r.Checkpoint(ctx, xxOps, "ot")
	want(t, err, fault.NotFound, "there is no Tenant ot")
	_, err = r.Checkpoints(ctx, xxOps, "ot", 0, 0)
	want(t, err, fault.NotFound, "there is no Tenant ot")
	_, err = r.Checkpoints(ctx, otOps, "", 0, 1001)
	want(t, err, fault.Invalid, "1001")
	_, err = r.Checkpoint(ctx, Principal{Name: "z", Tenant: "zz", Role: RoleOwner}, "")
	want(t, err, fault.Conflict, "nothing stands in the audit chain yet")
}

func TestWhoReadsTheAuditLog(t *testing.T) {
	r := plant(t)
	person := func(roles ...resource.TenantRole) Principal {
		return Principal{Name: "pia", Tenant: "ot", Person: "p1", Roles: roles}
	}
	for _, tc := range []struct {
		who  Principal
		may  bool
		what string
	}{
		{admin, true, ""},
		{otOps, true, ""},
		{otRead, true, ""},
		{Principal{Name: "a", Tenant: "ot", Role: RoleAuditor}, true, ""},
		{Principal{Name: "n", Tenant: "ot", Role: RoleNetworkAdmin}, false, "with the role network-admin"},
		{person(resource.RoleOwner), true, ""},
		{person(resource.RoleAuditor, resource.RoleOperator), true, ""},
		{person(resource.RoleOperator), false, "only the roles operator"},
		{person(resource.RoleApprover, resource.RoleNetworkAdmin), false, "approver"},
		{person(), false, "has no role"},
	} {
		for name, ask := range map[string]func() error{
			"read":        func() error { _, err := r.Audit(ctx, tc.who, AuditFilter{Tenant: "ot"}); return err },
			"verify":      func() error { return r.VerifyAudit(ctx, tc.who) },
			"checkpoints": func() error { _, err := r.Checkpoints(ctx, tc.who, "ot", 0, 0); return err },
			"checkpoint":  func() error { _, err := r.Checkpoint(ctx, tc.who, "ot"); return err },
		} {
			if err := ask(); (err == nil) != tc.may || !tc.may && (fault.KindOf(err) != fault.Denied || !strings.Contains(fault.Message(err), tc.what)) {
				t.Errorf("%s, %s: %v", tc.who.Who(), name, err)
			}
		}
	}
}

func TestCheckpointsAreMadeWhenChainsMoved(t *testing.T) {
	r := plant(t)
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); r.checkpointChains(running) }()
	count := func() (n int) {
		for _, tenant := range []string{"ot", "it", "xx"} {
			list, err := r.Checkpoints(ctx, admin, tenant, 0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			n += len(list)
		}
		return n
	}
	pass := func(d time.Duration) {
		for r.clk.Timers() == 0 {
			runtime.Gosched()
		}
		r.clk.Advance(d)
		for r.clk.Timers() == 0 { // again once all were made
			runtime.Gosched()
		}
	}
	if pass(10*time.Minute - 1); count() != 0 {
		t.Errorf("%d checkpoints before their time", count())
	}
	pass(1)
	first := count()
	if first == 0 {
		t.Fatal("no checkpoint")
	}
	if pass(time.Hour); count() != first {
		t.Errorf("chains stood still, and have %d checkpoints after %d", count(), first)
	}
	r.apply(otOps, network("ot/plant-8", "10.1.0.0/24"))
	stop()
	<-done
	if count() != first+1 {
		t.Errorf("%d checkpoints at the end, want %d", count(), first+1)
	}
	if err := r.VerifyAudit(ctx, admin); err != nil {
		t.Error(err)
	}
}

func TestABrokenChainGetsNoCheckpoint(t *testing.T) {
	r := plant(t)
	made, err := r.Checkpoint(ctx, otOps, "ot")
	if err != nil {
		t.Fatal(err)
	}
	r.apply(otOps, network("ot/plant-8", "10.1.0.0/24"))
	r.apply(otOps, network("ot/plant-9", "10.2.0.0/24"))
	r.raw("UPDATE audit SET why = 'nobody asked' WHERE tenant = 'ot' AND path = 'ot/plant-8'")
	_, err = r.Checkpoint(ctx, otOps, "ot")
	want(t, err, fault.Conflict, "its content does not fit its hash")
	r.keepCheckpoints(ctx)
	if list, err := r.Checkpoints(ctx, otOps, "ot", made.Sequence, 0); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	// Nor does one go on from a checkpoint that the authority did not sign.
	r.raw("UPDATE audit_checkpoints SET sequence = 1, hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 1) WHERE tenant = 'ot'")
	_, err = r.Checkpoint(ctx, otOps, "ot")
	want(t, err, fault.Conflict, "forged")
}

func TestARewrittenChainIsFound(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(r *rig, last int64)
		what audit.What
	}{
		"written anew with hashes that fit": {func(r *rig, last int64) {
			r.raw("DELETE FROM audit WHERE tenant = 'ot'", "DELETE FROM audit_heads WHERE tenant = 'ot'")
			if err := r.st.Update(ctx, func(tx *store.Tx) error {
				for range last + 3 {
					if err := tx.AppendAudit(AuditRecord{Tenant: "ot", Time: t0, Who: "nobody", Operation: "create"}); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				r.t.Fatal(err)
			}
		}, audit.Rewritten},
		"cut off with its head": {func(r *rig, last int64) {
			r.raw("DELETE FROM audit WHERE tenant = 'ot' AND sequence > 1", "UPDATE audit_heads SET sequence = 1, hash = (SELECT hash FROM audit WHERE tenant = 'ot' AND sequence = 1) WHERE tenant = 'ot'")
		}, audit.CutOff},
		"a checkpoint of another deployment": {func(r *rig, last int64) {
			other, _, err := identity.NewAuthority("isthmus.test", t0)
			if err != nil {
				r.t.Fatal(err)
			}
			recs, err := r.Audit(ctx, otOps, AuditFilter{Last: true, Limit: 1})
			if err != nil {
				r.t.Fatal(err)
			}
			c, err := audit.SignCheckpoint(other, "ot", recs[0].Place(), t0)
			if err != nil {
				r.t.Fatal(err)
			}
			r.raw("DELETE FROM audit_checkpoints")
			if err := r.st.Update(ctx, func(tx *store.Tx) error { _, err := tx.AddCheckpoint(c); return err }); err != nil {
				r.t.Fatal(err)
			}
		}, audit.Forged},
	} {
		t.Run(name, func(t *testing.T) {
			r := plant(t)
			made, err := r.Checkpoint(ctx, otOps, "ot")
			if err != nil {
				t.Fatal(err)
			}
			tc.do(r, made.Sequence)
			for _, p := range []Principal{otOps, admin} {
				var b *audit.Break
				if err := r.VerifyAudit(ctx, p); fault.KindOf(err) != fault.Conflict || !errors.As(err, &b) || b.What != tc.what || b.Tenant != "ot" {
					t.Errorf("%s: %v", p.Who(), err)
				}
			}
			if err := r.VerifyAudit(ctx, itOps); err != nil {
				t.Errorf("the other tenant's: %v", err)
			}
		})
	}
}
