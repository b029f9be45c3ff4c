package conformance

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// transport is a name that devices.js has for one, and its package.
type transport struct{ name, pkg string }

// Over all but the last, a device stays connected.
var (
	transports = []transport{
		{"mqtt", "azure-iot-device-mqtt"}, {"mqttws", "azure-iot-device-mqtt"}, {"amqp", "azure-iot-device-amqp"}, {"amqpws", "azure-iot-device-amqp"},
		{"http", "azure-iot-device-http"},
	}
	lasting = transports[:4]
)

func (tr transport) amqp() bool { return strings.HasPrefix(tr.name, "amqp") }

// overWebSocket tells whether it is the second of its kind, for which the half of the tests is enough.
func (tr transport) overWebSocket() bool { return strings.HasSuffix(tr.name, "ws") }

// moduleString is the connection string of a module.
func moduleString(m hub.Device) string {
	return "MODULE=" + strings.TrimPrefix(deviceString(hubtest.Contoso, m), "DEVICE=")
}

// connected tells whether the registry says so.
func connected(t *testing.T, w *hubtest.World, n hub.Name) bool {
	t.Helper()
	d, err := w.Hub(hubtest.Contoso).Identity(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return d.Connected
}

// newEvents returns a function that waits for the next n events of a world, each once.
func newEvents(t *testing.T, w *hubtest.World) func(n int) []eventlog.Event {
	seen := map[eventlog.Position]bool{}
	return func(n int) (out []eventlog.Event) {
		t.Helper()
		for _, e := range w.Events(hubtest.Contoso, len(seen)+n) {
			at := eventlog.Position{Partition: e.Partition, Sequence: e.Sequence}
			if !seen[at] {
				seen[at] = true
				out = append(out, e)
			}
		}
		return out
	}
}

func TestConnect(t *testing.T) {
	beside(t)
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	m := w.Module(hubtest.Contoso, "d", "m")
	come := newEvents(t, w)
	for _, tr := range lasting {
		for _, c := range []struct {
			id, who, env string
			d            hub.Device
		}{{"C01", "device", deviceString(hubtest.Contoso, d), d}, {"C02", "module", moduleString(m), m}} {
			if tr.amqp() {
				c.id = "C11"
			}
			t.Run(c.id+" "+c.who+" over "+tr.name, func(t *testing.T) {
				covers(t, c.id, tr.pkg)
				if tr.name == "amqpws" {
					covers(t, "C12", tr.pkg)
				}
				s := play(t, w, "connect.js", "speak", c.env, "TRANSPORT="+tr.name)
				s.step("open", "")
				if !tr.amqp() && !connected(t, w, c.d.Name()) {
					t.Error("the registry does not say that it is connected")
				}
				s.goOn()
				s.step("send", "")
				if !connected(t, w, c.d.Name()) { // over AMQP a device is there when it has a link
					t.Error("the registry does not say that it is connected")
				}
				s.goOn()
				e := come(1)[0]
				if string(e.Body) != "as it is" || e.System["iothub-connection-device-id"] != "d" || e.System["iothub-connection-module-id"] != c.d.Module {
					t.Errorf("it sent %q %v", e.Body, e.System)
				}
				if c.d.Module != "" {
					s.step("output", "")
					if e := come(1)[0]; string(e.Body) != "by an output" || e.System["iothub-outputname"] != "alarm" {
						t.Errorf("its output is %q %v %v", e.Body, e.System, e.Properties)
					}
				}
				s.step("close", "")
				eventually(t, "the registry's word that it is gone", func() bool { return !connected(t, w, c.d.Name()) })
				s.goOn()
			})
		}
	}
}

// attempt is how somebody tries to connect, and how it ends.
type attempt struct {
	Name   string `json:"name"`
	Device string `json:"device,omitempty"` // a connection string
	Token  string `json:"token,omitempty"`  // instead of one
	Cert   string `json:"cert,omitempty"`
	Key    string `json:"key,omitempty"`
	wrong  string // class of the error
	why    string // what people are told
}

func tryAll(t *testing.T, w *hubtest.World, transport string, list []attempt) {
	t.Helper()
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	s := play(t, w, "connect.js", "attempts", "TRANSPORT="+transport, "ATTEMPTS="+string(text))
	for _, a := range list {
		s.step(a.Name, a.wrong)
	}
	var told strings.Builder
	for _, r := range w.Server.Refusals() {
		told.WriteString(r.Why + "\n")
	}
	for _, a := range list {
		if !strings.Contains(told.String(), a.why) {
			t.Errorf("%s: people are told\n%s and not %q", a.Name, told.String(), a.why)
		}
	}
}

func sign(t *testing.T, resource, key, policy string, lasts time.Duration) string {
	t.Helper()
	token, err := sas.Sign(resource, key, policy, time.Now().Add(lasts))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRefusals(t *testing.T) {
	beside(t)
	w := start(t, hubtest.Options{})
	d, other := w.Device(hubtest.Contoso, "d"), w.Device(hubtest.Contoso, "other")
	disabled := w.Device(hubtest.Contoso, "disabled")
	disabled.Status = hubstore.Disabled
	if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), disabled.Device, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	at := func(host, id, key string) string {
		return sas.ConnectionString{HostName: host, DeviceID: id, Key: key}.String()
	}
	policy := func(name string) string {
		text, err := w.Hub(hubtest.Contoso).PolicyConnectionString(name)
		if err != nil {
			t.Fatal(err)
		}
		cs, err := sas.ParseConnectionString(text)
		if err != nil {
			t.Fatal(err)
		}
		return cs.Key
	}
	byPolicy := func(name string) attempt {
		return attempt{Name: "policy " + name, Device: "HostName=" + hubtest.Contoso + ";DeviceId=d;SharedAccessKeyName=" + name + ";SharedAccessKey=" + policy(name)}
	}
	no := func(a attempt, why string) attempt {
		a.wrong, a.why = "UnauthorizedError", why
		return a
	}
	both := []attempt{
		{Name: "right key", Device: at(hubtest.Contoso, "d", d.PrimaryKey)},
		{Name: "second key", Device: at(hubtest.Contoso, "d", d.SecondaryKey)},
		no(attempt{Name: "wrong key", Device: at(hubtest.Contoso, "d", other.PrimaryKey)}, "not signed"),
		no(attempt{Name: "unknown device", Device: at(hubtest.Contoso, "nobody", d.PrimaryKey)}, "no device"),
		no(attempt{Name: "disabled device", Device: at(hubtest.Contoso, "disabled", disabled.PrimaryKey)}, "is disabled"),
		no(attempt{Name: "expired token", Token: sign(t, hubtest.Contoso+"/devices/d", d.PrimaryKey, "", -time.Minute)}, "the token ended"),
	}
	policies := []attempt{
		byPolicy(hub.PolicyDevice), byPolicy(hub.PolicyOwner), no(byPolicy(hub.PolicyService), "policy service does not have DeviceConnect"), no(byPolicy("registryReadWrite"), "policy registryReadWrite does not have DeviceConnect"),
		{Name: "token of the policy device", Token: sign(t, hubtest.Contoso+"/devices/other", policy(hub.PolicyDevice), hub.PolicyDevice, time.Hour)},
	}
	for _, tr := range transports {
		t.Run("C05 wrong key, expired token, unknown and disabled device over "+tr.name, func(t *testing.T) {
			covers(t, "C05", tr.pkg)
			covers(t, "C06", tr.pkg)
			foreign := no(attempt{Name: "foreign hub", Device: at("nowhere.azure-devices.net", "d", d.PrimaryKey)}, "")
			switch { // TLS refuses it
			case tr.amqp():
				foreign.wrong = "NotConnectedError"
			case tr.name == "http":
				foreign.wrong = "Error"
			}
			tryAll(t, w, tr.name, append(slices.Clone(both), foreign))
		})
		t.Run("C07 tokens of policies over "+tr.name, func(t *testing.T) {
			covers(t, "C07", tr.pkg)
			tryAll(t, w, tr.name, policies)
		})
	}
	t.Run("public side closed", func(t *testing.T) {
		w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
		tryAll(t, w, "mqtt", []attempt{no(both[0], "no public network access")})
	})
}

func TestTakeover(t *testing.T) {
	beside(t)
	w := start(t, hubtest.Options{})
	come := newEvents(t, w)
	for _, tr := range []transport{lasting[0], lasting[2]} {
		t.Run("C08 over "+tr.name, func(t *testing.T) {
			covers(t, "C08", tr.pkg)
			env := deviceString(hubtest.Contoso, w.Device(hubtest.Contoso, tr.name))
			s := play(t, w, "connect.js", "takeover", env, "TRANSPORT="+tr.name)
			s.next() // the first saw its connection go
			s.wants("second", true)
			if e := come(2); string(e[0].Body)+string(e[1].Body) != "first livessecond lives" {
				t.Errorf("got %q and %q", e[0].Body, e[1].Body)
			}
			play(t, w, "connect.js", "back", env, "TRANSPORT="+tr.name).wants("first", true)
			if e := come(2); string(e[0].Body)+", "+string(e[1].Body) != "second comes, first is back" {
				t.Errorf("got %q and %q", e[0].Body, e[1].Body)
			}
		})
	}
}

func TestDisableCuts(t *testing.T) {
	beside(t)
	w := start(t, hubtest.Options{})
	for _, tr := range lasting {
		t.Run("C47 over "+tr.name, func(t *testing.T) {
			covers(t, "C47", tr.pkg)
			d := w.Device(hubtest.Contoso, tr.name)
			s := play(t, w, "connect.js", "cut", deviceString(hubtest.Contoso, d), "TRANSPORT="+tr.name)
			s.wants("opened", true)
			if !connected(t, w, d.Name()) {
				t.Error("the registry does not say that it is connected")
			}
			d.Status = hubstore.Disabled
			if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), d.Device, hub.AnyETag); err != nil {
				t.Fatal(err)
			}
			s.wants("gone", true)
			s.wants("error", "UnauthorizedError")
		})
	}
}

// TestReconnect shows that a cut link heals by itself once it may.
func TestReconnect(t *testing.T) {
	beside(t)
	w := start(t, hubtest.Options{})
	come := newEvents(t, w)
	for _, tr := range []transport{lasting[0], lasting[2]} {
		t.Run("over "+tr.name, func(t *testing.T) {
			s := play(t, w, "connect.js", "reconnect", deviceString(hubtest.Contoso, w.Device(hubtest.Contoso, tr.name)), "TRANSPORT="+tr.name)
			s.wants("opened", true)
			w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
			w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicEnabled })
			s.goOn()
			s.wants("sent", 1)
			if e := come(2); string(e[1].Body) != "after the cut" {
				t.Errorf("got %q and %q", e[0].Body, e[1].Body)
			}
		})
	}
}
