package control

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestWhyABridgeMayNotRun(t *testing.T) {
	r := strait(t)
	id := r.join(JoinBridge, "ot/ot-cloud/b1")
	r.approve("ot/ot-cloud/lake")
	r.must(r.say(itOps, AcceptContract, ""))
	typed := func(path string, typ resource.ServiceType, with ...func(*resource.ServiceSpec)) *resource.Service {
		s := hubService(path, strings.ReplaceAll(path, "/", "-")+".example.net", append(with, visibleTo("ot"), autoApprove("ot"))...)
		s.Spec.Type = typ
		if typ == resource.TypeTCP {
			s.Spec.Ports = []resource.ServicePort{{Port: 9092}}
		}
		return s
	}
	r.apply(itOps, typed("it/it-cloud/fn", resource.TypeFunction), typed("it/it-cloud/hub", resource.TypeIoTHub, servedBy("hub-it")))
	r.apply(xxOps, typed("xx/lab/azure", resource.TypeEventHubs))
	own := func(s *resource.ServiceSpec) { s.Visibility = nil }
	r.apply(otOps, typed("ot/ot-cloud/fn", resource.TypeFunction, own), typed("ot/ot-cloud/broker", resource.TypeTCP, own), typed("ot/ot-cloud/blobs", resource.TypeBlob, own, servedBy("hub-ot")),
		typed("ot/ot-cloud/ns", resource.TypeEventHubs, own, servedBy("hub-ot")),
		nameless("ot/ot-cloud/their-fn", "it/it-cloud/fn"), nameless("ot/ot-cloud/their-hub", "it/it-cloud/hub"), nameless("ot/ot-cloud/azure", "xx/lab/azure"),
		nameless("ot/ot-cloud/fn", "ot/ot-cloud/fn"), nameless("ot/ot-cloud/broker", "ot/ot-cloud/broker"), nameless("ot/ot-cloud/blobs", "ot/ot-cloud/blobs"), nameless("ot/ot-cloud/ns", "ot/ot-cloud/ns"))
	files := resource.Files{Path: "x"}
	fn := func(endpoint string) func(*resource.BridgeSpec) {
		return func(s *resource.BridgeSpec) {
			s.Steps = []resource.BridgeStep{{Name: "enrich", HTTP: &resource.HTTPFunction{Endpoint: endpoint, Path: "/"}}}
		}
	}
	to := func(d resource.BridgeDestination, contract string) func(*resource.BridgeSpec) {
		return func(s *resource.BridgeSpec) { s.Destination, s.Contract = d, contract }
	}
	hub := &resource.EventHubDestination{Name: "h"}
	for name, tc := range map[string]struct {
		change      func(*resource.BridgeSpec)
		step, words string
	}{
		"nothing":                  {func(*resource.BridgeSpec) {}, "", ""},
		"no such source":           {func(s *resource.BridgeSpec) { s.Source.Endpoint = "no" }, "source", "there is no private endpoint ot/ot-cloud/no"},
		"a source of a wrong type": {func(s *resource.BridgeSpec) { s.Source.Endpoint = "broker" }, "source", "needs one of type iothub or eventhubs"},
		"a source elsewhere":       {func(s *resource.BridgeSpec) { s.Source.Endpoint = "their-hub" }, "source", "let it make the bridge"},
		"which event hub":          {func(s *resource.BridgeSpec) { s.Source.Endpoint = "ns" }, "source", "spec.source.eventHub"},
		"an event hub as source":   {func(s *resource.BridgeSpec) { s.Source.Endpoint, s.Source.EventHub = "ns", "x" }, "", ""},
		"a function":               {fn("fn"), "", ""},
		"a function elsewhere":     {fn("their-fn"), "enrich", "would see events before the contract"},
		"no function":              {fn("broken"), "enrich", "there is no private endpoint"},
		"a table that is not there": {func(s *resource.BridgeSpec) {
			s.References = []resource.ReferenceTable{{Name: "m", Key: "k", Blob: &resource.ReferenceBlob{Endpoint: "no", Container: "ccc", Name: "x.csv"}}}
		}, "reference m", "there is no private endpoint"},
		"without a contract":       {func(s *resource.BridgeSpec) { s.Contract = "" }, "contract", "it sends to the tenant it"},
		"no such contract":         {func(s *resource.BridgeSpec) { s.Contract = "ot/nothing" }, "contract", "there is no contract ot/nothing"},
		"a contract with another":  {to(resource.BridgeDestination{Endpoint: "azure", Secret: "s", EventHub: hub}, "ot/telemetry"), "contract", "is with the tenant it, and the bridge sends to the tenant xx"},
		"a contract for nothing":   {to(resource.BridgeDestination{Endpoint: "broker", Kafka: &resource.KafkaDestination{Topic: "t"}}, "ot/telemetry"), "contract", "sends to the tenant ot"},
		"identity means nothing":   {to(resource.BridgeDestination{Endpoint: "azure", EventHub: hub}, "ot/telemetry"), "destination", "name a secret"},
		"a broker":                 {to(resource.BridgeDestination{Endpoint: "broker", Kafka: &resource.KafkaDestination{Topic: "t"}}, ""), "", ""},
		"an event hub at a broker": {to(resource.BridgeDestination{Endpoint: "broker", EventHub: hub}, ""), "destination", "an event hub needs one of type eventhubs"},
		"a container":              {to(resource.BridgeDestination{Endpoint: "blobs", Blob: &resource.BlobDestination{Container: "ccc", Files: files}}, ""), "", ""},
		"a bucket":                 {to(resource.BridgeDestination{Endpoint: "blobs", Blob: &resource.BlobDestination{Bucket: "s3://x", Files: files}}, ""), "", ""},
		"a container at a broker":  {to(resource.BridgeDestination{Endpoint: "broker", Blob: &resource.BlobDestination{Container: "ccc", Files: files}}, ""), "destination", "needs one of type blob"},
		"a disk":                   {to(resource.BridgeDestination{Disk: &resource.DiskDestination{Folder: "/x", Files: files}}, ""), "", ""},
		"topics of MQTT":           {to(resource.BridgeDestination{Endpoint: "broker", MQTT: &resource.MQTTDestination{Topic: "t"}}, ""), "", ""},
		"requests":                 {to(resource.BridgeDestination{Endpoint: "fn", HTTP: &resource.HTTPDestination{Path: "/"}}, ""), "", ""},
	} {
		ch := r.apply(otOps, telemetryBridge(tc.change))[0]
		b := r.carriedNow(id)
		if b == nil || b.Step != tc.step || (tc.words == "") != (b.Problem == "") || !strings.Contains(b.Problem, tc.words) {
			t.Errorf("%s: %q at %q, want %q at %q", name, b.Problem, b.Step, tc.words, tc.step)
			continue
		}
		if b.Problem != "" && (len(ch.Warnings) == 0 || !strings.Contains(ch.Warnings[0], tc.words)) && ch.Action == Updated {
			t.Errorf("%s: it is applied with the warnings %q", name, ch.Warnings)
		}
		if b.Problem != "" && b.Step == "contract" && b.Contract != nil {
			t.Errorf("%s: the contract is in the plan all the same", name)
		}
		for _, e := range b.Spec.Endpoints() {
			if _, there := b.Ends[e]; !there {
				t.Errorf("%s: the end %s is not in the plan", name, e)
			}
		}
		if st := r.bridge(otOps).Status; tc.words != "" && (st.State != resource.BridgeWaiting || st.Step != tc.step || st.Why != b.Problem) {
			t.Errorf("%s: the status says %s at %s: %s", name, st.State, st.Step, st.Why)
		}
	}
	r.apply(otOps, telemetryBridge())
	r.apply(otOps, telemetry("it", func(s *resource.ContractSpec) { s.Until = r.clk.Now().Add(time.Minute) }))
	r.must(r.say(itOps, AcceptContract, ""))
	if b := r.carriedNow(id); b.Problem != "" {
		t.Fatal(b.Problem)
	}
	r.clk.Advance(time.Minute)
	if b := r.carriedNow(id); b.Step != "contract" || !strings.Contains(b.Problem, "the contract ot/telemetry ended at 2026-") || b.Contract != nil {
		t.Errorf("after its end: %q", b.Problem)
	}
}

func TestWhatABridgeMayNotName(t *testing.T) {
	r := strait(t)
	r.join(JoinHub, "ot/ot-cloud/hub-ot")
	for name, tc := range map[string]struct {
		p     Principal
		o     resource.Object
		kind  fault.Kind
		words string
	}{
		"another tenant's contract": {otOps, telemetryBridge(func(s *resource.BridgeSpec) { s.Contract = "it/x" }), fault.Invalid, "belongs to another tenant"},
		"a hub to carry it":         {otOps, telemetryBridge(func(s *resource.BridgeSpec) { s.Agent = "hub-ot" }), fault.Invalid, "joined as a hub"},
		"another tenant's network":  {itOps, telemetryBridge(), fault.NotFound, "there is no Tenant ot"},
		"no network":                {otOps, noun[*resource.Bridge](resource.KindBridge, "ot/none/b"), fault.Invalid, "spec.source.endpoint is missing"},
		"a contract of another":     {itOps, telemetry("it"), fault.NotFound, "there is no Tenant ot"},
		"a contract with another":   {otOps, telemetry("xx"), fault.Conflict, "cannot become one with another tenant"},
		"a role at no service":      {otOps, right("ot/ot-cloud/r", "nothing", resource.RoleDataReceiver, "ot/ot-cloud/telemetry"), fault.NotFound, "there is no Service"},
		"a role that means nothing": {otOps, right("ot/ot-cloud/r", "contoso", resource.RoleDataSender, "ot/ot-cloud/telemetry"), fault.Invalid, "means nothing at a service of type iothub"},
		"by a reader":               {otRead, telemetryBridge(), fault.Denied, "may not change anything"},
	} {
		_, err := r.Apply(ctx, tc.p, []resource.Object{tc.o}, ApplyOptions{})
		if fault.KindOf(err) != tc.kind || !strings.Contains(fault.Message(err), tc.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRightsInTheHubsPlan(t *testing.T) {
	r := strait(t)
	hub, gone := r.join(JoinHub, "it/it-cloud/hub-it"), r.join(JoinBridge, "ot/ot-cloud/gone")
	r.apply(itOps, right("it/it-cloud/sends", "lake", resource.RoleDataSender, "ot/ot-cloud/telemetry"))
	at := func() plan.Hub {
		t.Helper()
		p, err := r.plan("test", hub)
		r.must(err)
		i := slices.IndexFunc(p.Hubs, func(h plan.Hub) bool { return h.Name == "it/it-cloud/lake" })
		return p.Hubs[i]
	}
	if h := at(); h.Assignments != nil || r.get(itOps, resource.KindRoleAssignment, "it/it-cloud/sends").(*resource.RoleAssignment).Status.Known {
		t.Errorf("before the two have met it knows %+v", h.Assignments)
	}
	r.approve("ot/ot-cloud/lake")
	want := plan.Assignment{Workload: "spiffe://isthmus.test/tenant/ot/network/ot-cloud/bridge/telemetry", Holders: []string{string(gone)}, Role: resource.RoleDataSender}
	if h := at(); len(h.Assignments) != 1 || asJSON(t, h.Assignments[0]) != asJSON(t, want) || !r.get(itOps, resource.KindRoleAssignment, "it/it-cloud/sends").(*resource.RoleAssignment).Status.Known {
		t.Errorf("the rights are %+v", h.Assignments)
	}
	s := lake("it/it-cloud/lake")
	s.Spec.KeyAccess = resource.KeysDisabled
	s.Spec.TrustedWorkloads = []resource.Workload{{Kind: resource.WorkloadBridge, Name: "ot/ot-cloud/telemetry"}, {Kind: resource.WorkloadAgent, Name: "ot/ot-cloud/next"}}
	blobs := hubService("it/it-cloud/blobs", "it.blob.core.windows.net", servedBy("hub-it"), func(s *resource.ServiceSpec) { s.Type, s.Containers = resource.TypeBlob, []string{"aggregates"} })
	r.apply(itOps, s, blobs)
	next := r.join(JoinBridge, "ot/ot-cloud/next")
	r.must(r.Delete(ctx, otOps, key(t, resource.KindAgent, "ot/ot-cloud/gone"), ""))
	want.Holders = []string{string(next)}
	h := at()
	if !h.KeysOff || !slices.Equal(h.Trusted, []string{want.Workload, string(next)}) || len(h.Assignments) != 1 || asJSON(t, h.Assignments[0]) != asJSON(t, want) {
		t.Errorf("the hub is told %+v", h)
	}
	p, err := r.plan("test", hub)
	r.must(err)
	if !slices.Equal(p.Revoked, []string{string(gone)}) {
		t.Errorf("revoked are %v", p.Revoked)
	}
	i := slices.IndexFunc(p.Hubs, func(h plan.Hub) bool { return h.Name == "it/it-cloud/blobs" })
	if p.Hubs[i].Type != resource.TypeBlob || !slices.Equal(p.Hubs[i].Containers, []string{"aggregates"}) {
		t.Errorf("the blob service is %+v", p.Hubs[i])
	}
	for k, words := range map[resource.Key]string{
		key(t, resource.KindNetwork, "ot/ot-cloud"): "it still holds", key(t, resource.KindContract, "ot/telemetry"): "works under it", key(t, resource.KindService, "it/it-cloud/lake"): "is for it",
	} {
		want := r.Delete(ctx, admin, k, "")
		if fault.KindOf(want) != fault.Conflict || !strings.Contains(fault.Message(want), words) {
			t.Errorf("deleting %s: %v", k, want)
		}
	}
}

func TestAContractWithOneselfHoldsAtOnce(t *testing.T) {
	r := strait(t)
	n := noun[*resource.Contract](resource.KindContract, "ot/own")
	n.Spec = telemetry("ot").Spec
	r.apply(otOps, n)
	n = r.get(otOps, resource.KindContract, "ot/own").(*resource.Contract)
	if n.Status.State != resource.ContractAgreed || len(n.Status.Agreed.Signatures) != 1 {
		t.Fatalf("%+v", n.Status)
	}
	decide := func(d ContractDecision) error {
		_, err := r.DecideContract(ctx, otOps, n.Key(), ContractChoice{Decision: d, Version: n.Status.Version, Digest: n.Status.Digest})
		return err
	}
	r.must(decide(WithdrawContract))
	want(t, decide(WithdrawContract), fault.Conflict, "nothing to withdraw")
	r.must(decide(AcceptContract))
	if n = r.get(otOps, resource.KindContract, "ot/own").(*resource.Contract); n.Status.State != resource.ContractAgreed {
		t.Errorf("accepted again it is %s", n.Status.State)
	}
}

func TestWhoWithdrewProposesAgain(t *testing.T) {
	r := strait(t)
	want(t, r.say(itOps, WithdrawContract, ""), fault.Conflict, "nothing to withdraw")
	r.must(r.say(itOps, AcceptContract, ""))
	r.must(r.say(itOps, WithdrawContract, "a pause"))
	r.must(r.say(itOps, AcceptContract, "and on"))
	r.must(r.say(otOps, WithdrawContract, "ours now"))
	want(t, r.say(itOps, AcceptContract, ""), fault.Conflict, "ot has withdrawn it")
	want(t, r.say(xxOpsAs("it"), AcceptContract, ""), fault.Conflict, "ot has withdrawn it")
	r.must(r.say(otOps, AcceptContract, "propose it again"))
	if st := r.contract(itOps).Status; st.State != resource.ContractProposed || st.Agreed != nil {
		t.Errorf("proposed again it is %+v", st)
	}
	r.must(r.say(itOps, AcceptContract, ""))
	// Who comes after a tenant that was deleted has agreed to nothing.
	r.must(r.Delete(ctx, otOps, key(t, resource.KindBridge, "ot/ot-cloud/telemetry"), ""))
	for _, k := range []resource.Key{key(t, resource.KindPrivateEndpoint, "ot/ot-cloud/lake"), key(t, resource.KindPrivateEndpoint, "it/it-cloud/lake"), key(t, resource.KindService, "it/it-cloud/lake"),
		key(t, resource.KindNetwork, "it/it-cloud"), key(t, resource.KindTenant, "it")} {
		r.must(r.Delete(ctx, admin, k, ""))
	}
	r.apply(admin, tenant("it"))
	if st := r.contract(itOps).Status; st.State != resource.ContractWithdrawn || st.Agreed != nil || st.Proposal != nil {
		t.Errorf("the new tenant finds %+v", st)
	}
	want(t, r.say(itOps, AcceptContract, ""), fault.Conflict, "ot has withdrawn it")
}

func xxOpsAs(tenant string) Principal {
	return Principal{Name: "nina", Tenant: tenant, Role: RoleNetworkAdmin}
}

// What may not be seen is not there: the same words for a contract of others and for none.
func TestContractsOfOthersAreNotThere(t *testing.T) {
	r := strait(t)
	for _, k := range []resource.Key{key(t, resource.KindContract, "ot/telemetry"), key(t, resource.KindContract, "ot/nothing")} {
		_, a := r.Get(ctx, xxOps, k)
		_, b := r.DecideContract(ctx, xxOps, k, ContractChoice{Decision: AcceptContract, Version: 1, Digest: "x"})
		for _, err := range []error{a, b} {
			want(t, err, fault.NotFound, "there is no "+k.String())
		}
	}
	_, err := r.DecideContract(ctx, Principal{Name: "aud", Tenant: "it", Role: RoleAuditor}, key(t, resource.KindContract, "ot/telemetry"), ContractChoice{Decision: AcceptContract})
	want(t, err, fault.Denied, "may not change anything")
	want(t, r.Delete(ctx, itOps, key(t, resource.KindContract, "ot/telemetry"), ""), fault.NotFound, "there is no Contract")
}

// An alias tells nothing else, in plans too.
func TestAnEndKeepsItsAlias(t *testing.T) {
	r := strait(t)
	alias := r.get(itOps, resource.KindService, "it/it-cloud/lake").(*resource.Service).Status.Alias
	r.apply(otOps, nameless("ot/ot-cloud/by-alias", alias), telemetryBridge(func(s *resource.BridgeSpec) { s.Destination.Endpoint = "by-alias" }))
	id := r.join(JoinBridge, "ot/ot-cloud/b1")
	r.approve("ot/ot-cloud/by-alias")
	if e := r.carriedNow(id).Ends["by-alias"]; !e.Open || e.Service != alias {
		t.Errorf("the end is %+v", e)
	}
}

func TestWhereABridgeStandsIsWrittenDown(t *testing.T) {
	r := strait(t)
	id := r.join(JoinBridge, "ot/ot-cloud/b1")
	r.approve("ot/ot-cloud/lake")
	r.must(r.say(itOps, AcceptContract, ""))
	uid := r.bridge(otOps).Metadata.UID
	tell := func(next int64, change ...func(*resource.BridgeStatus)) {
		t.Helper()
		st := resource.BridgeStatus{State: resource.BridgeRunning, Assignment: 1, Sent: next, Partitions: []resource.BridgePartition{{Partition: "0", Next: next}}}
		for _, f := range change {
			f(&st)
		}
		r.must(r.Report(ctx, id, AgentReport{Bridges: []BridgeReport{{ID: uid, Status: st}}}))
	}
	kept := func() int64 {
		t.Helper()
		r.restart()
		if p := r.carriedNow(id).Known; len(p) > 0 {
			return p[0].Next
		}
		return -1
	}
	before := r.carriedNow(id)
	tell(7)
	if now := r.carriedNow(id); asJSON(t, now) != asJSON(t, before) {
		t.Error("a report changes the plan")
	}
	r.keepHeard(ctx)
	if got := kept(); got != 7 {
		t.Errorf("kept is %d", got)
	}
	tell(9)
	r.refreshKnown(ctx, id)
	if now := r.carriedNow(id); now.Known[0].Next != 9 {
		t.Errorf("who begins to follow is told %+v", now.Known)
	}
	if got := kept(); got != 7 {
		t.Errorf("what nobody wrote down is there: %d", got)
	}
	r.clk.Advance(time.Second)
	tell(11, func(st *resource.BridgeStatus) { st.Assignment = 3 })
	if b := r.bridge(otOps); b.Status.Sent == 11 {
		t.Error("a report of another assignment was believed")
	}
	tell(12, func(st *resource.BridgeStatus) {
		st.Why, st.State, st.Agent, st.Identity = strings.Repeat("é", 9999)+"\x00", "Made up", "somebody", "else"
		st.Partitions = make([]resource.BridgePartition, 5000)
		st.RecentErrors = slices.Repeat([]resource.BridgeError{{Words: strings.Repeat("x", 9999)}}, 999)
	})
	b := r.bridge(otOps)
	if st := b.Status; len(st.Why) > 500 || len(st.Partitions) != maxPartitions || len(st.RecentErrors) != maxStepErrors || len(st.RecentErrors[0].Words) > 500 || st.State != resource.BridgeWaiting ||
		st.Agent != "b1" || st.Assignment != 1 || !strings.HasSuffix(st.Identity, "/bridge/telemetry") {
		t.Errorf("what is kept of a wild report: %d %d %d %s %s", len(st.Why), len(st.Partitions), len(st.RecentErrors), st.State, st.Agent)
	}
	r.must(r.Delete(ctx, otOps, key(t, resource.KindBridge, "ot/ot-cloud/telemetry"), ""))
	r.keepHeard(ctx) // of what is gone nothing is left
	if len(r.carried.heard) != 0 {
		t.Error("a bridge that is gone is remembered")
	}
	if err := r.Report(ctx, identity.ID("spiffe://nobody"), AgentReport{}); fault.KindOf(err) != fault.Unauthenticated {
		t.Error(err)
	}
}

func TestNobodyIsFloodedWithContracts(t *testing.T) {
	r := strait(t)
	many := []resource.Object{}
	for i := range maxContractsWith {
		n := noun[*resource.Contract](resource.KindContract, "ot/c"+strconv.Itoa(i))
		n.Spec = telemetry("it").Spec
		many = append(many, n)
	}
	_, err := r.Apply(ctx, otOps, many, ApplyOptions{})
	want(t, err, fault.Exhausted, "there are 200 contracts with it already")
	r.apply(otOps, many[1:]...)
}
