package linkedhub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/linkedhub"
)

// remote is a hub's API with one device.
type remote struct {
	device *hubclient.Device
	twin   hubclient.Twin
	calls  []string
	err    error
}

func (r *remote) say(call string, args ...any) error {
	r.calls = append(r.calls, fmt.Sprintf(call, args...))
	return r.err
}

func (r *remote) Device(context.Context, string) (hubclient.Device, error) {
	if r.err != nil {
		return hubclient.Device{}, r.err
	}
	if r.device == nil {
		return hubclient.Device{}, fault.New("test", fault.NotFound, "none")
	}
	return *r.device, nil
}

func (r *remote) Create(_ context.Context, d hubclient.Device) (hubclient.Device, error) {
	if d.Authentication.Type == "sas" && d.Authentication.Keys == nil {
		d.Authentication.Keys = &hubclient.Keys{Primary: "made", Secondary: "too"}
	}
	r.device = &d
	return d, r.say("create %s", d.Authentication.Type)
}

func (r *remote) Update(_ context.Context, d hubclient.Device, ifMatch string) (hubclient.Device, error) {
	r.device = &d
	return d, r.say("update %s %s", d.Authentication.Type, ifMatch)
}

func (r *remote) Delete(context.Context, string, string) error {
	err := r.say("delete")
	if r.device == nil && err == nil {
		err = fault.New("test", fault.NotFound, "none")
	}
	r.device = nil
	return err
}

func (r *remote) Twin(context.Context, string) (hubclient.Twin, error) { return r.twin, r.err }

func (r *remote) PatchTwin(_ context.Context, _ string, t hubclient.Twin, _ string) (hubclient.Twin, error) {
	return t, r.say("patch %s %s", t.Tags, t.Properties.Desired)
}

func (r *remote) ReplaceTwin(_ context.Context, _ string, t hubclient.Twin, _ string) (hubclient.Twin, error) {
	return t, r.say("replace %s %s", t.Tags, t.Properties.Desired)
}

func (r *remote) Close() {}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func TestAssign(t *testing.T) {
	byKey := provisioning.Device{ID: "d", PrimaryKey: "p", SecondaryKey: "s"}
	byCert := provisioning.Device{ID: "d", X509: true, PrimaryThumbprint: "AB", Edge: true}
	byTPM := provisioning.Device{ID: "d"}
	there := func(kind string) *hubclient.Device {
		return &hubclient.Device{ID: "d", Status: "disabled", Authentication: &hubclient.Auth{Type: kind, Keys: &hubclient.Keys{Primary: "p", Secondary: "s"}, Thumbprints: &hubclient.Thumbprints{}}}
	}
	twin := provisioning.Twin{Tags: raw(`{"a":1}`)}
	for _, c := range []struct {
		name   string
		before *hubclient.Device
		d      provisioning.Device
		mode   provisioning.Mode
		twin   provisioning.Twin
		calls  []string
		keys   provisioning.Keys
	}{
		{"new by key", nil, byKey, provisioning.Merge, twin, []string{"create sas", `patch {"a":1} `}, provisioning.Keys{Primary: "p", Secondary: "s"}},
		{"new by TPM", nil, byTPM, provisioning.Keep, twin, []string{"create sas", `patch {"a":1} `}, provisioning.Keys{Primary: "made", Secondary: "too"}},
		{"new by certificate, without a twin", nil, byCert, provisioning.Merge, provisioning.Twin{}, []string{"create selfSigned"}, provisioning.Keys{}},
		{"there and the same", there("sas"), byKey, provisioning.Keep, twin, nil, provisioning.Keys{Primary: "p", Secondary: "s"}},
		{"there, by TPM", there("sas"), byTPM, provisioning.Keep, twin, nil, provisioning.Keys{Primary: "p", Secondary: "s"}},
		{"there and another kind", there("selfSigned"), byKey, provisioning.Merge, twin, []string{"update sas *", `patch {"a":1} `}, provisioning.Keys{Primary: "p", Secondary: "s"}},
		{"there, to be reset", there("sas"), byKey, provisioning.Reset, provisioning.Twin{}, []string{`replace {} {}`}, provisioning.Keys{Primary: "p", Secondary: "s"}},
		{"there, an edge device now", there("sas"), byCert, provisioning.Keep, twin, []string{"update selfSigned *"}, provisioning.Keys{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &remote{device: c.before}
			keys, err := linkedhub.New(r).Assign(t.Context(), c.d, c.twin, c.mode)
			if err != nil || keys != c.keys || !slices.Equal(r.calls, c.calls) {
				t.Errorf("%q, %+v, %v", r.calls, keys, err)
			}
			if c.before != nil && r.device.Status != "disabled" {
				t.Error("what an operator disabled is enabled")
			}
			r.calls = nil // again, after a crash
			if again, err := linkedhub.New(r).Assign(t.Context(), c.d, c.twin, provisioning.Keep); err != nil || again != keys || len(r.calls) != 0 {
				t.Errorf("again: %q, %+v, %v", r.calls, again, err)
			}
		})
	}
}

func TestTwinAndRelease(t *testing.T) {
	r := &remote{twin: hubclient.Twin{Tags: raw(`{"a":1}`), Properties: hubclient.TwinProperties{Desired: raw(`{"b":2,"$version":3,"$metadata":{}}`), Reported: raw(`null`)}}}
	h := linkedhub.New(r)
	got, err := h.Twin(t.Context(), "d")
	if err != nil || string(got.Tags) != `{"a":1}` || string(got.Desired) != `{"b":2}` || got.Reported != nil {
		t.Errorf("%s %s %s, %v", got.Tags, got.Desired, got.Reported, err)
	}
	if err := h.Release(t.Context(), "d"); err != nil {
		t.Errorf("a device that is not there: %v", err)
	}
	for kind, want := range map[fault.Kind]fault.Kind{
		fault.Unavailable: fault.Unavailable, fault.Timeout: fault.Unavailable, fault.Exhausted: fault.Unavailable, fault.Denied: fault.Denied,
		fault.Unauthenticated: fault.Denied, fault.Invalid: fault.Invalid, fault.Conflict: fault.Conflict,
	} {
		r.err = fault.New("hub", kind, "words of the hub's own")
		_, err := h.Assign(t.Context(), provisioning.Device{ID: "d"}, provisioning.Twin{}, provisioning.Keep)
		if fault.KindOf(err) != want || strings.Contains(fault.Message(err), "of the hub") {
			t.Errorf("%v: %v", kind, err)
		}
	}
}

func TestDial(t *testing.T) {
	dial := linkedhub.Dial(nil, clock.System{})
	if _, err := dial("s", sas.ConnectionString{HostName: "h", DeviceID: "d", Key: "secret"}); fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "secret") {
		t.Errorf("a device's string: %v", err)
	}
	h, err := dial("s", sas.ConnectionString{HostName: "127.0.0.1:1", Policy: "iothubowner", Key: "c2VjcmV0"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := h.Twin(ctx, "d"); fault.KindOf(err) != fault.Unavailable || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("nobody there: %v", err)
	}
}
