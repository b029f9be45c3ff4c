package localhub_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/localhub"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func world(t *testing.T) (*hub.Hub, provisioning.Hub, localhub.Hubs) {
	t.Helper()
	w := hubtest.Start(t, hubtest.Options{})
	w.Plans = append(w.Plans, plan.Hub{
		ID: "uid-fleet", Name: "ot/ot-cloud/fleet", HostNames: []string{"fleet.azure-devices-provisioning.net"}, Type: resource.TypeDPS, Public: resource.PublicEnabled,
	}, plan.Hub{
		ID: "uid-events", Name: "ot/ot-cloud/events", HostNames: []string{"events.servicebus.example.com"}, Type: resource.TypeEventHubs, Public: resource.PublicEnabled,
	})
	if err := w.Server.SetHubs(w.Plans); err != nil {
		t.Fatal(err)
	}
	all := localhub.New(w.Server)
	one, err := all.Hub("uid-fleet", hubtest.Contoso)
	if err != nil {
		t.Fatal(err)
	}
	return w.Hub(hubtest.Contoso), one, all
}

func TestOnlyHubsOfTheTenant(t *testing.T) {
	_, _, all := world(t)
	if got := all.Names("uid-fleet"); !slices.Equal(got, []string{hubtest.Contoso}) {
		t.Errorf("names %v", got)
	}
	for _, host := range []string{hubtest.Fabrikam, "nowhere.azure-devices.net", "fleet.azure-devices-provisioning.net", "events.servicebus.example.com"} {
		if _, err := all.Hub("uid-fleet", host); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v", host, err)
		}
	}
	if got := all.Names("uid-nobody"); got != nil {
		t.Errorf("names for nobody: %v", got)
	}
}

func TestAssignedAgainAndAgain(t *testing.T) {
	h, one, _ := world(t)
	ctx := t.Context()
	twin := provisioning.Twin{Tags: json.RawMessage(`{"plant":"43"}`), Desired: json.RawMessage(`{"rate":5}`)}
	first, err := one.Assign(ctx, provisioning.Device{ID: "d"}, twin, provisioning.Keep)
	if err != nil || first.Primary == "" || first.Secondary == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	check := func(step, tags, desired string) {
		t.Helper()
		got, err := one.Twin(ctx, "d")
		if err != nil || string(got.Tags) != tags || string(got.Desired) != desired {
			t.Errorf("%s: %s %s, %v", step, got.Tags, got.Desired, err)
		}
	}
	check("made", `{"plant":"43"}`, `{"rate":5}`)
	if _, err := h.PatchTwin(ctx, hub.Name{Device: "d"}, []byte(`{"tags":{"line":2}}`), ""); err != nil {
		t.Fatal(err)
	}
	again, err := one.Assign(ctx, provisioning.Device{ID: "d"}, twin, provisioning.Keep)
	if err != nil || again != first {
		t.Errorf("other keys: %v, %v", again != first, err)
	}
	check("kept", `{"line":2,"plant":"43"}`, `{"rate":5}`)
	if _, err := one.Assign(ctx, provisioning.Device{ID: "d"}, provisioning.Twin{Desired: json.RawMessage(`{"rate":6}`)}, provisioning.Merge); err != nil {
		t.Fatal(err)
	}
	check("merged", `{"line":2,"plant":"43"}`, `{"rate":6}`)
	if _, err := one.Assign(ctx, provisioning.Device{ID: "d", Edge: true}, provisioning.Twin{Tags: json.RawMessage(`{"plant":"44"}`)}, provisioning.Reset); err != nil {
		t.Fatal(err)
	}
	check("reset", `{"plant":"44"}`, "")
	if list, err := h.Modules(ctx, "d"); err != nil || len(list) != 2 {
		t.Errorf("an edge device's modules: %d, %v", len(list), err)
	}
	got, err := one.Assign(ctx, provisioning.Device{ID: "d", X509: true, PrimaryThumbprint: strings.Repeat("ab", 32)}, provisioning.Twin{}, provisioning.Keep)
	if err != nil || got != (provisioning.Keys{}) {
		t.Errorf("keys of a device with a certificate: %v", err)
	}
	if d, err := h.Device(ctx, "d"); err != nil || d.AuthType != hub.AuthSelfSigned {
		t.Errorf("%+v, %v", d.AuthType, err)
	}
	for range 2 {
		if err := one.Release(ctx, "d"); err != nil {
			t.Error(err)
		}
	}
	if _, err := one.Twin(ctx, "d"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("after it was released: %v", err)
	}
}
