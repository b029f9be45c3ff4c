package hub_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
	wt "github.com/isthmus-io/isthmus/workload/workloadtest"
)

func TestEnterTrusted(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	public := hub.Side{Peer: netip.MustParseAddrPort("192.0.2.7:40000")}
	named := func(host string) hub.Side { s := public; s.ServerName = host; return s }
	linked := hub.Side{Hub: "uid-contoso", Link: hubtest.ContosoLink}
	for name, c := range map[string]struct {
		change  func(*plan.Hub)
		side    hub.Side
		host    string
		limited bool
		denied  bool
	}{
		"an open service":                 {func(p *plan.Hub) { p.Public = resource.PublicEnabled }, public, hubtest.Contoso, false, false},
		"one that is closed":              {func(p *plan.Hub) { p.Trusted = nil }, public, hubtest.Contoso, false, true},
		"one that trusts somebody":        {nil, public, hubtest.Contoso, true, false},
		"with its name in TLS":            {nil, named(hubtest.Contoso), hubtest.Contoso, true, false},
		"with another's":                  {nil, named(hubtest.Fabrikam), hubtest.Contoso, false, true},
		"with nobody's":                   {nil, named("elsewhere.example"), hubtest.Contoso, true, false},
		"a name nobody has":               {nil, public, "nobody.example", false, true},
		"through an endpoint":             {nil, linked, hubtest.Contoso, false, false},
		"through the endpoint of another": {nil, linked, hubtest.Fabrikam, false, true},
		"through one not approved":        {func(p *plan.Hub) { p.Links = nil }, linked, hubtest.Contoso, false, true},
		"a provisioning service":          {func(p *plan.Hub) { p.Type = resource.TypeDPS }, public, hubtest.Contoso, false, true},
	} {
		before := w.Plans[0]
		w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public, p.Trusted = resource.PublicDisabled, []string{string(wt.Bridge)} })
		if c.change != nil {
			w.Change(hubtest.Contoso, c.change)
		}
		h, limited, err := w.Server.EnterTrusted(c.side, c.host)
		if limited != c.limited || (err != nil) != c.denied || err != nil && (fault.KindOf(err) != fault.Denied || h != nil) || err == nil && h.HostName() != c.host {
			t.Errorf("%s: %v, %v, %v", name, h, limited, err)
		}
		if _, err := w.Server.Enter(c.side, c.host); limited && fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: devices may come in too: %v", name, err)
		}
		w.Change(hubtest.Contoso, func(p *plan.Hub) { *p = before })
	}
	h := w.Hub(hubtest.Contoso)
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Trusted = []string{string(wt.Bridge)} })
	if !h.Trusts(string(wt.Bridge)) || h.Trusts(string(wt.Agent)) || h.Trusts("") {
		t.Error("it trusts others than those named")
	}
}

func TestWorkloadsAtAHub(t *testing.T) {
	d := wt.New(t, clock.System{})
	w := hubtest.Start(t, hubtest.Options{Workloads: d.Verifier})
	h := w.Hub(hubtest.Contoso)
	assign := func(list ...plan.Assignment) {
		t.Helper()
		w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Assignments = list })
	}
	token := d.Token(wt.Agent, wt.Bridge, workload.AudienceIoTHub)
	if _, err := h.ProveWorkload(token); fault.KindOf(err) != fault.Denied || !strings.Contains(fault.Message(err), string(wt.Bridge)) {
		t.Errorf("without a role: %v", err)
	}
	const events, commands = "messages/events/ConsumerGroups/$Default", "messages/devicebound"
	for role, may := range map[resource.DataRole][2]bool{
		resource.RoleDataReceiver: {true, false}, resource.RoleHubContributor: {false, true}, resource.RoleHubReader: {false, false}, resource.RoleDataSender: {false, false},
	} {
		assign(wt.Assign(role, ""))
		c, err := h.ProveService(token)
		if err != nil || !c.Valid() || c.Policy != string(wt.Bridge) {
			t.Fatalf("%s: %+v, %v", role, c, err)
		}
		for i, path := range []string{events, commands} {
			if err := c.May(hub.ServiceConnect, path); (err == nil) != may[i] {
				t.Errorf("%s, %s: %v", role, path, err)
			}
		}
		for _, right := range []hub.Right{hub.DeviceConnect, hub.EveryRight, hub.RegistryWrite} {
			if err := c.May(right, ""); fault.KindOf(err) != fault.Denied || err == nil {
				t.Errorf("%s has %s: %v", role, right, err)
			}
		}
	}
	assign(wt.Assign(resource.RoleDataReceiver, ""))
	c, err := h.ProveService(token)
	if err != nil {
		t.Fatal(err)
	}
	told := h.Renewed()
	d.Revoke(string(wt.Agent))
	assign(wt.Assign(resource.RoleDataReceiver, ""))
	<-told
	if c.Valid() || c.May(hub.ServiceConnect, events) == nil {
		t.Error("what an agent proved that is gone holds")
	}
	d.Revoke()
	told = h.Renewed()
	assign()
	<-told
	if c.Valid() || fault.KindOf(c.May(hub.ServiceConnect, events)) != fault.Unauthenticated {
		t.Error("a role that was taken away holds")
	}
	other := wt.New(t, clock.System{})
	for name, token := range map[string]string{
		"for event hubs of another host": d.Token(wt.Agent, wt.Bridge, workload.Audience(hubtest.Fabrikam)), "of another deployment": other.Token(wt.Agent, wt.Bridge, workload.AudienceIoTHub),
	} {
		if _, err := h.ProveService(token); fault.KindOf(err) != fault.Unauthenticated || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.Hub(hubtest.Contoso).Prove(t.Context(), hub.Name{Device: "d"}, hub.Credentials{Token: token}); fault.KindOf(err) != fault.Unauthenticated || err == nil {
		t.Errorf("as a device: %v", err)
	}
}

// Policies open nothing any more, and devices go on with their own keys.
func TestAHubWithoutSharedKeys(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	device, second := w.Device(hubtest.Contoso, "d"), w.Device(hubtest.Contoso, "by-policy")
	policy := w.ServiceToken(hubtest.Contoso, hub.PolicyOwner)
	before, err := h.ProveService(policy)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(name, token string) chan hub.Cause {
		t.Helper()
		cut := make(chan hub.Cause, 4)
		s, err := h.Connect(t.Context(), hub.Request{Device: name, Token: token, Side: hub.Side{Hub: "uid-contoso", Link: hubtest.ContosoLink}, Door: "test", Cut: func(c hub.Cause) { cut <- c }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.End)
		return cut
	}
	prove := func(name, token string) (hub.Identity, error) {
		return h.Prove(t.Context(), hub.Name{Device: name}, hub.Credentials{Token: token})
	}
	ownCut, sharedCut := connect("d", w.Token(hubtest.Contoso, device)), connect("by-policy", policy)
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.KeysOff = true })
	select {
	case c := <-sharedCut:
		if c != hub.KeyGone {
			t.Errorf("cut because %s", c)
		}
	case <-time.After(10 * time.Second):
		t.Error("a session that a policy's key opened goes on")
	}
	select {
	case c := <-ownCut:
		t.Errorf("a device with its own key was cut: %s", c)
	default:
	}
	_, _, authorized := h.Authorize(policy, hub.RegistryRead)
	_, proved := h.ProveService(policy)
	_, byKey := h.ProvePolicyKey(hub.PolicyService, "x")
	_, asDevice := prove("by-policy", policy)
	for name, err := range map[string]error{"a request": authorized, "a claim": proved, "a key": byKey, "as a device": asDevice} {
		if fault.KindOf(err) != fault.Unauthenticated || err == nil || !strings.Contains(fault.Message(err), "shared keys are switched off") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if before.Valid() {
		t.Error("what a key proved before holds")
	}
	if _, err := prove("by-policy", w.Token(hubtest.Contoso, second)); err != nil {
		t.Errorf("a device's own key: %v", err)
	}
}
