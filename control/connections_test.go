package control

import (
	"flag"
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func TestWhoDecides(t *testing.T) {
	r := plant(t)
	r.apply(itOps, endpointTo("it/it-cloud/hub", "ot/ot-cloud/contoso"))
	k := key(t, resource.KindPrivateEndpoint, "it/it-cloud/hub")
	for _, tc := range []struct {
		who   Principal
		kind  fault.Kind
		words string
	}{
		{itOps, fault.Denied, "the tenant that owns the service decides"},
		{xxOps, fault.NotFound, "there is no PrivateEndpoint it/it-cloud/hub"},
		{otRead, fault.Denied, "reader"},
		{Principal{Name: "x", Role: RoleReader}, fault.Denied, "reader"},
		{Principal{Name: "x", Tenant: "ot", Role: RoleAdmin}, fault.Denied, "may not change"}, // no such token is made
		{Principal{}, fault.Denied, "may not change"},
	} {
		_, err := r.Decide(ctx, tc.who, k, resource.Approve, "please")
		want(t, err, tc.kind, tc.words)
	}
	if c := r.endpoint("it/it-cloud/hub").Status.Connection; c.State != resource.Pending {
		t.Fatalf("somebody decided: %+v", c)
	}
	denied, err := r.Audit(ctx, itOps, AuditFilter{Last: true, Limit: 1})
	if err != nil || len(denied) != 1 || denied[0].Operation != "denied" || denied[0].Who != "ivan of it" || denied[0].Why != "please" {
		t.Errorf("the denied decision left %+v, %v", denied, err)
	}
	for _, p := range []Principal{otOps, admin} {
		v, err := r.Decide(ctx, p, k, map[string]resource.Decision{"ot": resource.Approve, "": resource.Reject}[p.Tenant], "for "+p.Name)
		if err != nil || v.Connection.DecidedBy != p.Who() || v.Connection.Description != "for "+p.Name || !v.Connection.DecidedAt.Equal(r.clk.Now()) {
			t.Errorf("%s: %+v, %v", p.Who(), v, err)
		}
		for _, tenant := range []string{"ot", "it"} {
			rec, err := r.Audit(ctx, admin, AuditFilter{Tenant: tenant, Last: true, Limit: 1, Kind: "PrivateEndpoint", Path: "it/it-cloud/hub"})
			if err != nil || len(rec) != 1 || rec[0].Who != p.Who() || rec[0].Why != "for "+p.Name || len(rec[0].Before) == 0 || len(rec[0].After) == 0 {
				t.Errorf("the record of %s: %+v, %v", tenant, rec, err)
			}
		}
	}
	_, err = r.Decide(ctx, otOps, k, resource.Reject, "")
	want(t, err, fault.Conflict, "Rejected already")
	_, err = r.Decide(ctx, otOps, k, "agree", "")
	want(t, err, fault.Invalid, "not a decision")
	_, err = r.Decide(ctx, otOps, key(t, resource.KindService, "ot/ot-cloud/contoso"), resource.Approve, "")
	want(t, err, fault.Invalid, "has no connection")
}

func TestAutoApproval(t *testing.T) {
	r := plant(t)
	r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	r.apply(itOps, endpointTo("it/it-cloud/hub", "ot/ot-cloud/contoso"))
	if c := r.endpoint("ot/plant-7/hub").Status.Connection; c.State != resource.Approved || c.DecidedBy != autoApproval || c.RequestedBy != "olga of ot" {
		t.Errorf("ot: %+v", c)
	}
	if c := r.endpoint("it/it-cloud/hub").Status.Connection; c.State != resource.Pending {
		t.Errorf("it: %+v", c)
	}
	// Widening auto-approval is for those who come: who waits was asked about already.
	r.apply(otOps, hubService("ot/ot-cloud/contoso", "contoso.azure-devices.net", visibleTo("*"), autoApprove("*")))
	if c := r.endpoint("it/it-cloud/hub").Status.Connection; c.State != resource.Pending {
		t.Errorf("it, afterwards: %+v", c)
	}
	r.apply(xxOps, endpointTo("xx/lab/hub", "ot/ot-cloud/contoso"))
	if c := r.endpoint("xx/lab/hub").Status.Connection; c.State != resource.Approved {
		t.Errorf("xx: %+v", c)
	}
	for tenant, want := range map[string]string{"xx": "create approve", "ot": "request approve"} {
		recs, err := r.Audit(ctx, admin, AuditFilter{Tenant: tenant, Path: "xx/lab/hub"})
		if err != nil || len(recs) != 2 || recs[0].Operation+" "+recs[1].Operation != want || recs[1].Who != autoApproval {
			t.Errorf("records of %s: %+v, %v", tenant, recs, err)
		}
	}
}

// TestConnectionsAgainstATwin plays random decisions, requests and deletions on three endpoints and on a map of what should be.
func TestConnectionsAgainstATwin(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // each step is a commit to a disk
		if err := f.Value.Set("20"); err != nil {
			t.Fatal(err)
		}
	}
	r := plant(t)
	who := []Principal{otOps, itOps, xxOps, admin, otRead}
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		twin := map[string]resource.ConnectionState{}
		paths := []string{fmt.Sprintf("it/it-cloud/a%d", round), fmt.Sprintf("it/it-cloud/b%d", round), fmt.Sprintf("ot/plant-7/c%d", round)}
		owner := map[string]Principal{paths[0]: itOps, paths[1]: itOps, paths[2]: otOps}
		links := map[string]uint32{}
		path := rapid.SampledFrom(paths)
		rt.Repeat(map[string]func(*rapid.T){
			"request": func(rt *rapid.T) {
				p := path.Draw(rt, "endpoint")
				r.clk.Advance(time.Second)
				ch, err := r.Apply(ctx, owner[p], []resource.Object{nameless(p, "ot/ot-cloud/contoso")}, ApplyOptions{})
				if err != nil {
					rt.Fatal(err)
				}
				_, there := twin[p]
				if (ch[0].Action == Created) == there {
					rt.Fatalf("%s was there: %t, and is %s", p, there, ch[0].Action)
				}
				if !there {
					twin[p] = resource.Pending
					if owner[p].Who() == otOps.Who() {
						twin[p] = resource.Approved
					}
				}
			},
			"decide": func(rt *rapid.T) {
				p, by := path.Draw(rt, "endpoint"), rapid.SampledFrom(who).Draw(rt, "who")
				d := rapid.SampledFrom([]resource.Decision{resource.Approve, resource.Reject, resource.Remove}).Draw(rt, "decision")
				to := map[resource.Decision]resource.ConnectionState{resource.Approve: resource.Approved, resource.Reject: resource.Rejected, resource.Remove: resource.Disconnected}[d]
				now, there := twin[p]
				var wanted fault.Kind
				switch {
				case by.Who() == otRead.Who():
					wanted = fault.Denied
				case !there:
					wanted = fault.NotFound
				case by.Who() == otOps.Who() || by.isAdmin():
					if now == to || now == resource.Disconnected {
						wanted = fault.Conflict
					} else {
						wanted, twin[p] = 255, to
					}
				case by.Who() == itOps.Who() && owner[p].Who() == itOps.Who():
					wanted = fault.Denied
				default:
					wanted = fault.NotFound
				}
				_, err := r.Decide(ctx, by, key(t, resource.KindPrivateEndpoint, p), d, "")
				if (err == nil) != (wanted == 255) || err != nil && fault.KindOf(err) != wanted {
					rt.Fatalf("%s by %s on %s in %q: %v, want %s", d, by.Who(), p, now, err, wanted)
				}
			},
			"delete": func(rt *rapid.T) {
				p := path.Draw(rt, "endpoint")
				_, there := twin[p]
				if err := r.Delete(ctx, owner[p], key(t, resource.KindPrivateEndpoint, p), ""); (err == nil) != there {
					rt.Fatalf("delete %s, there %t: %v", p, there, err)
				}
				delete(twin, p)
				delete(links, p)
			},
			"": func(rt *rapid.T) {
				for _, p := range paths {
					o, err := r.Get(ctx, admin, key(t, resource.KindPrivateEndpoint, p))
					if (err == nil) != (twin[p] != "") {
						rt.Fatalf("%s: %v, the twin says %q", p, err, twin[p])
					}
					if err != nil {
						continue
					}
					e := o.(*resource.PrivateEndpoint)
					c := e.Status.Connection
					if c.State != twin[p] {
						rt.Fatalf("%s is %s, the twin says %s", p, c.State, twin[p])
					}
					if id, seen := links[p]; seen && id != c.LinkID {
						rt.Fatalf("%s: link id %d became %d", p, id, c.LinkID)
					}
					links[p] = c.LinkID
					// What the world in memory says is what is on the disk.
					r.mu.RLock()
					inPlan := false
					for _, s := range r.world.at(placeKey{"ot", "ot-cloud"}).services {
						for _, l := range r.compiler.service(r.world, s).Links {
							inPlan = inPlan || l.Endpoint == e.Metadata.UID
						}
					}
					r.mu.RUnlock()
					if inPlan != (c.State == resource.Approved) {
						rt.Fatalf("%s is %s and in the plan: %t", p, c.State, inPlan)
					}
				}
			},
		})
		for p := range twin {
			if err := r.Delete(ctx, owner[p], key(t, resource.KindPrivateEndpoint, p), ""); err != nil {
				rt.Fatal(err)
			}
		}
	})
	if err := r.VerifyAudit(ctx, admin); err != nil {
		t.Error(err)
	}
}

// A record of the audit is for ever, so what costs a principal nothing may not make many of them.
func TestDeniedDecisionsAreRecordedWithinBounds(t *testing.T) {
	r := plant(t)
	stranger := Principal{Name: "mallory", Tenant: "it", Role: RoleOwner}
	count := func() (denied int) {
		t.Helper()
		list, err := r.Audit(ctx, itOps, AuditFilter{Tenant: "it", Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			if a.Operation == "denied" {
				denied++
			}
		}
		return denied
	}
	try := func(p Principal, times int) {
		t.Helper()
		for i := range times {
			k := resource.Key{Kind: resource.KindPrivateEndpoint, Tenant: "ot", Scope: "plant-7", Name: "e" + strconv.Itoa(i)}
			if _, err := r.Decide(ctx, p, k, resource.Approve, "please"); fault.KindOf(err) != fault.NotFound {
				t.Fatalf("attempt %d: %v", i, err)
			}
		}
	}
	try(stranger, 50)
	if n := count(); n != deniedBurst {
		t.Errorf("%d records of 50 attempts", n)
	}
	try(itOps, 1)
	if n := count(); n != deniedBurst+1 {
		t.Errorf("somebody else's attempt is not recorded: %d", n)
	}
	r.clk.Advance(2 * deniedEvery)
	try(stranger, 5)
	if n := count(); n != deniedBurst+3 {
		t.Errorf("%d records after two more were allowed", n)
	}
}
