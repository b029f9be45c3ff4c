package control

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func zoneIn(path string, networks ...string) *resource.Zone {
	z := noun[*resource.Zone](resource.KindZone, path)
	z.Spec.Networks = networks
	return z
}

func record(path string) *resource.RecordSet {
	r := noun[*resource.RecordSet](resource.KindRecordSet, path)
	r.Spec.TXT = []string{"by hand"}
	return r
}

func (r *rig) refuses(p Principal, words string, objects ...resource.Object) {
	r.t.Helper()
	_, err := r.Apply(ctx, p, objects, ApplyOptions{})
	want(r.t, err, fault.Conflict, words)
	if fault.Next(err) == "" {
		r.t.Errorf("no advice with %v", err)
	}
}

func TestANameBelongsToOneEndpointOfANetwork(t *testing.T) {
	r := plant(t)
	first := endpointTo("ot/plant-7/first", "ot/ot-cloud/contoso")
	r.apply(otOps, first)
	second := endpointTo("ot/plant-7/second", "ot/ot-cloud/contoso")
	r.refuses(otOps, "PrivateEndpoint ot/plant-7/first has the name contoso.azure-devices.net in the network plant-7 already", second)
	r.refuses(otOps, "has the name", endpointTo("ot/plant-7/a", "ot/ot-cloud/private"), endpointTo("ot/plant-7/b", "ot/ot-cloud/private")) // in one change
	r.apply(otOps, nameless("ot/plant-7/second", "ot/ot-cloud/contoso"))
	r.refuses(otOps, "has the name", second) // withoutNames taken back
	gw := r.join(JoinAgent, "ot/plant-7/gw")
	if p, err := r.plan("test", gw); err != nil || len(p.Endpoints) != 2 || len(p.Names) != 2 || p.Names[0].Source != "PrivateEndpoint ot/plant-7/first" {
		t.Errorf("names %+v, %v", p.Names, err)
	}
	if st := r.endpoint("ot/plant-7/second").Status; len(st.HostNames) != 0 || len(st.Ports) == 0 {
		t.Errorf("without names it has %+v", st)
	}
	if _, err := r.Decide(ctx, otOps, first.Key(), resource.Remove, ""); err != nil { // Disconnected gives its names back
		t.Fatal(err)
	}
	r.apply(otOps, second)
	third := hubService("ot/ot-cloud/third", "third.azure-devices.net", autoApprove("ot"))
	r.apply(otOps, third)
	r.apply(otOps, endpointTo("ot/plant-7/third", "ot/ot-cloud/third"))
	third.Spec.AdditionalHostNames = []string{"contoso.azure-devices.net"}
	r.refuses(otOps, "PrivateEndpoint ot/plant-7/second has the name contoso.azure-devices.net", third)
	third.Spec.AdditionalHostNames = []string{"other.azure-devices.net"}
	r.apply(otOps, third)
	r.refuses(otOps, "PrivateEndpoint ot/plant-7/third has the name other.azure-devices.net",
		hubService("ot/ot-cloud/late", "other.azure-devices.net"), endpointTo("ot/plant-7/late", "ot/ot-cloud/late"))
	r.apply(itOps, endpointTo("it/it-cloud/hub", "ot/ot-cloud/contoso")) // another network is another matter
	want(t, r.Delete(ctx, itOps, first.Key(), ""), fault.NotFound, "there is no")
}

func TestAnEndpointAndARecordSetDoNotShareAName(t *testing.T) {
	r := plant(t)
	zone := zoneIn("ot/privatelink.azure-devices.net", "plant-7")
	r.apply(otOps, zone, record("ot/privatelink.azure-devices.net/private"))
	r.refuses(otOps, "PrivateEndpoint ot/plant-7/x would answer for private.privatelink.azure-devices.net in the network plant-7, for which the RecordSet ot/privatelink.azure-devices.net/private was written by hand",
		endpointTo("ot/plant-7/x", "ot/ot-cloud/private"))
	r.apply(otOps, nameless("ot/plant-7/x", "ot/ot-cloud/private"))
	r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	r.refuses(otOps, "made by the endpoint ot/plant-7/hub", record("ot/privatelink.azure-devices.net/contoso"))
	r.apply(itOps, zoneIn("it/factory.example", "it-cloud"))
	r.refuses(admin, "made by the endpoint ot/plant-7/hub", record("it/factory.example/x"), record("ot/privatelink.azure-devices.net/contoso")) // of two tenants at once
	pending := hubService("ot/ot-cloud/pending", "pending.azure-devices.net")
	r.apply(otOps, pending, endpointTo("ot/plant-7/pending", "ot/ot-cloud/pending"))
	r.refuses(otOps, "answers for pending.privatelink.azure-devices.net in the network plant-7, or will when it is approved", record("ot/privatelink.azure-devices.net/pending"))
	r.apply(otOps, zoneIn("ot/azure-devices.net", "plant-7"))
	r.refuses(otOps, "answers for contoso.azure-devices.net", record("ot/azure-devices.net/contoso")) // public names too
	r.apply(otOps, record("ot/azure-devices.net/free"), record("ot/azure-devices.net/*"))

	// A zone that is linked later is held against the endpoints that are there.
	apex := zoneIn("ot/contoso.azure-devices.net")
	r.apply(otOps, apex, record("ot/contoso.azure-devices.net/@"))
	apex.Spec.Links = []resource.ZoneLink{{Network: "plant-7"}}
	r.refuses(otOps, "PrivateEndpoint ot/plant-7/hub answers for contoso.azure-devices.net in the network plant-7, and the RecordSet ot/contoso.azure-devices.net/@ was written by hand", apex)
	if err := r.Delete(ctx, otOps, endpointTo("ot/plant-7/hub", "").Key(), ""); err != nil {
		t.Fatal(err)
	}
	r.apply(otOps, apex)
	r.refuses(otOps, "was written by hand", endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	// A service that is given such a name.
	private := hubService("ot/ot-cloud/pending", "pending.azure-devices.net", func(s *resource.ServiceSpec) { s.AdditionalHostNames = []string{"free.azure-devices.net"} })
	r.refuses(otOps, "RecordSet ot/azure-devices.net/free was written by hand", private)
}

// No sequence of changes gives two endpoints of one network one name, whatever is tried.
func TestNamesStayApart(t *testing.T) {
	r := plant(t)
	r.apply(otOps, zoneIn("ot/privatelink.azure-devices.net", "plant-7"))
	rapid.Check(t, func(rt *rapid.T) {
		endpoints := []string{"ot/plant-7/a", "ot/plant-7/b", "ot/plant-7/c"}
		services := []string{"ot/ot-cloud/s1", "ot/ot-cloud/s2"}
		hosts := []string{"h1.azure-devices.net", "h2.azure-devices.net", "h3.azure-devices.net"}
		for _, s := range services {
			r.try(hubService(s, hosts[0], autoApprove("ot")))
		}
		for range 12 {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				e := endpointTo(rapid.SampledFrom(endpoints).Draw(rt, "endpoint"), rapid.SampledFrom(services).Draw(rt, "service"))
				e.Spec.WithoutNames = rapid.Bool().Draw(rt, "without names")
				r.try(e)
			case 1:
				r.try(hubService(rapid.SampledFrom(services).Draw(rt, "service"), rapid.SampledFrom(hosts).Draw(rt, "host"), autoApprove("ot")))
			case 2:
				_ = r.Delete(ctx, otOps, key(t, resource.KindPrivateEndpoint, rapid.SampledFrom(endpoints).Draw(rt, "endpoint")), "")
			case 3:
				d := rapid.SampledFrom([]resource.Decision{resource.Approve, resource.Reject, resource.Remove}).Draw(rt, "decision")
				_, _ = r.Decide(ctx, otOps, key(t, resource.KindPrivateEndpoint, rapid.SampledFrom(endpoints).Draw(rt, "endpoint")), d, "")
			case 4:
				host, _, _ := strings.Cut(rapid.SampledFrom(hosts).Draw(rt, "host"), ".")
				r.try(record("ot/privatelink.azure-devices.net/" + host))
			case 5:
				host, _, _ := strings.Cut(rapid.SampledFrom(hosts).Draw(rt, "host"), ".")
				_ = r.Delete(ctx, otOps, record("ot/privatelink.azure-devices.net/"+host).Key(), "")
			}
			r.mu.RLock()
			seen := map[string]string{}
			for _, e := range r.world.at(placeKey{"ot", "plant-7"}).endpoints {
				for _, n := range claimedNames(e, r.world.services[r.world.targets[e.Metadata.UID]]) {
					if other := seen[n]; other != "" {
						rt.Errorf("%s and %s both have %s", other, e.Metadata.Name, n)
					}
					seen[n] = e.Metadata.Name
				}
			}
			z := r.world.zones[resource.Key{Kind: resource.KindZone, Tenant: "ot", Name: "privatelink.azure-devices.net"}]
			for name := range z.records {
				if e := seen[name+".privatelink.azure-devices.net"]; e != "" {
					rt.Errorf("the endpoint %s and a record set both have %s", e, name)
				}
			}
			r.mu.RUnlock()
		}
	})
}

// try applies and does not mind a refusal that is a Conflict.
func (r *rig) try(o resource.Object) {
	r.t.Helper()
	if _, err := r.Apply(ctx, otOps, []resource.Object{o}, ApplyOptions{}); err != nil && fault.KindOf(err) != fault.Conflict {
		r.t.Fatal(err)
	}
}

func ruleset(path string, networks []string, rules ...resource.ForwardingRule) *resource.Ruleset {
	s := noun[*resource.Ruleset](resource.KindRuleset, path)
	s.Spec.Networks, s.Spec.Rules = networks, rules
	return s
}

func forward(name, domain string, targets ...string) resource.ForwardingRule {
	return resource.ForwardingRule{Name: name, Domain: domain, Targets: targets}
}

func TestForwardsAreTheEnabledRulesTheLongestFirst(t *testing.T) {
	r := plant(t)
	gw := r.join(JoinAgent, "ot/plant-7/gw")
	exact := forward("exact", "hub.x.net", "192.0.2.1")
	exact.Exact = true
	off := forward("off", "deep.er.x.net", "192.0.2.1")
	off.State = resource.RuleDisabled
	tls := forward("tls", "hub.x.net.", "192.0.2.1", "192.0.2.2:8853")
	tls.Transport, tls.TLSName = resource.DNSOverTLS, "dns.example.net"
	n := network("ot/plant-7", "10.7.0.0/24")
	n.Spec.DNS.Clients = n.Spec.AddressRanges
	zone := noun[*resource.Zone](resource.KindZone, "ot/privatelink.x.net")
	zone.Spec.Links = []resource.ZoneLink{{Network: "plant-7", ResolutionPolicy: resource.NxDomainRedirect}}
	r.apply(otOps, n, zone, ruleset("ot/rules", []string{"plant-7"}, forward("root", ".", "192.0.2.9"), forward("x", "x.net", "192.0.2.1"), tls, exact, off, forward("a", "a", "192.0.2.1")))
	p, err := r.plan("test", gw)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range p.Forward {
		got = append(got, f.Rule)
	}
	if !slices.Equal(got, []string{"ot/rules/exact", "ot/rules/tls", "ot/rules/x", "ot/rules/a", "ot/rules/root"}) {
		t.Errorf("rules %v", got)
	}
	f := p.Forward[1]
	if f.Domain != "hub.x.net" || !slices.Equal(f.Targets, addrPorts("192.0.2.1:853", "192.0.2.2:8853")) || f.TLSName != "dns.example.net" || f.Transport != resource.DNSOverTLS {
		t.Errorf("%+v", f)
	}
	if !slices.Equal(p.Redirect, []string{"privatelink.x.net"}) || len(p.DNSClients) != 1 {
		t.Errorf("redirect %v, clients %v", p.Redirect, p.DNSClients)
	}
	r.apply(otOps, ruleset("ot/rules", nil, forward("root", ".", "192.0.2.9")))
	if p, err = r.plan("test", gw); err != nil || len(p.Forward) != 0 {
		t.Errorf("a ruleset that was taken away: %+v, %v", p.Forward, err)
	}
	if st := r.get(otOps, resource.KindRuleset, "ot/rules").(*resource.Ruleset).Status; st.Rules != 1 {
		t.Errorf("%+v", st)
	}
}

func TestANetworkFollowsOneRuleset(t *testing.T) {
	r := plant(t)
	r.apply(otOps, ruleset("ot/one", []string{"plant-7"}))
	r.refuses(otOps, "the network ot/plant-7 follows Ruleset ot/one already", ruleset("ot/two", []string{"ot-cloud", "plant-7"}))
	r.apply(otOps, ruleset("ot/two", []string{"ot-cloud"}))
	r.refuses(otOps, "follows Ruleset ot/one already", ruleset("ot/two", []string{"ot-cloud", "plant-7"}))
	r.refuses(otOps, "follows Ruleset ot/three already", ruleset("ot/one", nil), ruleset("ot/three", []string{"plant-7"}), ruleset("ot/last", []string{"plant-7"}))
	r.apply(otOps, ruleset("ot/one", nil), ruleset("ot/three", []string{"plant-7"})) // it moves in one change
	_, err := r.Apply(ctx, otOps, []resource.Object{ruleset("ot/three", []string{"plant-7", "plant-7"})}, ApplyOptions{})
	want(t, err, fault.Invalid, "has plant-7 twice")
	_, err = r.Apply(ctx, otOps, []resource.Object{ruleset("ot/three", []string{"plant-9"})}, ApplyOptions{})
	want(t, err, fault.NotFound, "there is no Network ot/plant-9")
}

func TestQuestionsDoNotGoInCircles(t *testing.T) {
	r := plant(t)
	at := func(agent, address string) {
		t.Helper()
		if err := r.Report(ctx, r.join(JoinAgent, agent), AgentReport{DNSAddresses: addrPorts(address)}); err != nil {
			t.Fatal(err)
		}
	}
	at("ot/plant-7/a", "192.168.7.2:53")
	at("ot/plant-7/b", "192.168.7.3:53")
	at("ot/ot-cloud/c", "192.168.8.2:53")
	r.refuses(otOps, "questions for x.net would go in circles: the rule ot/r/up asks 192.168.7.3:53, a resolver of ot/plant-7", ruleset("ot/r", []string{"plant-7"}, forward("up", "x.net", "192.168.7.3")))
	r.apply(otOps, ruleset("ot/r", []string{"plant-7"}, forward("up", "x.net", "192.168.7.3:5353"))) // another server on the same machine
	r.refuses(otOps, "is in the range 10.7.0.0/24 that ot/plant-7 gives to its own endpoints", ruleset("ot/r", []string{"plant-7"}, forward("up", "x.net", "10.7.0.9")))
	tcp := forward("up", "x.net", "10.7.0.9")
	tcp.Transport = resource.DNSOverTCP
	r.apply(otOps, ruleset("ot/r", []string{"plant-7"}, tcp)) // through an endpoint

	// Over two rulesets, for the names that both forward.
	r.apply(otOps, ruleset("ot/r", []string{"plant-7"}, forward("up", "x.net", "192.168.8.2")))
	r.apply(otOps, ruleset("ot/s", []string{"ot-cloud"}, forward("down", "y.net", "192.168.7.2")))
	r.refuses(otOps, "questions for a.x.net would go in circles: the rule ot/s/down asks 192.168.7.2:53, a resolver of ot/plant-7, then the rule ot/r/up asks 192.168.8.2:53, a resolver of ot/ot-cloud",
		ruleset("ot/s", []string{"ot-cloud"}, forward("down", "a.x.net", "192.168.7.2")))
	exact := forward("down", "a.x.net", "192.168.7.2")
	exact.Exact = true
	r.refuses(otOps, "questions for a.x.net would go in circles", ruleset("ot/s", []string{"ot-cloud"}, exact))
	down := forward("down", ".", "192.168.7.2")
	r.refuses(otOps, "would go in circles", ruleset("ot/s", []string{"ot-cloud"}, down))
	down.State = resource.RuleDisabled
	r.apply(otOps, ruleset("ot/s", []string{"ot-cloud"}, down))
	// A longer rule elsewhere, or a zone, breaks the circle.
	r.apply(otOps, ruleset("ot/s", []string{"ot-cloud"}, forward("down", ".", "192.168.7.2"), forward("away", "x.net", "192.0.2.1")))
	r.apply(otOps, ruleset("ot/s", []string{"ot-cloud"}, forward("none", "z.net", "192.0.2.1")), zoneIn("ot/x.net", "ot-cloud"))
	r.apply(otOps, ruleset("ot/s", []string{"ot-cloud"}, forward("down", ".", "192.168.7.2")))
	// Over the upstreams of a network.
	n := network("ot/plant-7", "10.7.0.0/24")
	n.Spec.DNS.Upstreams = []string{"192.168.8.2"}
	r.refuses(otOps, "names that no rule has would go in circles: spec.dns.upstreams of the network ot/plant-7 asks 192.168.8.2:53, a resolver of ot/ot-cloud, then the rule ot/s/down asks", n)
	n.Spec.DNS.Upstreams = []string{"192.168.7.2"}
	r.refuses(otOps, "would go in circles", n)
	n.Spec.DNS.Upstreams = []string{"192.0.2.1"}
	r.apply(otOps, n)
}

func TestWhyAName(t *testing.T) {
	r := plant(t)
	k := networkKey("ot", "plant-7")
	ask := func(name string) NameExplanation {
		t.Helper()
		x, err := r.ExplainName(ctx, otRead, k, name, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Steps) < 2 || x.Type != "A" || x.Network != "ot/plant-7" {
			t.Errorf("%s: %+v", name, x)
		}
		return x
	}
	notes := func(x NameExplanation) string {
		var out []string
		for _, n := range x.Notes {
			out = append(out, n.What+": "+n.Detail+" > "+n.Next)
		}
		return strings.Join(out, "\n")
	}
	is := func(name string, words ...string) {
		t.Helper()
		x := ask(name)
		got := notes(x)
		for _, w := range words {
			if !strings.Contains(got, w) {
				t.Errorf("%s:\n%s\nand not %q", name, got, w)
			}
		}
		if len(words) == 0 && got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	is("nobody.example")
	is("Contoso.azure-devices.net.", "service: the service ot/ot-cloud/contoso has this name, and no private endpoint of the network plant-7 leads to it", "spec.service: ot/ot-cloud/contoso")
	r.apply(itOps, hubService("it/it-cloud/secret", "secret.azure-devices.net"), hubService("it/it-cloud/shared", "shared.azure-devices.net", visibleTo("ot")))
	is("secret.azure-devices.net") // not for these eyes
	r.apply(otOps, endpointTo("ot/plant-7/shared", "it/it-cloud/shared"))
	is("shared.azure-devices.net", "endpoint: connection is Pending", "isthmus endpoint approve ot/plant-7/shared")
	is("shared.privatelink.azure-devices.net", "connection is Pending")
	r.apply(otOps, endpointTo("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	is("contoso.azure-devices.net", "answers for the name, and no agent listens")
	gw := r.join(JoinAgent, "ot/plant-7/gw")
	if err := r.Report(ctx, gw, AgentReport{DNSAddresses: addrPorts("192.168.7.2:53")}); err != nil {
		t.Fatal(err)
	}
	x := ask("contoso.azure-devices.net")
	if !strings.Contains(notes(x), "hub is Approved and listens on 10.7.0.5") || len(x.Resolvers) != 1 {
		t.Errorf("%+v", x)
	}
	var steps []string
	for _, s := range x.Steps {
		steps = append(steps, s.Detail)
	}
	if text := strings.Join(steps, "\n"); !strings.Contains(text, "PrivateEndpoint ot/plant-7/hub") || !strings.Contains(text, "10.7.0.5") {
		t.Errorf("the steps\n%s", text)
	}
	r.apply(otOps, nameless("ot/plant-7/hub", "ot/ot-cloud/contoso"))
	is("contoso.azure-devices.net", "stays out of DNS, because it says withoutNames")
	if _, err := r.Decide(ctx, otOps, key(t, resource.KindPrivateEndpoint, "ot/plant-7/hub"), resource.Remove, ""); err != nil {
		t.Fatal(err)
	}
	is("contoso.azure-devices.net", "connection is Disconnected", "make it again")
	off := forward("off", "factory.example", "192.0.2.1")
	off.State = resource.RuleDisabled
	r.apply(otOps, zoneIn("ot/factory.example", "ot-cloud"), record("ot/factory.example/plc"),
		ruleset("ot/mine", []string{"plant-7"}, off), ruleset("ot/theirs", []string{"ot-cloud"}, forward("on", "plc.factory.example", "192.0.2.1"), forward("root", ".", "192.0.2.1")))
	is("plc.factory.example", "zone: the zone ot/factory.example has a record set for the name, and is not linked to the network plant-7",
		"ruleset: the rule ot/mine/off holds the name and is Disabled", "ruleset: the rule ot/theirs/on holds the name, and its ruleset is not linked")
	is("x.factory.example", "zone: the zone ot/factory.example holds names under factory.example, and is not linked")

	_, err := r.ExplainName(ctx, itOps, k, "a.example", "")
	want(t, err, fault.NotFound, "there is no Network ot/plant-7")
	_, err = r.ExplainName(ctx, otRead, k, "a..b", "")
	want(t, err, fault.Invalid, "is no domain name")
	_, err = r.ExplainName(ctx, otRead, k, "a.b", "ABC")
	want(t, err, fault.Invalid, "is no type of record")
	if x, err := r.ExplainName(ctx, admin, k, "a.b", "type65"); err != nil || x.Type != "TYPE65" {
		t.Errorf("%+v, %v", x, err)
	}
}

func BenchmarkNamesPlan(b *testing.B) {
	s := &scene{w: newWorld(), at: t0}
	s.add(network("ot/plant-7", "10.0.0.0/8"), "n", "")
	s.agent("ot/plant-7/gw", resource.RoleAgent, "")
	s.add(zoneIn("ot/factory.example", "plant-7"), "z", "")
	var last []plan.Name
	for i, rule := range allowRules(10_000) {
		r := record("ot/factory.example/" + rule.Name)
		s.add(r, r.Metadata.Name, "")
		_ = i
	}
	c := compiler{trustDomain: "isthmus.test", roots: "ROOTS"}
	p := s.w.at(placeKey{"ot", "plant-7"})
	for b.Loop() {
		p.names.forget()
		last = c.agent(s.w, p.agents[0]).Names
	}
	if len(last) != 10_000 {
		b.Fatal(len(last))
	}
}
