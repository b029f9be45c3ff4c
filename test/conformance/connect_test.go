package conformance

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// TestRefusals has also the hub's own rule for its public side.
func TestRefusals(t *testing.T) {
	covers(t, "C05", "azure-iot-device-mqtt")
	covers(t, "C06", "azure-iot-device-mqtt")
	w := start(t, hubtest.Options{})
	d, other := w.Device(hubtest.Contoso, "d"), w.Device(hubtest.Contoso, "other")
	disabled := w.Device(hubtest.Contoso, "disabled")
	disabled.Status = hubstore.Disabled
	if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), disabled.Device, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	expired, err := sas.Sign(hubtest.Contoso+"/devices/d", d.PrimaryKey, "", time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	nobody := hub.Device{Device: hubstore.Device{ID: "nobody", PrimaryKey: d.PrimaryKey}}
	forged := hub.Device{Device: hubstore.Device{ID: "d", PrimaryKey: other.PrimaryKey}}
	for _, c := range []struct{ name, env, why string }{
		{"wrong key", deviceString(hubtest.Contoso, forged), "not signed"},
		{"unknown device", deviceString(hubtest.Contoso, nobody), "no device"},
		{"disabled device", deviceString(hubtest.Contoso, disabled), "is disabled"},
		{"foreign hub", deviceString("nowhere.azure-devices.net", d), ""},
		{"expired token", "DEVICE=HostName=" + hubtest.Contoso + ";DeviceId=d;SharedAccessSignature=" + expired, "the token ended"},
		{"public side closed", deviceString(hubtest.Contoso, d), "no public network access"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "public side closed" {
				w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
			}
			play(t, w, "connect.js", "open", c.env).wants("error", "UnauthorizedError")
			if list := w.Server.Refusals(); c.why != "" && (len(list) == 0 || !strings.Contains(list[0].Why, c.why)) {
				t.Errorf("people are told %+v, want %q", list, c.why)
			}
		})
	}
}

func TestTakeover(t *testing.T) {
	covers(t, "C08", "azure-iot-device-mqtt")
	w := start(t, hubtest.Options{})
	s := play(t, w, "connect.js", "takeover", deviceString(hubtest.Contoso, w.Device(hubtest.Contoso, "d")))
	s.next() // the first saw its connection go
	s.wants("second", true)
	if e := w.Events(hubtest.Contoso, 1)[0]; string(e.Body) != "second lives" {
		t.Errorf("got %q", e.Body)
	}
}

func TestDisableCuts(t *testing.T) {
	covers(t, "C47", "azure-iot-device-mqtt")
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	s := play(t, w, "connect.js", "cut", deviceString(hubtest.Contoso, d))
	s.wants("opened", true)
	if got, err := w.Hub(hubtest.Contoso).Device(t.Context(), "d"); err != nil || !got.Connected {
		t.Errorf("connected: %v, %v", got.Connected, err)
	}
	d.Status = hubstore.Disabled
	if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), d.Device, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	s.wants("gone", true)
	s.wants("error", "UnauthorizedError")
}

// TestReconnect shows that a cut link heals by itself once it may.
func TestReconnect(t *testing.T) {
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	s := play(t, w, "connect.js", "reconnect", deviceString(hubtest.Contoso, d))
	s.wants("opened", true)
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicEnabled })
	s.goOn()
	s.wants("sent", 1)
	if e := w.Events(hubtest.Contoso, 1)[0]; string(e.Body) != "after the cut" {
		t.Errorf("got %q", e.Body)
	}
}
