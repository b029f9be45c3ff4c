package testworld_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/testworld"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func standard(t *testing.T) *testworld.Scenario {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := testworld.Start(ctx, testworld.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("closing the world: %v", err)
		}
	})
	s, err := w.Standard(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// connect dials as the device in the plant until it works or a generous time is over.
func connect(t *testing.T, s *testworld.Scenario, id string) *simulate.Device {
	t.Helper()
	d, err := dial(t, s, id, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func dial(t *testing.T, s *testworld.Scenario, id string, patience time.Duration) (*simulate.Device, error) {
	t.Helper()
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		var text string
		if text, err = s.Device(ctx, id); err == nil {
			var d *simulate.Device
			if d, err = simulate.Dial(ctx, simulate.Config{ConnectionString: text, Roots: roots, Resolver: s.Resolver(s.PlantDNS)}); err == nil {
				return d, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func send(t *testing.T, d *simulate.Device, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range n {
		if err := d.Send(ctx, fmt.Appendf(nil, "message %d", i), map[string]string{"i": fmt.Sprint(i)}); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

// TestOutages stops one process after the other. What is open stays open as long as its own path does; what was cut comes back.
func TestOutages(t *testing.T) {
	s := standard(t)
	d := connect(t, s, "press-1")
	send(t, d, 50)

	if err := s.World.Server().Stop(); err != nil {
		t.Fatal(err)
	}
	send(t, d, 50) // an open flow needs no control plane
	d.Close()
	d = connect(t, s, "press-1") // nor does a new one
	send(t, d, 50)
	d.Close()

	for _, p := range []*testworld.Process{s.Plant.Process, s.Cloud.Process, s.HubProcess.Process, s.World.Relay()} {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := dial(t, s, "press-1", 200*time.Millisecond); err == nil {
			t.Fatalf("a device connects without %s", p.Name)
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		d := connect(t, s, "press-1") // from the plan on disk: the control plane is still away
		send(t, d, 10)
		d.Close()
	}
	if err := s.World.Server().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	d = connect(t, s, "press-1")
	send(t, d, 10)
	d.Close()

	h, err := s.Hub()
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	partitions, err := h.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		first, next := h.Bounds(p)
		total += next - first
	}
	if want := int64(150 + 4*10 + 10); total != want {
		t.Errorf("the log holds %d messages, %d were acknowledged", total, want)
	}
}

// TestRevocation rejects a connection under a device and approves it again.
func TestRevocation(t *testing.T) {
	s := standard(t)
	d := connect(t, s, "press-1")
	send(t, d, 5)
	key := resource.Key{Kind: resource.KindPrivateEndpoint, Tenant: "ot", Scope: "plant-7", Name: "hub"}
	watch := clocktest.Start(t)
	if _, err := s.Client.Decide(t.Context(), key, resource.Reject, "maintenance"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the device is still connected")
	}
	if took := watch.Took(); took > time.Second {
		t.Errorf("the flow was cut after %v", took)
	}
	d.Close()
	eventually(t, time.Second, "a rejected endpoint has no name", func() bool {
		_, err := s.Resolver(s.PlantDNS).LookupHost(t.Context(), testworld.HubName)
		return err != nil
	})
	if _, err := s.Client.Decide(t.Context(), key, resource.Approve, "done"); err != nil {
		t.Fatal(err)
	}
	d = connect(t, s, "press-1")
	send(t, d, 5)
	d.Close()
	e, err := s.Endpoint(t.Context(), "ot/plant-7/hub")
	if err != nil {
		t.Fatal(err)
	}
	if e.Status.Address != s.HubEndpoint {
		t.Errorf("the endpoint's address went from %s to %s", s.HubEndpoint, e.Status.Address)
	}
}

// TestTenants shows what one tenant can learn and do of another's.
func TestTenants(t *testing.T) {
	s := standard(t)
	secret, _, err := s.Client.CreateToken(t.Context(), client.TokenRequest{Name: "olga", Tenant: "it", Role: "owner"})
	if err != nil {
		t.Fatal(err)
	}
	it := as(t, s, secret)
	visible := resource.Key{Kind: resource.KindService, Tenant: "ot", Scope: "ot-cloud", Name: "historian"}
	absent := visible
	absent.Name = "no-such-thing"
	_, hidden := it.Get(t.Context(), visible)
	_, missing := it.Get(t.Context(), absent)
	if fault.KindOf(hidden) != fault.NotFound || fault.KindOf(missing) != fault.NotFound {
		t.Fatalf("hidden: %v; missing: %v", hidden, missing)
	}
	if a, b := fault.Message(hidden), strings.ReplaceAll(fault.Message(missing), "no-such-thing", "historian"); a != b {
		t.Errorf("a hidden service tells itself from a missing one:\n%s\n%s", a, b)
	}
	own := resource.Key{Kind: resource.KindPrivateEndpoint, Tenant: "it", Scope: "it-cloud", Name: "hub"}
	if _, err := it.Decide(t.Context(), own, resource.Approve, "I said so"); fault.KindOf(err) != fault.Denied {
		t.Errorf("the consumer approves its own endpoint: %v", err)
	}
	for _, name := range []string{"historian", "no-such-thing"} {
		err := applyAs(t, it, "apiVersion: isthmus/v1\nkind: PrivateEndpoint\nmetadata: {tenant: it, network: it-cloud, name: x}\nspec: {service: ot/ot-cloud/"+name+"}\n")
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("an endpoint to %s: %v", name, err)
		}
	}
}

// TestOtherHub: a peer that came through one hub's endpoint cannot reach another hub of the same process.
func TestOtherHub(t *testing.T) {
	s := standard(t)
	err := s.Apply(t.Context(), fmt.Sprintf(`
apiVersion: isthmus/v1
kind: Service
metadata: {tenant: ot, network: ot-cloud, name: fabrikam}
spec: {type: iothub, hostName: fabrikam.azure-devices.net, target: %s, ports: [{port: 8883}, {port: 8443}], publicNetworkAccess: Disabled, proxyProtocol: true, servedBy: hub-1}
`, s.HubDirect))
	if err != nil {
		t.Fatal(err)
	}
	// fabrikam has no endpoint at all. A device of it goes through contoso's endpoint, under its own right name and key.
	var text string
	eventually(t, 10*time.Second, "the second hub is served", func() bool {
		_, ok := s.HubProcess.Server().ByHost("fabrikam.azure-devices.net")
		return ok
	})
	h, _ := s.HubProcess.Server().ByHost("fabrikam.azure-devices.net")
	if _, err := h.CreateDevice(t.Context(), device("press-9")); err != nil {
		t.Fatal(err)
	}
	if text, err = h.DeviceConnectionString(t.Context(), "press-9"); err != nil {
		t.Fatal(err)
	}
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	refused := func() bool {
		for _, r := range s.HubProcess.Server().Refusals() {
			if strings.Contains(r.Why, "contoso") && strings.Contains(r.Why, "fabrikam") && !strings.Contains(r.Why, "certificate") {
				return true
			}
		}
		return false
	}
	// At first there may be no certificate for the new name yet, which refuses for the wrong reason.
	eventually(t, 10*time.Second, "refused because of the link", func() bool {
		d, err := simulate.Dial(t.Context(), simulate.Config{ConnectionString: text, Roots: roots, Address: netip.AddrPortFrom(s.HubEndpoint, testworld.MQTTPort).String()})
		if err == nil {
			d.Close()
			t.Fatal("contoso's endpoint leads to fabrikam")
		}
		return refused()
	})
}
