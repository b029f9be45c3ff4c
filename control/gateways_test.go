package control

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func gateway(path string, with ...func(*resource.GatewaySpec)) *resource.Gateway {
	g := noun[*resource.Gateway](resource.KindGateway, path)
	g.Spec.Listeners = []resource.GatewayListener{{Name: "mqtt", Port: 8883}, {Name: "https", Port: 443}}
	for _, f := range with {
		f(&g.Spec)
	}
	return g
}

func routes(list ...resource.GatewayRoute) func(*resource.GatewaySpec) {
	return func(s *resource.GatewaySpec) { s.Routes = list }
}

func allowRules(n int) []resource.AllowRule {
	out := make([]resource.AllowRule, n)
	for i := range out {
		out[i] = resource.AllowRule{
			Name: fmt.Sprintf("site-%06d", i), Sources: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), 32)},
		}
	}
	return out
}

func allowlistOf(path string, rules ...resource.AllowRule) *resource.Allowlist {
	a := noun[*resource.Allowlist](resource.KindAllowlist, path)
	a.Spec.Rules = rules
	return a
}

func (r *rig) gatewayOf(id identity.ID) plan.Gateway {
	r.t.Helper()
	p, err := r.plan("test", id)
	if err != nil || len(p.Gateways) != 1 {
		r.t.Fatalf("%d gateways, %v", len(p.Gateways), err)
	}
	return p.Gateways[0]
}

// words are the problems of a gateway's routes, by the first of their names.
func routeProblems(g plan.Gateway) map[string]string {
	out := map[string]string{}
	for _, r := range g.Routes {
		name := "*"
		if len(r.Names) > 0 {
			name = r.Names[0]
		}
		out[name] = r.Problem
	}
	return out
}

func TestRoutesToEndpointsFollowTheirConnections(t *testing.T) {
	r := plant(t)
	r.apply(admin, network("ot/ot-cloud", "10.9.0.0/24"))
	gw := r.join(JoinGateway, "ot/ot-cloud/gw")
	r.join(JoinAgent, "it/it-cloud/p")
	r.apply(itOps, hubService("it/it-cloud/hub", "it.azure-devices.net", visibleTo("ot")))
	ch := r.apply(otOps, gateway("ot/ot-cloud/front", routes(resource.GatewayRoute{Names: []string{"it.azure-devices.net"}, Endpoint: "hub"})))
	if len(ch[0].Warnings) != 1 || !strings.Contains(ch[0].Warnings[0], "there is no private endpoint ot/ot-cloud/hub yet") {
		t.Errorf("warnings %q", ch[0].Warnings)
	}
	state := func(problem string, open bool) {
		t.Helper()
		route := r.gatewayOf(gw).Routes[0]
		if !strings.Contains(route.Problem, problem) || (problem == "") != (route.Problem == "") || (route.Endpoint != nil) != open {
			t.Errorf("the route is %+v, want the problem %q", route, problem)
		}
		status := r.get(otOps, resource.KindGateway, "ot/ot-cloud/front").(*resource.Gateway).Status
		if got := strings.Join(status.Problems, "; "); !strings.Contains(got, problem) || (got == "") != open || !slices.Equal(status.Agents, []string{"gw"}) {
			t.Errorf("the status is %+v, want %q", status, problem)
		}
	}
	state("there is no private endpoint ot/ot-cloud/hub", false)
	e := endpointTo("ot/ot-cloud/hub", "it/it-cloud/hub")
	r.apply(otOps, e)
	state("connection is Pending: the owner of it/it-cloud/hub has not approved", false)
	k := key(t, resource.KindPrivateEndpoint, "ot/ot-cloud/hub")
	decideIt := func(d resource.Decision) {
		t.Helper()
		if _, err := r.Decide(ctx, itOps, k, d, "contract 7"); err != nil {
			t.Fatal(err)
		}
	}
	decideIt(resource.Reject)
	state("connection is Rejected", false)
	if p := r.gatewayOf(gw).Routes[0].Problem; !strings.Contains(p, "(contract 7)") {
		t.Errorf("the reason is not told: %s", p)
	}
	decideIt(resource.Approve)
	state("", true)
	ge := r.gatewayOf(gw).Routes[0].Endpoint
	if ge.Name != "ot/ot-cloud/hub" || !slices.Equal(ge.Ports, []uint16{8883, 5671, 443}) || len(ge.Providers) != 1 || !strings.Contains(ge.Providers[0].ID, "/network/it-cloud/agent/p.") {
		t.Errorf("%+v", ge)
	}
	decideIt(resource.Remove)
	state("connection is Disconnected, which is final", false)
	if err := r.Delete(ctx, otOps, k, ""); err != nil {
		t.Fatal(err)
	}
	state("there is no private endpoint", false)
}

func TestRoutesToServices(t *testing.T) {
	r := plant(t)
	gw := r.join(JoinGateway, "ot/ot-cloud/gw")
	mapped := noun[*resource.Service](resource.KindService, "ot/ot-cloud/mapped")
	mapped.Spec = resource.ServiceSpec{
		Type: resource.TypeTCP, Target: "10.1.0.9", ProxyProtocol: true, Ports: []resource.ServicePort{{Port: 443, TargetPort: 8443}, {Port: 8883}},
	}
	closed := hubService("ot/ot-cloud/closed", "closed.azure-devices.net", servedBy("hub-1"), func(s *resource.ServiceSpec) { s.PublicNetworkAccess = resource.PublicDisabled })
	only := noun[*resource.Service](resource.KindService, "ot/ot-cloud/only")
	only.Spec = resource.ServiceSpec{Type: resource.TypeTCP, Target: "10.1.0.9", Ports: []resource.ServicePort{{Port: 443}}}
	r.apply(otOps, mapped, closed, only)
	r.apply(otOps, gateway("ot/ot-cloud/front", func(s *resource.GatewaySpec) {
		s.Listeners = append(s.Listeners, resource.GatewayListener{Name: "raw", Port: 1883, Protocol: resource.GatewayTCP})
		s.Groups = []resource.TargetGroup{{Name: "own", Targets: []string{"192.0.2.9:1"}}}
		s.Routes = []resource.GatewayRoute{
			{Names: []string{"plain"}, Service: "contoso"},
			{Names: []string{"mapped"}, Service: "mapped"},
			{Names: []string{"closed"}, Service: "closed"},
			{Names: []string{"only"}, Service: "only"},
			{Names: []string{"port"}, Service: "only", Port: 443},
			{Names: []string{"none"}, Service: "none"},
			{Listeners: []string{"raw"}, Group: "own", Port: 2},
		}
	}))
	g := r.gatewayOf(gw)
	got, err := json.Marshal(g.Routes)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`{"names":["plain"],"group":"service/contoso","service":"ot/ot-cloud/contoso"}`,
		`{"names":["mapped"],"listeners":["mqtt"],"group":"service/mapped","service":"ot/ot-cloud/mapped"}`,
		`{"names":["mapped"],"listeners":["https"],"group":"service/mapped","port":8443,"service":"ot/ot-cloud/mapped"}`,
		`{"names":["only"],"listeners":["mqtt"],"service":"ot/ot-cloud/only","problem":"the service ot/ot-cloud/only has no port 8883, only 443: set the route's port"}`,
		`{"names":["only"],"listeners":["https"],"group":"service/only","service":"ot/ot-cloud/only"}`,
		`{"names":["none"],"service":"ot/ot-cloud/none","problem":"there is no service ot/ot-cloud/none"}`,
		`{"names":["port"],"listeners":["mqtt"],"group":"service/only","port":443,"service":"ot/ot-cloud/only"}`,
		`{"listeners":["raw"],"group":"own","port":2}`,
	} {
		if !strings.Contains(string(got), part) {
			t.Errorf("there is no %s in\n%s", part, got)
		}
	}
	if p := routeProblems(g)["closed"]; !strings.Contains(p, "closed to the public side") {
		t.Errorf("a closed hub: %q", p)
	}
	groups := map[string]resource.TargetGroup{}
	for _, t := range g.Groups {
		groups[t.Name] = t
	}
	if len(groups) != 4 || groups["service/mapped"].ProxyProtocol != resource.ProxyV2 || groups["service/contoso"].ProxyProtocol != "" || groups["service/mapped"].Targets[0] != "10.1.0.9" {
		t.Errorf("groups %+v", groups)
	}
	spec := r.get(otOps, resource.KindGateway, "ot/ot-cloud/front").(*resource.Gateway).Spec
	if len(spec.Groups) != 1 {
		t.Errorf("the noun has got groups it was not given: %+v", spec.Groups)
	}
	if err := r.Delete(ctx, otOps, key(t, resource.KindService, "ot/ot-cloud/mapped"), ""); err != nil {
		t.Errorf("a service that a gateway leads to may go: %v", err)
	}
	if p := routeProblems(r.gatewayOf(gw))["mapped"]; p != "there is no service ot/ot-cloud/mapped" {
		t.Errorf("its route: %q", p)
	}
}

func TestWhoCarriesAGateway(t *testing.T) {
	r := plant(t)
	gw, agent, hub := r.join(JoinGateway, "ot/ot-cloud/gw"), r.join(JoinAgent, "ot/ot-cloud/agent"), r.join(JoinHub, "ot/ot-cloud/hub-1")
	elsewhere := r.join(JoinGateway, "ot/plant-7/gw")
	carried := func() (names []string) {
		for name, id := range map[string]identity.ID{"gw": gw, "agent": agent, "hub": hub, "elsewhere": elsewhere} {
			p, err := r.plan("test", id)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Gateways) > 0 {
				names = append(names, name)
			}
			if p.Self.Role == resource.RoleGateway && (len(p.Names)+len(p.Zones)+len(p.Endpoints)+len(p.Services) > 0 || len(p.Relays) != 0) {
				t.Errorf("a gateway is told more than it needs: %+v", p)
			}
		}
		slices.Sort(names)
		return names
	}
	r.apply(otOps, gateway("ot/ot-cloud/front"))
	if got := carried(); !slices.Equal(got, []string{"gw"}) {
		t.Errorf("nobody named: %v carry it", got)
	}
	ch := r.apply(otOps, gateway("ot/ot-cloud/front", func(s *resource.GatewaySpec) { s.Agents = []string{"agent", "later"} }))
	if got := carried(); !slices.Equal(got, []string{"agent"}) || len(ch[0].Warnings) != 1 || !strings.Contains(ch[0].Warnings[0], "no agent later has joined") {
		t.Errorf("%v carry it; %q", got, ch[0].Warnings)
	}
	_, err := r.Apply(ctx, otOps, []resource.Object{gateway("ot/ot-cloud/front", func(s *resource.GatewaySpec) { s.Agents = []string{"hub-1"} })}, ApplyOptions{})
	want(t, err, fault.Invalid, "joined as a hub")
	second := gateway("ot/ot-cloud/second")
	r.apply(otOps, second) // carried by gw, the first by agent
	_, err = r.Apply(ctx, otOps, []resource.Object{gateway("ot/ot-cloud/front")}, ApplyOptions{})
	want(t, err, fault.Conflict, "has the port 8883, on which Gateway ot/ot-cloud/second listens already")
	r.apply(otOps, gateway("ot/ot-cloud/front", func(s *resource.GatewaySpec) {
		s.Listeners = []resource.GatewayListener{{Name: "mqtt", Port: 8883, Address: netip.MustParseAddr("203.0.113.1")}}
		s.Agents = []string{"agent"}
	}))
}

// An allowlist wakes those who carry its gateway and nobody else.
func TestAllowlistsWakeOnlyGateways(t *testing.T) {
	r := plant(t)
	ids := []identity.ID{r.join(JoinGateway, "ot/ot-cloud/gw"), r.join(JoinAgent, "ot/ot-cloud/p"), r.join(JoinAgent, "ot/plant-7/a"), r.join(JoinGateway, "ot/plant-7/other")}
	r.apply(otOps, gateway("ot/ot-cloud/front"), gateway("ot/plant-7/side"), endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	d := func(ch ...change) map[identity.ID]struct{} {
		r.mu.Lock()
		defer r.mu.Unlock()
		got := r.world.commit(ch)
		if got.all || len(got.places) > 0 {
			t.Errorf("whole places are woken: %+v", got)
		}
		return got.members
	}
	list := allowlistOf("ot/ot-cloud/a", allowRules(3)...)
	list.Metadata.UID = "x"
	if got := d(change{after: list}); len(got) != 1 {
		t.Errorf("an allowlist wakes %v", got)
	} else if _, ok := got[ids[0]]; !ok {
		t.Errorf("an allowlist wakes %v, not the gateway", got)
	}
	other := resource.Clone(list)
	other.Spec.Gateways = []string{"not-this-one"}
	if got := d(change{before: list, after: other}); len(got) != 1 { // it was for front before
		t.Errorf("an allowlist that leaves a gateway wakes %v", got)
	}
	if got := d(change{before: other, after: resource.Clone(other)}); len(got) != 0 {
		t.Errorf("an allowlist for another gateway wakes %v", got)
	}
	front := r.get(otOps, resource.KindGateway, "ot/ot-cloud/front")
	if got := d(change{before: front, after: resource.Clone(front)}); len(got) != 1 {
		t.Errorf("a gateway wakes %v", got)
	}
	if got := d(change{before: front}); len(got) != 1 {
		t.Errorf("a gateway that goes wakes %v", got)
	}
}

func TestAllowlistsOfAGateway(t *testing.T) {
	r := plant(t)
	gw := r.join(JoinGateway, "ot/ot-cloud/gw")
	r.apply(otOps, gateway("ot/ot-cloud/front"))
	all, one := allowlistOf("ot/ot-cloud/b-all", allowRules(2)...), allowlistOf("ot/ot-cloud/a-one", allowRules(3)...)
	all.Spec.Rules[0].Expires = t0.Add(time.Hour)
	one.Spec.Gateways, one.Spec.Owner = []string{"front"}, "Fabrikam"
	none := allowlistOf("ot/ot-cloud/c-none", allowRules(4)...)
	none.Spec.Gateways = []string{"back"}
	ch := r.apply(otOps, all, one, none)
	if len(ch[2].Warnings) != 1 || !strings.Contains(ch[2].Warnings[0], "there is no gateway ot/ot-cloud/back yet") || len(ch[0].Warnings) != 0 {
		t.Errorf("%+v", ch)
	}
	g := r.gatewayOf(gw)
	if len(g.Allowlists) != 2 || g.Allowlists[0].Name != "ot/ot-cloud/a-one" || g.Allowlists[0].Owner != "Fabrikam" || len(g.Allowlists[1].Rules) != 2 {
		t.Errorf("%+v", g.Allowlists)
	}
	rules := func() (int, resource.AllowlistStatus) {
		return r.get(otRead, resource.KindGateway, "ot/ot-cloud/front").(*resource.Gateway).Status.Rules,
			r.get(otRead, resource.KindAllowlist, "ot/ot-cloud/b-all").(*resource.Allowlist).Status
	}
	if n, st := rules(); n != 5 || st != (resource.AllowlistStatus{Rules: 2}) {
		t.Errorf("%d rules in force, %+v", n, st)
	}
	r.clk.Advance(time.Hour)
	if n, st := rules(); n != 4 || st != (resource.AllowlistStatus{Rules: 2, Expired: 1}) {
		t.Errorf("an hour later %d rules in force, %+v", n, st)
	}
	if got := r.gatewayOf(gw); len(got.Allowlists[1].Rules) != 2 {
		t.Error("the gateway needs expired rules to cut what they let in")
	}
	if again := r.apply(otOps, all, one); again[0].Action != Unchanged || again[1].Action != Unchanged {
		t.Errorf("the same again: %+v", again)
	}
	before := r.gatewayOf(gw)
	r.restart()
	if after := r.gatewayOf(gw); fmt.Sprint(after.Allowlists[0].Parts[0].Digest) != before.Allowlists[0].Parts[0].Digest {
		t.Error("a restart changes the parts")
	}
	if _, err := r.Get(ctx, itOps, all.Key()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another tenant reads an allowlist: %v", err)
	}
	if list, err := r.List(ctx, itOps, resource.KindAllowlist, Filter{}); err != nil || len(list) != 0 {
		t.Errorf("another tenant lists %d, %v", len(list), err)
	}
}

// The audit log of a long list is kept for ever, so it shows what changed.
func TestAuditOfAllowlists(t *testing.T) {
	r := plant(t)
	list := allowlistOf("ot/ot-cloud/a", allowRules(3000)...)
	r.apply(otOps, list)
	list.Spec.Rules[5].Note = "another"
	list.Spec.Rules = slices.Delete(list.Spec.Rules, 9, 10)
	r.apply(otOps, list)
	if err := r.Delete(ctx, otOps, list.Key(), "gone"); err != nil {
		t.Fatal(err)
	}
	records, err := r.Audit(ctx, otOps, AuditFilter{Kind: "Allowlist"})
	if err != nil || len(records) != 3 {
		t.Fatal(len(records), err)
	}
	read := func(raw json.RawMessage) (p listPortrait) {
		t.Helper()
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	made, was, is, gone := read(records[0].After), read(records[1].Before), read(records[1].After), read(records[2].Before)
	if made.Spec.Count != 3000 || len(made.Spec.Rules) != shownRules || made.Spec.Unshown != 2000 || made.UID == "" {
		t.Errorf("made: %d rules, %d shown, %d not", made.Spec.Count, len(made.Spec.Rules), made.Spec.Unshown)
	}
	if was.Spec.Count != 3000 || len(was.Spec.Rules) != 2 || was.Spec.Digest != made.Spec.Digest || is.Spec.Count != 2999 || len(is.Spec.Rules) != 1 || is.Spec.Rules[0].Note != "another" || is.Spec.Digest == was.Spec.Digest {
		t.Errorf("changed: %+v to %+v", was.Spec, is.Spec)
	}
	if gone.Spec.Digest != is.Spec.Digest || gone.Spec.Count != 2999 {
		t.Errorf("deleted: %d rules", gone.Spec.Count)
	}
	if err := r.VerifyAudit(ctx, otOps); err != nil {
		t.Error(err)
	}
}

func TestANetworkHasABoundOnRules(t *testing.T) {
	r := plant(t)
	w := &work{c: r.Control, Tx: nil, now: t0}
	for i := range 5 {
		list := allowlistOf(fmt.Sprintf("ot/ot-cloud/l%d", i))
		list.Spec.Rules = make([]resource.AllowRule, resource.MaxRules)
		w.changes = append(w.changes, change{after: list})
	}
	_, err := w.checkAllowlist(allowlistOf("ot/ot-cloud/one-more", allowRules(1)...))
	want(t, err, fault.Exhausted, "would have 500001 rules")
}

func TestPlacesWithGatewaysStay(t *testing.T) {
	r := plant(t)
	r.apply(otOps, network("ot/empty"), gateway("ot/empty/g"), allowlistOf("ot/empty/a", allowRules(1)...))
	for _, k := range []resource.Kind{resource.KindGateway, resource.KindAllowlist} {
		want(t, r.Delete(ctx, otOps, networkKey("ot", "empty"), ""), fault.Conflict, "of kind "+string(k))
		list, err := r.List(ctx, otOps, k, Filter{Scope: "empty"})
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if err := r.Delete(ctx, otOps, list[0].Head().Key(), ""); err != nil {
			t.Fatal(err)
		}
	}
	set := noun[*resource.Ruleset](resource.KindRuleset, "ot/set")
	set.Spec.Networks = []string{"empty"}
	r.apply(otOps, set)
	want(t, r.Delete(ctx, otOps, networkKey("ot", "empty"), ""), fault.Conflict, "Ruleset ot/set is linked to it")
	if err := r.Delete(ctx, otOps, set.Key(), ""); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(ctx, otOps, networkKey("ot", "empty"), ""); err != nil {
		t.Error(err)
	}
}

func TestWhyAGateway(t *testing.T) {
	r := plant(t)
	list := allowlistOf("ot/ot-cloud/fabrikam", resource.AllowRule{Name: "berlin", Sources: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}},
		resource.AllowRule{Name: "old", Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Expires: t0})
	r.apply(otOps, gateway("ot/ot-cloud/front", routes(resource.GatewayRoute{Names: []string{"contoso.azure-devices.net"}, Service: "contoso"})), list)
	k := key(t, resource.KindGateway, "ot/ot-cloud/front")
	ask := func(p Principal, source, name string) (GatewayExplanation, error) {
		a, _ := netip.ParseAddr(source)
		return r.ExplainGateway(ctx, p, k, decide.Question{Source: a, Name: name, Port: 8883})
	}
	x, err := ask(otRead, "203.0.113.9", "contoso.azure-devices.net")
	if err != nil || !x.Allowed || !strings.Contains(x.Rule, "berlin") || x.Route == nil || len(x.CarriedBy) != 0 {
		t.Errorf("%+v, %v", x, err)
	}
	if notes := strings.Join(x.Notes, "; "); !strings.Contains(notes, "no process carries it") || !strings.Contains(notes, "of the rules of the allowlist ot/ot-cloud/fabrikam, 1 expired") {
		t.Errorf("notes %s", notes)
	}
	if x, err = ask(otRead, "198.51.100.1", "contoso.azure-devices.net"); err != nil || x.Allowed {
		t.Errorf("%+v, %v", x, err)
	}
	r.join(JoinGateway, "ot/ot-cloud/gw")
	if x, err = ask(otRead, "203.0.113.9", ""); err != nil || x.Allowed || len(x.CarriedBy) != 1 || !strings.Contains(strings.Join(x.Notes, ";"), "gw does not follow its plan now") {
		t.Errorf("%+v, %v", x, err)
	}
	_, err = ask(itOps, "203.0.113.9", "")
	want(t, err, fault.NotFound, "there is no Gateway ot/ot-cloud/front")
	_, err = ask(otRead, "nobody", "")
	want(t, err, fault.Invalid, "no IP address")
}

func BenchmarkGatewayPlan(b *testing.B) {
	for _, lists := range []int{1, 1000} {
		b.Run(fmt.Sprintf("100000 rules in %d lists", lists), func(b *testing.B) {
			s := &scene{w: newWorld(), at: t0}
			s.agent("ot/ot-cloud/gw", resource.RoleGateway, "")
			s.add(gateway("ot/ot-cloud/front"), "g", "")
			rules := allowRules(100_000)
			for i := range lists {
				each := len(rules) / lists
				s.add(allowlistOf(fmt.Sprintf("ot/ot-cloud/l%d", i), rules[i*each:(i+1)*each]...), fmt.Sprint("a", i), "")
			}
			c := compiler{trustDomain: "isthmus.test", roots: "ROOTS"}
			a := s.w.at(placeKey{"ot", "ot-cloud"}).agents[0]
			for b.Loop() {
				if p := c.agent(s.w, a); len(p.Gateways[0].Allowlists) != lists {
					b.Fatal(p)
				}
			}
		})
	}
}
