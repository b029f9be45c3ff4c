package control

import (
	"database/sql"
	"encoding/json"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func TestEveryChangeIsRecorded(t *testing.T) {
	r := plant(t)
	r.apply(otOps, network("ot/plant-8", "10.1.0.0/24"))
	r.apply(otOps, network("ot/plant-8", "10.1.0.0/24", "10.2.0.0/24"))
	if err := r.Delete(ctx, otOps, key(t, resource.KindNetwork, "ot/plant-8"), "sold"); err != nil {
		t.Fatal(err)
	}
	recs, err := r.Audit(ctx, otRead, AuditFilter{Kind: "Network", Path: "ot/plant-8"})
	if err != nil || len(recs) != 3 {
		t.Fatalf("%+v, %v", recs, err)
	}
	for i, wanted := range []struct {
		op, why       string
		before, after int // ranges
	}{{"create", "test", -1, 1}, {"update", "test", 1, 2}, {"delete", "sold", 2, -1}} {
		rec := recs[i]
		if rec.Operation != wanted.op || rec.Why != wanted.why || rec.Who != "olga of ot" || rec.Tenant != "ot" || rec.Time.IsZero() {
			t.Errorf("record %d: %+v", i, rec)
		}
		for _, half := range []struct {
			text json.RawMessage
			n    int
		}{{rec.Before, wanted.before}, {rec.After, wanted.after}} {
			var v struct{ Spec resource.NetworkSpec }
			err := json.Unmarshal(half.text, &v)
			if (half.n < 0) != (half.text == nil) || half.n >= 0 && (err != nil || len(v.Spec.AddressRanges) != half.n) {
				t.Errorf("record %d: %s, want %d ranges", i, half.text, half.n)
			}
		}
	}
	for _, who := range []Principal{xxOps, {Name: "x", Tenant: "zz", Role: RoleReader}} {
		_, err := r.Audit(ctx, who, AuditFilter{Tenant: "ot"})
		want(t, err, fault.NotFound, "there is no Tenant ot")
	}
	for _, roles := range [][]resource.TenantRole{nil, {resource.RoleOperator, resource.RoleApprover, resource.RoleNetworkAdmin}} {
		_, err := r.Audit(ctx, Principal{Name: "olga", Tenant: "ot", Person: "p1", Roles: roles}, AuditFilter{})
		want(t, err, fault.Denied, "may not read the audit log")
	}
	if _, err := r.Audit(ctx, Principal{Name: "olga", Tenant: "ot", Person: "p1", Roles: []resource.TenantRole{resource.RoleAuditor}}, AuditFilter{}); err != nil {
		t.Error(err)
	}
	_, err = r.Audit(ctx, otOps, AuditFilter{Limit: 1001})
	want(t, err, fault.Invalid, "1001")
	// The deployment's own chain has what belongs to no tenant.
	r.join(JoinRelay, "relay-1")
	own, err := r.Audit(ctx, admin, AuditFilter{Kind: "Relay"})
	if err != nil || len(own) != 1 || own[0].Operation != "enrol" || own[0].Tenant != "" {
		t.Errorf("%+v, %v", own, err)
	}
}

func TestTamperingIsFound(t *testing.T) {
	r := plant(t)
	r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	for _, p := range []Principal{admin, otOps, itOps} {
		if err := r.VerifyAudit(ctx, p); err != nil {
			t.Errorf("%s: %v", p.Who(), err)
		}
	}
	db, err := sql.Open("sqlite", r.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range []string{"DROP TRIGGER audit_stays_as_written", "UPDATE audit SET why = 'nobody asked' WHERE tenant = 'ot' AND sequence = 2"} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []Principal{admin, otOps} {
		err := r.VerifyAudit(ctx, p)
		want(t, err, fault.Conflict, "chain of tenant ot is broken at record 2")
		if !strings.Contains(fault.Next(err), "record 2") {
			t.Errorf("next: %s", fault.Next(err))
		}
	}
	if err := r.VerifyAudit(ctx, itOps); err != nil {
		t.Errorf("the other tenant's chain: %v", err)
	}
}
