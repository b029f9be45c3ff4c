package control

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

var updateGolden = flag.Bool("update", false, "write the golden plans anew")

// scene is a world made by hand, with uids a person can read. Nouns are a second apart in the order in which they are added.
type scene struct {
	w  *world
	at time.Time
}

func (s *scene) add(o resource.Object, uid, target string) {
	s.at = s.at.Add(time.Second)
	m := &o.Head().Metadata
	m.UID, m.CreatedAt = uid, s.at
	ch := change{after: o, target: target}
	if _, ok := o.(*resource.Service); ok {
		ch.key = []byte("key of " + uid)
	}
	s.w.commit([]change{ch})
}

func (s *scene) agent(path string, role resource.AgentRole, direct string) {
	a := noun[*resource.Agent](resource.KindAgent, path)
	a.Spec.Role, a.Status.DirectAddress = role, direct
	m := a.Metadata
	a.Status.SPIFFEID = string(identity.AgentID("isthmus.test", m.Tenant, m.Network, m.Name+".id"))
	s.add(a, "uid-"+m.Name, "")
}

func (s *scene) endpoint(path, uid, target, address string, state resource.ConnectionState, link uint32, agent string) {
	e := endpointTo(path, "any")
	e.Spec.Agent = agent
	e.Status = resource.PrivateEndpointStatus{Address: netip.MustParseAddr(address), Connection: resource.Connection{State: state, LinkID: link}}
	s.add(e, uid, target)
}

func goldenScene() *world {
	s := &scene{w: newWorld(), at: t0}
	n := network("ot/plant-7", "10.7.0.0/24", "10.8.0.0/16")
	n.Spec.DNS.Upstreams = []string{"192.168.1.1", "[fd00::1]:5353"}
	s.add(n, "n-plant", "")
	s.add(network("ot/ot-cloud"), "n-cloud", "")
	s.add(network("it/it-cloud", "10.7.0.0/24"), "n-it", "")
	relay := noun[*resource.Relay](resource.KindRelay, "relay-1")
	relay.Spec.Address, relay.Status.SPIFFEID = "relay.test:443", "spiffe://isthmus.test/relay/relay-1.id"
	s.add(relay, "r1", "")
	s.agent("ot/plant-7/hub-at-site", resource.RoleHub, "") // the oldest, and no listener
	s.agent("ot/plant-7/gw", resource.RoleAgent, "")
	s.agent("ot/plant-7/gw-2", resource.RoleAgent, "gw-2.test:7000")
	s.agent("ot/ot-cloud/p1", resource.RoleAgent, "p1.test:7000")
	s.agent("ot/ot-cloud/p2", resource.RoleAgent, "")
	s.agent("ot/ot-cloud/hub-1", resource.RoleHub, "")
	s.add(hubService("ot/ot-cloud/contoso", "contoso.azure-devices.net", servedBy("hub-1"), func(sp *resource.ServiceSpec) {
		sp.PrivateLinkCertificate, sp.PublicNetworkAccess = true, resource.PublicDisabled
	}), "s-contoso", "")
	s.add(hubService("ot/ot-cloud/fleet", "fleet.azure-devices-provisioning.net", servedBy("hub-1"), func(sp *resource.ServiceSpec) {
		sp.Type = resource.TypeDPS
	}), "s-fleet", "")
	reg := noun[*resource.Service](resource.KindService, "ot/ot-cloud/images")
	reg.Spec = resource.ServiceSpec{Type: resource.TypeRegistry, HostName: "fab.azurecr.io", AdditionalHostNames: []string{"fab.westeurope.data.azurecr.io"}, Target: "fab.azurecr.io"}
	s.add(reg, "s-images", "")
	quiet := hubService("ot/ot-cloud/quiet", "quiet.azure-devices.net")
	s.add(quiet, "s-quiet", "")
	plc := noun[*resource.Service](resource.KindService, "ot/plant-7/plc")
	plc.Spec = resource.ServiceSpec{
		Type: resource.TypeTCP, HostName: "plc.factory.example", Target: "192.168.1.50", Ports: []resource.ServicePort{{Port: 502, TargetPort: 10502}}, ProxyProtocol: true,
	}
	s.add(plc, "s-plc", "")
	s.endpoint("ot/plant-7/hub", "e-hub", "s-contoso", "10.7.0.4", resource.Approved, 11, "")
	s.endpoint("ot/plant-7/hub-again", "e-again", "s-contoso", "10.7.0.5", resource.Approved, 12, "gw-2") // younger: loses the names
	s.endpoint("ot/plant-7/images", "e-images", "s-images", "10.8.0.4", resource.Approved, 13, "")
	s.endpoint("ot/plant-7/quiet", "e-quiet", "s-quiet", "10.7.0.6", resource.Pending, 14, "")
	s.endpoint("ot/plant-7/gone", "e-gone", "s-gone", "10.7.0.7", resource.Disconnected, 15, "")
	s.endpoint("it/it-cloud/plc", "e-plc", "s-plc", "10.7.0.4", resource.Approved, 16, "")
	s.endpoint("it/it-cloud/hub", "e-it", "s-contoso", "10.7.0.5", resource.Rejected, 17, "")
	s.agent("it/it-cloud/it-gw", resource.RoleAgent, "")
	zone := noun[*resource.Zone](resource.KindZone, "ot/privatelink.azure-devices.net")
	zone.Spec.Networks = []string{"plant-7"}
	s.add(zone, "z1", "")
	other := noun[*resource.Zone](resource.KindZone, "ot/not.linked")
	s.add(other, "z2", "")
	for path, spec := range map[string]resource.RecordSetSpec{
		"ot/privatelink.azure-devices.net/@":       {TXT: []string{"ours"}},
		"ot/privatelink.azure-devices.net/*":       {A: []netip.Addr{netip.MustParseAddr("10.7.0.250")}, TTL: 60},
		"ot/privatelink.azure-devices.net/contoso": {A: []netip.Addr{netip.MustParseAddr("10.7.0.251")}}, // an endpoint's name: not heard
		"ot/privatelink.azure-devices.net/old":     {CNAME: "new.example"},
		"ot/not.linked/x":                          {TXT: []string{"x"}},
	} {
		r := noun[*resource.RecordSet](resource.KindRecordSet, path)
		r.Spec = spec
		s.add(r, path, "")
	}
	s.agent("ot/ot-cloud/front-1", resource.RoleGateway, "")
	own := endpointTo("ot/ot-cloud/plc", "any")
	own.Status = resource.PrivateEndpointStatus{Address: netip.MustParseAddr("10.9.0.4"), Connection: resource.Connection{State: resource.Approved, LinkID: 18}}
	s.add(own, "e-own", "s-plc")
	s.add(gateway("ot/ot-cloud/front", func(sp *resource.GatewaySpec) {
		sp.Groups = []resource.TargetGroup{{Name: "else", Targets: []string{"192.0.2.7:8883"}, Health: resource.Health{Check: resource.CheckTLS}}}
		sp.Limits = resource.GatewayLimits{Source: resource.Limit{Connections: 10}}
		sp.Routes = []resource.GatewayRoute{
			{Names: []string{"contoso.azure-devices.net"}, Service: "contoso"},
			{Names: []string{"plc.factory.example"}, Listeners: []string{"https"}, Endpoint: "plc", Port: 502},
			{Names: []string{"not-yet.example"}, Endpoint: "not-yet"},
			{Group: "else", Port: 8883},
		}
	}), "g-front", "")
	s.add(allowlistOf("ot/ot-cloud/fabrikam", allowRules(2)...), "a-fabrikam", "")
	rule := forward("up", "corp.example", "192.0.2.53", "192.0.2.54:5353")
	s.add(ruleset("ot/rules", []string{"plant-7"}, rule, forward("rest", ".", "192.0.2.55")), "rs", "")
	s.w.revoke(store.Revoked{ID: "spiffe://isthmus.test/tenant/ot/network/plant-7/agent/lost.id", Tenant: "ot", Network: "plant-7"})
	return s.w
}

func TestGoldenPlans(t *testing.T) {
	w := goldenScene()
	c := compiler{trustDomain: "isthmus.test", roots: "ROOTS"}
	plans := map[string]plan.Plan{"relay": c.relay(w, w.relays[0])}
	for _, a := range w.agents {
		plans[a.Metadata.Name] = c.agent(w, a)
	}
	for name, p := range plans {
		if p.Revision != p.Seal().Revision || p.Revision == "" {
			t.Errorf("%s is not sealed", name)
		}
		got, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", "plan-"+name+".json")
		if *updateGolden {
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimSpace(want), got) {
			t.Errorf("%s is not what it was; look at the difference, and run the test with -update if it is right\n%s", file, got)
		}
	}
}

// A world that followed changes one by one must be the one that is read from the disk.
func TestAFollowedWorldIsAReadWorld(t *testing.T) {
	r := plant(t)
	relay := r.join(JoinRelay, "relay-1")
	gone := r.join(JoinAgent, "ot/plant-7/gone")
	ids := []identity.ID{relay, r.join(JoinAgent, "ot/plant-7/gw"), r.join(JoinAgent, "ot/ot-cloud/p"), r.join(JoinHub, "ot/ot-cloud/hub-1"), r.join(JoinAgent, "it/it-cloud/gw")}
	zone := noun[*resource.Zone](resource.KindZone, "ot/factory.example")
	zone.Spec.Networks = []string{"plant-7"}
	rec := noun[*resource.RecordSet](resource.KindRecordSet, "ot/factory.example/plc")
	rec.Spec.TXT = []string{"x"}
	r.apply(otOps, zone, rec, hubService("ot/ot-cloud/contoso", "contoso.azure-devices.net", visibleTo("it"), autoApprove("ot", "it"), servedBy("hub-1")))
	ids = append(ids, r.join(JoinGateway, "ot/ot-cloud/front-1"))
	r.apply(admin, network("ot/ot-cloud", "10.9.0.0/24"))
	r.apply(otOps, endpointTo("ot/ot-cloud/x", "ot/ot-cloud/private"), ruleset("ot/rules", []string{"plant-7", "ot-cloud"}, forward("a", "a.example", "192.0.2.1")),
		ruleset("ot/gone", nil, forward("b", "b.example", "192.0.2.1")), allowlistOf("ot/ot-cloud/a", allowRules(900)...), allowlistOf("ot/ot-cloud/gone", allowRules(9)...),
		gateway("ot/ot-cloud/front", routes(resource.GatewayRoute{Endpoint: "x"})), gateway("ot/plant-7/gone"))
	r.apply(otOps, allowlistOf("ot/ot-cloud/a", allowRules(901)[1:]...), ruleset("ot/rules", []string{"plant-7"}, forward("a", "c.example", "192.0.2.1")),
		ruleset("ot/gone", []string{"ot-cloud"}, forward("b", "b.example", "192.0.2.1")))
	r.apply(otOps, endpointTo("ot/plant-7/a", "ot/ot-cloud/contoso"), nameless("ot/plant-7/b", "ot/ot-cloud/contoso"))
	r.apply(itOps, endpointTo("it/it-cloud/c", "ot/ot-cloud/contoso"))
	for _, d := range []resource.Key{key(t, resource.KindPrivateEndpoint, "ot/plant-7/a"), key(t, resource.KindRecordSet, "ot/factory.example/plc"), key(t, resource.KindAgent, "ot/plant-7/gone"),
		key(t, resource.KindGateway, "ot/plant-7/gone"), key(t, resource.KindAllowlist, "ot/ot-cloud/gone"), key(t, resource.KindRuleset, "ot/gone")} {
		if err := r.Delete(ctx, otOps, d, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Decide(ctx, otOps, key(t, resource.KindPrivateEndpoint, "it/it-cloud/c"), resource.Reject, ""); err != nil {
		t.Fatal(err)
	}
	followed := map[identity.ID]string{}
	for _, id := range ids {
		p, err := r.plan("test", id)
		if err != nil {
			t.Fatal(err)
		}
		followed[id] = p.Revision
	}
	r.restart()
	for _, id := range ids {
		p, err := r.plan("test", id)
		if err != nil || p.Revision != followed[id] {
			t.Errorf("%s: followed %s, read %s, %v", id, followed[id], p.Revision, err)
		}
	}
	p, err := r.plan("test", ids[2])
	if err != nil || len(p.Services) != 1 || len(p.Services[0].Links) != 1 || len(p.Revoked) != 1 || p.Revoked[0] != string(gone) || len(p.Services[0].LinkKey) != 32 {
		t.Errorf("the provider's plan: %+v, %v", p, err)
	}
}
