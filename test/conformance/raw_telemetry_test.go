package conformance

import (
	"maps"
	"testing"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// eventOf waits for an event with this body.
func eventOf(t *testing.T, w *hubtest.World, body string) eventlog.Event {
	t.Helper()
	for n := 1; ; n++ {
		for _, e := range w.Events(hubtest.Contoso, n) {
			if string(e.Body) == body {
				return e
			}
		}
	}
}

func TestRawTelemetry(t *testing.T) {
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	p := connectRaw(t, w, carriers[0], hello(w, d), false)
	for i, c := range []struct {
		id, name, bag      string
		retain, dup        bool
		properties, system map[string]string
	}{
		{"C17", "null, empty and unicode", "/none&empty=&unit=%C2%B0C&a%26b=%3D%25&plus=a+b/", false, false,
			map[string]string{"none": "", "empty": "", "unit": "°C", "a&b": "=%", "plus": "a+b"}, nil},
		{"C17", "system properties in both spellings", "/%24.mid=one&$.cid=two&$.ct=text%2Fplain&$.ce=utf-8&$.exp=2030-01-01T00%3A00%3A00Z&$.to=x&$.unknown=y&k=v", false, false,
			map[string]string{"k": "v"}, map[string]string{"message-id": "one", "correlation-id": "two", "content-type": "text/plain", "content-encoding": "utf-8", "absolute-expiry-time": "2030-01-01T00:00:00Z", "to": "x"}},
		{"C17", "no bag and no slash", "", false, false, nil, nil},
		{"C17", "what only the hub says", "/$.cdid=other&iothub-connection-device-id=other", false, false, map[string]string{"iothub-connection-device-id": "other"}, nil},
		{"C19", "RETAIN", "/k=v", true, false, map[string]string{"k": "v", "mqtt-retain": "true"}, nil},
		{"C19", "DUP", "/", false, true, map[string]string{"mqtt-dup": "true"}, nil},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			covers(t, c.id, rawMQTT)
			m := rawPublish("devices/d/messages/events"+c.bag, c.name, uint16(i+1))
			m.Retain, m.Dup = c.retain, c.dup
			p.send(m)
			if got := p.next(); got != (mqtt.Ack{Of: mqtt.PUBACK, ID: uint16(i + 1)}) {
				t.Fatalf("it gets %+v", got)
			}
			e := eventOf(t, w, c.name)
			system := stamped(d, map[string]string{})
			maps.Copy(system, c.system)
			if len(e.Properties)+len(c.properties) > 0 && !maps.Equal(e.Properties, c.properties) || !maps.Equal(e.System, system) {
				t.Errorf("%v %v\nwant %v %v", e.Properties, e.System, c.properties, system)
			}
		})
	}
	t.Run("C19 nothing is retained", func(t *testing.T) {
		covers(t, "C19", rawMQTT)
		p.subscribes(1, "devices/d/messages/devicebound/#")
		p.silent()
	})
}

func TestWills(t *testing.T) {
	covers(t, "C19", rawMQTT)
	w := start(t, hubtest.Options{})
	with := func(id, topic string) *mqtt.Connect {
		c := hello(w, w.Device(hubtest.Contoso, id))
		c.Will = &mqtt.Will{Topic: topic, Payload: []byte("the will of " + id), QoS: 1}
		return c
	}
	foreign := dialRaw(t, w, carriers[0])
	foreign.send(with("foreign", "devices/other/messages/events/"))
	if ack := foreign.next(); ack == (mqtt.Connack{}) {
		t.Errorf("a will for another's topic is taken")
	}
	connectRaw(t, w, carriers[0], with("polite", "devices/polite/messages/events/"), false).send(mqtt.Bare(mqtt.DISCONNECT))
	eventually(t, "the end of the polite one", func() bool { return w.Hub(hubtest.Contoso).Connected() == 0 })
	if err := connectRaw(t, w, carriers[0], with("lost", "devices/lost/messages/events/line=3"), false).Close(); err != nil {
		t.Fatal(err)
	}
	e := w.Events(hubtest.Contoso, 1)[0]
	if want := map[string]string{"line": "3", "iothub-MessageType": "Will"}; string(e.Body) != "the will of lost" || !maps.Equal(e.Properties, want) {
		t.Errorf("%q %v, want %v", e.Body, e.Properties, want)
	}
}
