package control

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/agreement"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// strait is the cross-tenant scene: a hub of ot, a namespace of it, endpoints of ot for both, a contract and a bridge between them.
func strait(t testing.TB) *rig {
	t.Helper()
	r := newRig(t)
	r.apply(admin, tenant("ot"), tenant("it"), tenant("xx"), network("ot/ot-cloud", "10.20.0.0/24"), network("it/it-cloud", "10.30.0.0/24"), network("xx/lab", "10.9.0.0/24"))
	r.apply(otOps, hubService("ot/ot-cloud/contoso", "contoso.azure-devices.net", servedBy("hub-ot"), autoApprove("ot")), endpointTo("ot/ot-cloud/contoso", "ot/ot-cloud/contoso"))
	r.apply(itOps, lake("it/it-cloud/lake"), endpointTo("it/it-cloud/lake", "it/it-cloud/lake"))
	r.apply(otOps, endpointTo("ot/ot-cloud/lake", "it/it-cloud/lake"), telemetry("it"), telemetryBridge())
	return r
}

func lake(path string) *resource.Service {
	s := hubService(path, "lake.servicebus.windows.net", visibleTo("ot", "xx"), autoApprove("it"), servedBy("hub-it"))
	s.Spec.Type = resource.TypeEventHubs
	return s
}

func telemetry(with string, change ...func(*resource.ContractSpec)) *resource.Contract {
	n := noun[*resource.Contract](resource.KindContract, "ot/telemetry")
	n.Spec = resource.ContractSpec{With: with, Purpose: "maintenance", Messages: []resource.ContractMessage{{Name: "all", Fields: []resource.ContractField{{Path: "celsius"}, {Path: "sensor", Hash: true}}}}}
	for _, f := range change {
		f(&n.Spec)
	}
	return n
}

func telemetryBridge(change ...func(*resource.BridgeSpec)) *resource.Bridge {
	b := noun[*resource.Bridge](resource.KindBridge, "ot/ot-cloud/telemetry")
	b.Spec = resource.BridgeSpec{
		Source: resource.BridgeSource{Endpoint: "contoso"}, Contract: "ot/telemetry",
		Destination: resource.BridgeDestination{Endpoint: "lake", EventHub: &resource.EventHubDestination{Name: "telemetry"}},
	}
	for _, f := range change {
		f(&b.Spec)
	}
	return b
}

func (r *rig) bridge(p Principal) *resource.Bridge {
	r.t.Helper()
	return r.get(p, resource.KindBridge, "ot/ot-cloud/telemetry").(*resource.Bridge)
}

func (r *rig) contract(p Principal) *resource.Contract {
	r.t.Helper()
	return r.get(p, resource.KindContract, "ot/telemetry").(*resource.Contract)
}

// say takes a decision about the text as the principal sees it.
func (r *rig) say(p Principal, d ContractDecision, reason string) error {
	r.t.Helper()
	r.clk.Advance(time.Second)
	n := r.contract(p)
	_, err := r.DecideContract(ctx, p, n.Key(), ContractChoice{Decision: d, Version: n.Status.Version, Digest: n.Status.Digest, Reason: reason})
	return err
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) approve(endpoint string) {
	r.t.Helper()
	_, err := r.Decide(ctx, admin, key(r.t, resource.KindPrivateEndpoint, endpoint), resource.Approve, "test")
	r.must(err)
}

// carriedNow is the bridge as the process is told of it; nil when it is not told.
func (r *rig) carriedNow(id identity.ID) *plan.Bridge {
	r.t.Helper()
	p, err := r.plan("test", id)
	r.must(err)
	for i := range p.Bridges {
		return &p.Bridges[i]
	}
	return nil
}

func TestBridgeRunsOnceBothSidesSaidYes(t *testing.T) {
	r := strait(t)
	id := r.join(JoinBridge, "ot/ot-cloud/bridge-1")
	b := r.carriedNow(id)
	if b == nil || b.Assignment != 1 || b.Identity != "spiffe://isthmus.test/tenant/ot/network/ot-cloud/bridge/telemetry" || b.Name != "ot/ot-cloud/telemetry" {
		t.Fatalf("the plan says %+v", b)
	}
	if b.Step != "destination" || !strings.Contains(b.Problem, "connection is Pending") || b.Contract != nil {
		t.Errorf("before the approval: %s at %s", b.Problem, b.Step)
	}
	if e := b.Ends["lake"]; e.Open || e.Providers != nil || e.Tenant != "" || e.HostName != "" {
		t.Errorf("an end that is not approved tells %+v", e)
	}
	it := r.join(JoinAgent, "it/it-cloud/gw")
	r.approve("ot/ot-cloud/lake")
	b = r.carriedNow(id)
	if b.Step != "contract" || !strings.Contains(b.Problem, "waits for the tenant it to accept version 1") || b.Contract != nil {
		t.Errorf("before the agreement: %s at %s", b.Problem, b.Step)
	}
	e := b.Ends["lake"]
	if !e.Open || e.Type != resource.TypeEventHubs || e.HostName != "lake.servicebus.windows.net" || !slices.Equal(e.Ports, []uint16{5671, 443}) || e.Tenant != "it" ||
		e.Service != "it/it-cloud/lake" || !e.Served || len(e.Providers) != 1 || e.Providers[0].ID != string(it) {
		t.Errorf("the end is %+v", e)
	}
	r.must(r.say(itOps, AcceptContract, "agreed"))
	b = r.carriedNow(id)
	if b.Problem != "" || b.Contract == nil || b.Contract.Version != 1 || len(b.Contract.HashKey) != 32 || b.Contract.Spec.Purpose != "maintenance" {
		t.Fatalf("after the agreement: %+v", b)
	}
	first := b.Contract
	r.restart()
	if again := r.carriedNow(id); again.Contract == nil || string(again.Contract.HashKey) != string(first.HashKey) {
		t.Error("after a restart the key is another")
	}
	r.must(r.say(otOps, WithdrawContract, "an audit"))
	if b = r.carriedNow(id); b.Contract != nil || b.Step != "contract" || !strings.Contains(b.Problem, "was withdrawn by olga of ot (an audit)") {
		t.Errorf("after the withdrawal: %s at %s", b.Problem, b.Step)
	}
}

func TestContractsAreSignedByBoth(t *testing.T) {
	r := strait(t)
	n := r.contract(itOps)
	if n.Status.State != resource.ContractProposed || n.Status.Version != 1 || n.Status.Proposal == nil || n.Status.Agreed != nil {
		t.Fatalf("a new contract is %+v", n.Status)
	}
	_, err := r.DecideContract(ctx, itOps, n.Key(), ContractChoice{Decision: AcceptContract, Version: 1, Digest: strings.Repeat("0", 64)})
	want(t, err, fault.Conflict, "the text is version 1")
	_, err = r.DecideContract(ctx, itOps, n.Key(), ContractChoice{Decision: AcceptContract})
	want(t, err, fault.Invalid, "which text is meant")
	want(t, r.say(otOps, AcceptContract, ""), fault.Denied, "ot has signed version 1 already")
	r.must(r.say(itOps, AcceptContract, "agreed with Ann"))
	theirs, ours := r.contract(itOps), r.contract(otOps)
	a, b := theirs.Status.Agreed, ours.Status.Agreed
	if x, y := asJSON(t, a), asJSON(t, b); x != y || ours.Status.State != resource.ContractAgreed {
		t.Fatalf("the sides see\n%s\n%s", x, y)
	}
	terms, err := agreement.Verify(r.authz.CertificatePEM(), a)
	if err != nil || terms.Contract != n.Key() || terms.TrustDomain != "isthmus.test" {
		t.Fatalf("verified: %+v %v", terms, err)
	}
	want(t, r.say(itOps, AcceptContract, ""), fault.Conflict, "agreed already")

	r.apply(otOps, telemetry("it", func(s *resource.ContractSpec) { s.Purpose = "and marketing" }))
	n = r.contract(itOps)
	if n.Status.State != resource.ContractChanged || n.Status.Version != 2 || n.Status.Agreed.Version != 1 || asJSON(t, n.Status.Agreed) != asJSON(t, a) {
		t.Fatalf("after a change: %+v", n.Status)
	}
	r.must(r.say(itOps, RejectContract, "not for that"))
	want(t, r.say(itOps, RejectContract, "not for that"), fault.Conflict, "rejected already")
	if n = r.contract(otOps); n.Status.State != resource.ContractChanged || n.Status.Agreed.Version != 1 || n.Status.Why != "not for that" {
		t.Errorf("after the rejection: %+v", n.Status)
	}
	r.must(r.say(itOps, AcceptContract, "well then"))
	if n = r.contract(otOps); n.Status.State != resource.ContractAgreed || n.Status.Agreed.Version != 2 {
		t.Errorf("after all: %+v", n.Status)
	}
	for _, p := range []Principal{otOps, itOps} {
		records, err := r.Audit(ctx, p, AuditFilter{Kind: "Contract", Path: "ot/telemetry"})
		r.must(err)
		var ops []string
		for _, rec := range records {
			ops = append(ops, rec.Operation)
		}
		want := "create accept update reject accept"
		if p.Tenant == "it" {
			want = "propose accept propose reject accept"
		}
		if got := strings.Join(ops, " "); strings.ReplaceAll(got, "denied ", "") != want {
			t.Errorf("the chain of %s has %s", p.Tenant, got)
		}
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBridgeMovesWhenItsProcessGoes(t *testing.T) {
	r := strait(t)
	if b := r.bridge(otOps); b.Status.State != resource.BridgeWaiting || !strings.Contains(b.Status.Why, "no process carries it") {
		t.Fatalf("without a process it is %+v", b.Status)
	}
	r.join(JoinAgent, "ot/ot-cloud/an-agent") // which is not asked unless it is named
	if b := r.bridge(otOps); b.Status.Agent != "" {
		t.Fatalf("it is carried by %q", b.Status.Agent)
	}
	gw := r.join(JoinBridge, "ot/ot-cloud/gw")
	if b := r.bridge(otOps); b.Status.Agent != "gw" || b.Status.Assignment != 1 {
		t.Fatalf("it is carried by %q", b.Status.Agent)
	}
	b1, b2 := r.join(JoinBridge, "ot/ot-cloud/b1"), r.join(JoinBridge, "ot/ot-cloud/b2")
	if b := r.bridge(otOps); b.Status.Agent != "gw" || b.Status.Assignment != 1 {
		t.Errorf("it moved without need to %q", b.Status.Agent)
	}
	r.approve("ot/ot-cloud/lake")
	r.must(r.say(itOps, AcceptContract, ""))
	at := []resource.BridgePartition{{Partition: "0", Next: 7, Reserved: 50_000, End: 9}}
	r.must(r.Report(ctx, gw, AgentReport{Bridges: []BridgeReport{{ID: r.bridge(otOps).Metadata.UID, Status: resource.BridgeStatus{State: resource.BridgeRunning, Partitions: at, Sent: 7, Lag: 2}}}}))
	if b := r.bridge(otOps); b.Status.State != resource.BridgeRunning || b.Status.Sent != 7 || b.Status.Agent != "gw" || b.Status.Assignment != 1 {
		t.Errorf("as reported: %+v", b.Status)
	}
	r.must(r.Report(ctx, b1, AgentReport{Bridges: []BridgeReport{{ID: r.bridge(otOps).Metadata.UID, Status: resource.BridgeStatus{Sent: 99}}}}))
	if b := r.bridge(otOps); b.Status.Sent != 7 {
		t.Error("a process that does not carry it was believed")
	}
	r.must(r.Delete(ctx, otOps, key(t, resource.KindAgent, "ot/ot-cloud/gw"), ""))
	b := r.carriedNow(b1)
	if b == nil || b.Assignment != 2 || len(b.Known) != 1 || b.Known[0] != at[0] {
		t.Fatalf("the next process is told %+v", b)
	}
	if r.carriedNow(b2) != nil {
		t.Error("two processes are told to carry it")
	}
	r.apply(otOps, telemetryBridge(func(s *resource.BridgeSpec) { s.Agent = "b2" }))
	if b := r.carriedNow(b2); b == nil || b.Assignment != 3 || r.carriedNow(b1) != nil {
		t.Errorf("its owner's choice: %+v", b)
	}
	r.clk.Advance(31 * time.Second)
	if b := r.bridge(otOps); b.Status.State != resource.BridgeWaiting || !strings.Contains(b.Status.Why, "the process b2 was not heard of since") {
		t.Errorf("after 31 s of silence: %+v", b.Status)
	}
}
