package simulate_test

import (
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	eventdoor "github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/node/amqpnode"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// everyProtocol is what devices may speak.
var everyProtocol = []string{"mqtt", "mqtt-ws", "amqp", "amqp-ws", "https"}

// withAMQP has a world speak AMQP as a hub process does.
func withAMQP(o hubtest.Options) hubtest.Options {
	log := hubtest.Silent()
	o.AMQP = func(w *hubtest.World) hubtest.AMQP {
		doors := amqpnode.Doors{
			Hubs: amqpdoor.New(amqpdoor.Config{}, w.Server, log, clock.System{}), EventHubs: eventdoor.New(eventdoor.Config{}, log, clock.System{}, nil),
			Namespace: func(*hub.Hub) (eventhub.Directory, bool) { return nil, false },
			Builtin:   func(h *hub.Hub) eventhub.Directory { return builtin.New(h) },
		}
		return amqpnode.New(doors, w.Server, engine.New(engine.Config{}, log, clock.System{}, nil), log)
	}
	return o
}

// speaking returns the settings that have devices speak a protocol to the hub.
func (w *hubWorld) speaking(protocol string) []string {
	address := map[string]string{"mqtt": w.MQTT, "amqp": w.AMQP}[protocol]
	if address == "" {
		address = w.HTTPS
	}
	return []string{"ISTHMUS_SIMULATE_PROTOCOL=" + protocol, "ISTHMUS_SIMULATE_ADDRESS=" + address}
}

// TestEveryProtocol sends through storms and proves that the hub has each message, once and in order.
func TestEveryProtocol(t *testing.T) {
	w := startHub(t, withAMQP(hubtest.Options{Front: front.Config{MaxConnections: 1000, MaxPerSource: 1000}}))
	for _, protocol := range everyProtocol {
		t.Run(protocol, func(t *testing.T) {
			s := w.settings(t, append(w.speaking(protocol), "DevicePrefix="+protocol, "DeviceCount=50", "MessageCount=20", "Interval=20", "DuplicateEvery=20", `Header={"line": "$.Counter"}`,
				"ISTHMUS_SIMULATE_STORM=every=120ms,share=0.4", "ISTHMUS_SIMULATE_VERIFY=true")...)
			w.create(t, s)
			r := w.run(t, s)
			if !r.OK() || r.Devices.Finished != 50 || r.Messages.Acknowledged != 1000 || r.Verified.Received != 1000 || r.Protocol != protocol {
				t.Fatalf("%s", show(r))
			}
			if r.Connections.Stormed == 0 || r.Messages.Duplicated == 0 || r.Connections.Made > 50+r.Connections.Stormed {
				t.Errorf("%s", show(r))
			}
		})
	}
}

// A hub that allows a device little holds its messages back, or turns them down over HTTPS; either way all arrive, once and in order.
func TestAThrottledHub(t *testing.T) {
	w := startHub(t, withAMQP(hubtest.Options{}))
	if _, err := w.Hub(hubtest.Contoso).SetLimits(t.Context(), []byte(`{"device":{"messages":{"perSecond":20,"burst":5}}}`), "test"); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"mqtt", "amqp", "https"} {
		s := w.settings(t, append(w.speaking(protocol), "DevicePrefix="+protocol, "DeviceCount=3", "MessageCount=12", "Interval=1", "ISTHMUS_SIMULATE_VERIFY=true")...)
		w.create(t, s)
		r := w.run(t, s)
		if !r.OK() || r.Verified.Received != 36 || r.Verified.Repeated != 0 || r.Seconds < 0.2 || (r.Messages.Deferred > 0) != (protocol == "https") {
			t.Errorf("%s: %s", protocol, show(r))
		}
	}
}
