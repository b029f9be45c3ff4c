package control

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/agreement"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Whatever the tenants do, in whatever order: no end is open that is not approved, nothing crosses without what both have signed, what one has
// signed does not change without the other, one process carries a bridge, a tenant learns nothing that it was not told, everybody whose plan
// changes is woken, and a world that followed is the one on the disk.
func TestWhateverTenantsDoBridgesKeepTheirWord(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &mischief{rig: strait(t), rng: rand.New(rand.NewPCG(seed, 7)), joined: map[string]identity.ID{}}
			m.begin()
			for step := range 36 {
				m.step = step
				m.watchAll()
				before, was := m.plans(), m.contract(admin)
				what, by := m.act()
				m.check(what, by, before, was)
				if t.Failed() {
					t.Fatalf("step %d: %s", step, what)
				}
			}
			before := m.plans()
			m.restart()
			for id, p := range m.plans() {
				for i := range p.Bridges { // what is known is as fresh as what was written down
					p.Bridges[i].Known, before[id].Bridges[i].Known = nil, nil
				}
				if x, y := asJSON(t, p.Bridges)+asJSON(t, p.Hubs), asJSON(t, before[id].Bridges)+asJSON(t, before[id].Hubs); x != y {
					t.Errorf("%s after a restart:\n%s\nbefore\n%s", id, x, y)
				}
			}
		})
	}
}

type mischief struct {
	*rig
	rng     *rand.Rand
	step    int
	joined  map[string]identity.ID // by name, ever
	present []string
	wakes   map[identity.ID]*watcher
	secrets map[string]bool // hash keys that were in plans
}

func (m *mischief) begin() {
	m.secrets = map[string]bool{}
	own := telemetry("it")
	own.Metadata.Labels = map[string]string{"note": "olgas-own-note"}
	m.apply(otOps, own)
	for _, h := range []string{"ot/ot-cloud/hub-ot", "it/it-cloud/hub-it", "xx/lab/hub-xx"} {
		m.joined[h], m.present = m.join(JoinHub, h), append(m.present, h)
	}
	for _, a := range []string{"it/it-cloud/gw", "xx/lab/gw", "ot/ot-cloud/b1"} {
		as := JoinAgent
		if strings.HasSuffix(a, "b1") {
			as = JoinBridge
		}
		m.joined[a], m.present = m.join(as, a), append(m.present, a)
	}
	spy := lake("xx/lab/spy")
	spy.Spec.HostName, spy.Spec.ServedBy, spy.Spec.Visibility, spy.Spec.AutoApprove = "spy.servicebus.windows.net", "hub-xx", nil, nil
	spy.Spec.TrustedWorkloads = []resource.Workload{{Kind: resource.WorkloadBridge, Name: "ot/ot-cloud/telemetry"}, {Kind: resource.WorkloadAgent, Name: "ot/ot-cloud/b1"}}
	m.apply(xxOps, spy, right("xx/lab/spy", "spy", resource.RoleDataSender, "ot/ot-cloud/telemetry"))
}

func right(path, service string, role resource.DataRole, bridge string) *resource.RoleAssignment {
	r := noun[*resource.RoleAssignment](resource.KindRoleAssignment, path)
	r.Spec = resource.RoleAssignmentSpec{Service: service, Role: role, Workload: resource.Workload{Kind: resource.WorkloadBridge, Name: bridge}}
	return r
}

func (m *mischief) pick(list ...Principal) Principal { return list[m.rng.IntN(len(list))] }

// act does one thing, which may well be refused.
func (m *mischief) act() (what, by string) {
	m.clk.Advance(time.Second)
	try := func(p Principal, what string, err error) (string, string) {
		if fault.KindOf(err) == fault.Internal && err != nil {
			m.t.Fatalf("%s: %v", what, err)
		}
		return fmt.Sprintf("%s by %s: %v", what, p.Name, err), p.Tenant
	}
	apply := func(p Principal, what string, o resource.Object) (string, string) {
		_, err := m.Apply(ctx, p, []resource.Object{o}, ApplyOptions{})
		return try(p, what, err)
	}
	switch m.rng.IntN(13) {
	case 0, 1:
		n := telemetry("it", func(s *resource.ContractSpec) { s.Purpose = fmt.Sprint("purpose-", m.rng.IntN(4)) })
		if m.rng.IntN(4) == 0 {
			n.Spec.Until = t0.Add(time.Duration(m.rng.IntN(200)) * time.Second)
		}
		n.Metadata.Labels = map[string]string{"note": "olgas-own-note"}
		return apply(m.pick(otOps, itOps, xxOps), "apply the contract", n)
	case 2, 3, 4:
		p, d := m.pick(otOps, itOps, itOps, xxOps), []ContractDecision{AcceptContract, AcceptContract, RejectContract, WithdrawContract}[m.rng.IntN(4)]
		st := m.contract(admin).Status
		c := ContractChoice{Decision: d, Version: st.Version, Digest: st.Digest}
		if m.rng.IntN(5) == 0 {
			c.Version--
		}
		_, err := m.DecideContract(ctx, p, key(m.t, resource.KindContract, "ot/telemetry"), c)
		return try(p, string(d), err)
	case 5, 6:
		p, d := m.pick(otOps, itOps, itOps, xxOps), []resource.Decision{resource.Approve, resource.Approve, resource.Reject}[m.rng.IntN(3)]
		_, err := m.Decide(ctx, p, key(m.t, resource.KindPrivateEndpoint, "ot/ot-cloud/lake"), d, "")
		return try(p, string(d), err)
	case 7:
		name := fmt.Sprintf("ot/ot-cloud/b%d", m.rng.IntN(3))
		for i, p := range m.present {
			if p == name {
				m.present = append(m.present[:i:i], m.present[i+1:]...)
				return try(otOps, "delete "+name, m.Delete(ctx, otOps, key(m.t, resource.KindAgent, name), ""))
			}
		}
		as := []Joiner{JoinBridge, JoinAgent}[m.rng.IntN(2)]
		m.joined[name], m.present = m.join(as, name), append(m.present, name)
		return "join " + name, "ot"
	case 8:
		return apply(m.pick(otOps, otOps, itOps), "apply the bridge", telemetryBridge(func(s *resource.BridgeSpec) {
			s.Paused = m.rng.IntN(2) == 0
			s.Agent = []string{"", "", "b1", "b2"}[m.rng.IntN(4)]
			if m.rng.IntN(3) == 0 {
				s.Contract = ""
			}
			if m.rng.IntN(4) == 0 {
				s.Destination = resource.BridgeDestination{Endpoint: "contoso", EventHub: s.Destination.EventHub}
			}
		}))
	case 9:
		r := right("it/it-cloud/sends", "lake", resource.RoleDataSender, "ot/ot-cloud/telemetry")
		if m.rng.IntN(3) == 0 {
			return try(itOps, "delete the role", m.Delete(ctx, itOps, r.Key(), ""))
		}
		return apply(itOps, "apply the role", r)
	case 10:
		s := lake("it/it-cloud/lake")
		if m.rng.IntN(2) == 0 {
			s.Spec.TrustedWorkloads = []resource.Workload{{Kind: resource.WorkloadAgent, Name: "ot/ot-cloud/b1"}}
		}
		if m.rng.IntN(2) == 0 {
			s.Spec.KeyAccess = resource.KeysDisabled
		}
		return apply(itOps, "apply the lake", s)
	case 11:
		m.heard()
		return "a report", "ot"
	default:
		m.keepHeard(ctx)
		return "reports are written down", ""
	}
}

// heard lets everybody claim to carry the bridge.
func (m *mischief) heard() {
	b := m.bridge(admin)
	for name, id := range m.joined {
		st := resource.BridgeStatus{State: resource.BridgeRunning, Why: "told by " + name, Partitions: []resource.BridgePartition{{Partition: "0", Next: int64(m.step)}}}
		_ = m.Report(ctx, id, AgentReport{Bridges: []BridgeReport{{ID: b.Metadata.UID, Status: st}}}) // many are deleted
	}
	if b = m.bridge(admin); b.Status.Agent != "" && b.Status.Why != "" && strings.HasPrefix(b.Status.Why, "told by ") && b.Status.Why != "told by ot/ot-cloud/"+b.Status.Agent {
		m.t.Errorf("a report of somebody else was believed: %+v", b.Status)
	}
}

func (m *mischief) plans() map[identity.ID]plan.Plan {
	out := map[identity.ID]plan.Plan{}
	for _, name := range m.present {
		p, err := m.plan("test", m.joined[name])
		m.must(err)
		out[m.joined[name]] = p
	}
	return out
}

// watchAll has a watcher stand for each process, so that the test sees who is woken.
func (m *mischief) watchAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wakes = map[identity.ID]*watcher{}
	clear(m.watchers)
	for _, name := range m.present {
		id := m.joined[name]
		w := &watcher{id: id, place: placeOfID(id), wake: make(chan struct{}, 1)}
		if m.watchers[w.place] == nil {
			m.watchers[w.place] = map[*watcher]struct{}{}
		}
		m.watchers[w.place][w] = struct{}{}
		m.wakes[id] = w
	}
}

func (m *mischief) check(what, by string, before map[identity.ID]plan.Plan, was *resource.Contract) {
	t := m.t
	now := m.plans()
	m.checkWoken(before, now)
	m.checkPlans(now)
	m.checkAgreed(what, by, was, m.contract(admin))
	if m.step%3 == 0 { // which takes longest
		m.checkSeen(now)
	}
	if strings.Contains(what, "apply the contract by ivan: <nil>") || strings.Contains(what, "by xena: <nil>") {
		t.Error("somebody who may not did it")
	}
}

func (m *mischief) checkWoken(before, now map[identity.ID]plan.Plan) {
	for id, p := range now {
		then, known := before[id]
		if known && then.Revision != p.Revision {
			select {
			case <-m.wakes[id].wake:
			default:
				m.t.Errorf("%s was not woken\n%s\n%s", id, asJSON(m.t, then), asJSON(m.t, p))
			}
		}
	}
}

func (m *mischief) checkPlans(now map[identity.ID]plan.Plan) {
	t := m.t
	carriers := 0
	b, n := m.bridge(admin), m.contract(admin)
	for id, p := range now {
		for _, pb := range p.Bridges {
			carriers++
			if a, _ := id.Agent(); a.Tenant != "ot" || !strings.HasPrefix(a.Name, b.Status.Agent+".") {
				t.Errorf("%s carries the bridge, which is %s's", id, b.Status.Agent)
			}
			for name, e := range pb.Ends {
				if approved := m.endpoint("ot/ot-cloud/" + name).Status.Connection.Open(); e.Open != approved || !e.Open && (len(e.Providers) > 0 || e.Tenant != "" || e.HostName != "") {
					t.Errorf("end %s: %+v, approved %t", name, e, approved)
				}
			}
			if pb.Problem == "" && pb.Ends[pb.Spec.Destination.Endpoint].Tenant != "ot" && (pb.Contract == nil || pb.Contract.Spec.With != pb.Ends[pb.Spec.Destination.Endpoint].Tenant) {
				t.Errorf("it may send to %+v under %+v", pb.Ends, pb.Contract)
			}
			if pb.Contract == nil {
				continue
			}
			m.secrets[string(pb.Contract.HashKey)] = true
			a := n.Status.Agreed
			if a == nil || a.Digest != pb.Contract.Digest || a.Version != pb.Contract.Version || len(pb.Contract.HashKey) != 32 {
				t.Errorf("the plan has version %d, and what holds is %+v", pb.Contract.Version, a)
				continue
			}
			terms, err := agreement.Verify(m.authz.CertificatePEM(), a)
			if err != nil || asJSON(t, terms.Spec) != asJSON(t, pb.Contract.Spec) {
				t.Errorf("what the plan has is not signed: %v", err)
			}
		}
	}
	if want := map[bool]int{false: 0, true: 1}[b.Status.Agent != ""]; carriers != want {
		t.Errorf("%d processes carry the bridge of %q", carriers, b.Status.Agent)
	}
}

// checkAgreed looks at how what holds became what it is.
func (m *mischief) checkAgreed(what, by string, was, is *resource.Contract) {
	t := m.t
	a, b := was.Status.Agreed, is.Status.Agreed
	switch {
	case b == nil && a != nil && !strings.HasPrefix(what, "withdraw by"):
		t.Error("what held ended without a withdrawal")
	case b != nil && (a == nil || asJSON(t, a) != asJSON(t, b)):
		if by != "it" || !strings.HasPrefix(what, "accept by") || b.Version != was.Status.Version || was.Status.Proposal == nil || b.Signatures[0] != *was.Status.Proposal {
			t.Errorf("what holds became %+v by this, from %+v", b, a)
		}
	}
	if is.Status.Version < was.Status.Version || is.Status.Version > was.Status.Version+1 {
		t.Errorf("version %d became %d", was.Status.Version, is.Status.Version)
	}
	if x, y := asJSON(t, m.contract(otOps).Status.Agreed), asJSON(t, m.contract(itOps).Status.Agreed); x != y {
		t.Errorf("the sides see\n%s\n%s", x, y)
	}
}

// checkSeen reads all that each tenant may read, and its processes' plans.
func (m *mischief) checkSeen(now map[identity.ID]plan.Plan) {
	uid, contractUID := m.bridge(admin).Metadata.UID, m.contract(admin).Metadata.UID
	met := m.contract(admin).Status.Agreed != nil || m.endpoint("ot/ot-cloud/lake").Status.Connection.Open()
	var ofOT []string
	for name, id := range m.joined {
		if strings.HasPrefix(name, "ot/") {
			ofOT = append(ofOT, string(id))
		}
	}
	for _, p := range []Principal{otOps, itOps, xxOps} {
		text := m.everything(p)
		hidden := []string{}
		for k := range m.secrets {
			hidden = append(hidden, base64.StdEncoding.EncodeToString([]byte(k)))
		}
		if p.Tenant != "ot" {
			hidden = append(hidden, uid, "olgas-own-note")
			for id, pl := range now {
				if a, _ := id.Agent(); a.Tenant == p.Tenant {
					if pl.Self.Role == resource.RoleAgent {
						pl.Revoked = nil // whoever has asked for a service tells its provider whom not to believe
					}
					text += asJSON(m.t, pl)
				}
			}
		}
		if p.Tenant == "xx" || p.Tenant == "it" && !met {
			hidden = append(hidden, ofOT...)
		}
		if p.Tenant == "xx" {
			hidden = append(hidden, contractUID, "purpose-", "maintenance")
		}
		for _, h := range hidden {
			if strings.Contains(text, h) {
				at := strings.Index(text, h)
				m.t.Errorf("%s learns %s: …%s…", p.Tenant, h, text[max(0, at-200):min(len(text), at+200)])
			}
		}
	}
}

func (m *mischief) everything(p Principal) string {
	var out strings.Builder
	for _, k := range resource.Kinds() {
		list, err := m.List(ctx, p, k, Filter{})
		m.must(err)
		b, err := json.Marshal(list)
		m.must(err)
		out.Write(b)
	}
	return out.String()
}
