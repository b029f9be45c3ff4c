package eventhubs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/test/device"
)

// TestBuiltin: a hub's events, by the connection string for Event Hubs and by the way that starts at the hub.
func TestBuiltin(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	text, err := w.iot.PolicyConnectionString(hub.PolicyService)
	if err != nil {
		t.Fatal(err)
	}
	service, err := sas.ParseConnectionString(text)
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.iot.CreateDevice(t.Context(), hubstore.Device{ID: "press-1"})
	if err != nil {
		t.Fatal(err)
	}
	w.telemetry(t, d)
	partition := w.eventPartition(t)
	direct, err := builtin.ConnectionString(w.iot, hub.PolicyService, hub.Primary)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("redirect", func(t *testing.T) {
		t.Parallel()
		covers(t, "EH26", npm("rhea-promise"))
		c := exec.CommandContext(t.Context(), "node", "redirect.js", w.iot.HostName(), "5671", service.Policy, service.Key)
		c.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+w.ca, "DIAL="+strings.TrimSuffix(w.iotAMQPS, ":5671"))
		c.Stderr = os.Stderr
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var found struct {
			Hostname, NetworkHost, Address, Entity string
			Port                                   int
		}
		if err := json.Unmarshal(out, &found); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if found.Hostname != builtin.NamespaceHost(w.iot) || found.NetworkHost != found.Hostname || found.Port != 5671 || found.Entity != builtin.EntityName(w.iot) {
			t.Errorf("it is told %+v", found)
		}
		u := w.driver(t, js)
		u.must("open", m{"client": "c", "kind": "consumer", "endpoint": w.iotAMQPS, "connection": w.at(found.Hostname, found.Entity, service.Policy, service.Key)})
		u.must("read", m{"client": "c", "reader": "r", "partition": partition, "position": m{"earliest": true}})
		u.receives("r", partition, 1)
	})
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			covers(t, "EH26", s.with)
			u := w.driver(t, s)
			at := m{"connection": direct, "endpoint": w.iotAMQPS, "ca": w.ca}
			u.must("open", at, m{"client": "c", "kind": "consumer"})
			if h := u.must("hub", m{"client": "c"}); h.text("name") != builtin.EntityName(w.iot) {
				t.Errorf("the event hub is %v", h)
			}
			u.must("read", m{"client": "c", "reader": "r", "partition": partition, "position": m{"earliest": true}})
			e := u.receives("r", partition, 1)[0]
			wantBodies(t, []answer{e}, `{"t":21.5}`)
			for name, want := range map[string]string{
				"iothub-connection-device-id": "press-1", "iothub-connection-auth-generation-id": d.Generation, "iothub-message-source": "Telemetry",
			} {
				if v, _ := e.at("system." + name + ".string").(string); v != want {
					t.Errorf("%s is %v, want %q", name, e.at("system."+name), want)
				}
			}
			if v, _ := e.at("system.iothub-connection-auth-method.string").(string); !strings.Contains(v, `"scope":"device"`) || !json.Valid([]byte(v)) {
				t.Errorf("iothub-connection-auth-method is %v", e.at("system.iothub-connection-auth-method"))
			}
			kind := map[string]string{js.name: "number", golang.name: "timestamp"}[s.name] // times are numbers to the one
			if at, _ := e.at("system.iothub-enqueuedtime." + kind).(float64); !recent(int64(at)) {
				t.Errorf("iothub-enqueuedtime is %v", e.at("system.iothub-enqueuedtime"))
			}
			sameEach(t, "property", e["properties"], m{"messageId": m{"string": "m-1"}, "correlationId": m{"string": "c-1"}, "contentType": m{"string": "application/json"}, "contentEncoding": m{"string": "utf-8"}})
			sameEach(t, "application property", e["application"], m{"line": m{"string": "7"}})
			u.must("open", at, m{"client": "p", "kind": "producer"})
			if e := u.fails("send", m{"client": "p"}, texts("no")); !strings.Contains(e.text("message"), "'Send' claim(s) are required") {
				t.Errorf("who sends there hears %v", e)
			}
		})
	}
}

// telemetry has a device say one thing over MQTT.
func (w *world) telemetry(t *testing.T, d hub.Device) {
	t.Helper()
	cfg := w.trust(t)
	cfg.ServerName = w.iot.HostName()
	c, err := device.Dial(within(t), device.Config{Address: w.address + ":8883", TLS: cfg, ID: d.ID, Key: d.PrimaryKey})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bag := "$.mid=m-1&$.cid=c-1&$.ct=application%2Fjson&$.ce=utf-8&line=7"
	acked := make(chan struct{})
	if err := c.Send(bag, []byte(`{"t":21.5}`), false, func() { close(acked) }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-acked:
	case <-within(t).Done():
		t.Fatal("the message is not acknowledged")
	}
}

// eventPartition is the one with events.
func (w *world) eventPartition(t *testing.T) string {
	t.Helper()
	n, err := w.iot.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for p := range n {
		if first, next := w.iot.Bounds(p); next > first {
			return fmt.Sprint(p)
		}
	}
	t.Fatal("the hub has no event")
	return ""
}
