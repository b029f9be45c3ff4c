package mqttdoor_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// again connects a device that exists; present is what CONNACK has to say of its session.
func again(t *testing.T, w *hubtest.World, d hub.Device, clean, present bool) *peer {
	t.Helper()
	p := dial(t, w, nil, hubtest.Contoso)
	id, token := d.ID, w.Token(hubtest.Contoso, d)
	if d.Module != "" {
		id, token = d.ID+"/"+d.Module, w.ModuleToken(hubtest.Contoso, d)
	}
	c := connect(hubtest.Contoso, id, token)
	c.CleanSession = clean
	p.send(c)
	if ack := p.next(); ack != (mqtt.Connack{SessionPresent: present}) {
		t.Fatalf("got %+v, session present should be %v", ack, present)
	}
	return p
}

func command(t *testing.T, w *hubtest.World, n hub.Name, c hub.Command) hub.Command {
	t.Helper()
	sent, err := w.Hub(hubtest.Contoso).SendCommand(t.Context(), n, c)
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

func depth(t *testing.T, w *hubtest.World, n hub.Name, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages wait for %s", want, n), func() bool {
		got, err := w.Hub(hubtest.Contoso).Depth(t.Context(), n)
		return err == nil && got == want
	})
}

const devicebound = "devices/d/messages/devicebound/#"

// TestCommands is C21, C25 and C26 on the wire.
func TestCommands(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	n := hub.Name{Device: "d"}
	d := w.Device(hubtest.Contoso, "d")
	sent := command(t, w, n, hub.Command{
		MessageID: "m 1", CorrelationID: "ü", UserID: "u", ContentType: "text/plain", ContentEncoding: "utf-8", Ack: "full", Expires: time.Now().Add(time.Hour),
		To: "/devices/d/messages/deviceBound", Properties: map[string]string{"a+b": "c&d=e", "empty": "", "$x": "%"}, Body: []byte("one"),
	})
	p := again(t, w, d, true, false)
	p.send(mqtt.Bare(mqtt.PINGREQ)) // nothing comes to who is not subscribed
	if got := p.next(); got != mqtt.Bare(mqtt.PINGRESP) {
		t.Fatalf("got %+v", got)
	}
	p.subscribes(devicebound)
	m := p.hears()
	want := "devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound&%24.mid=m%201&%24.cid=%C3%BC&%24.uid=u&%24.ct=text%2Fplain&%24.ce=utf-8&%24.exp=" +
		strings.ReplaceAll(sent.Expires.UTC().Format("2006-01-02T15:04:05.000Z"), ":", "%3A") + "&iothub-ack=full&%24x=%25&a%2Bb=c%26d%3De&empty="
	if string(m.Topic) != want || string(m.Payload) != "one" || m.QoS != 1 || m.ID == 0 || m.Dup || m.Retain {
		t.Errorf("it hears %+v %s %s\nwant %s", m, m.Topic, m.Payload, want)
	}
	command(t, w, n, hub.Command{Body: []byte("two")})
	second := p.hears()
	if string(second.Payload) != "two" || second.ID == m.ID {
		t.Errorf("then it hears %+v %s", second, second.Payload)
	}
	p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: second.ID}, mqtt.Ack{Of: mqtt.PUBACK, ID: 9999})
	depth(t, w, n, 1)

	// It was not acknowledged, so it comes again, as the same packet; to one with a new session after it has subscribed.
	p.send(mqtt.Bare(mqtt.DISCONNECT))
	p = again(t, w, d, false, false)
	p.subscribes(devicebound)
	if got := p.hears(); string(got.Payload) != "one" || got.ID != m.ID || !got.Dup {
		t.Errorf("again it hears %+v %s", got, got.Payload)
	}
	p.lose() // lost, not said
	eventually(t, "it is gone", func() bool { return w.Hub(hubtest.Contoso).Connected() == 0 })

	// With clean session 0 the subscription is still there.
	p = again(t, w, d, false, true)
	got := p.hears()
	if string(got.Payload) != "one" || got.ID != m.ID || !got.Dup {
		t.Errorf("with its old session it hears %+v %s", got, got.Payload)
	}
	p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: got.ID})
	depth(t, w, n, 0)

	// Who comes with clean session 1 leaves it behind.
	again(t, w, d, true, false).send(mqtt.Bare(mqtt.DISCONNECT))
	p = again(t, w, d, false, false)
	p.subscribes(devicebound)
	p.send(&mqtt.Unsubscribe{ID: 5, Filters: []string{devicebound}})
	p.next()
	command(t, w, n, hub.Command{Body: []byte("three")})
	p.send(mqtt.Bare(mqtt.PINGREQ))
	if got := p.next(); got != mqtt.Bare(mqtt.PINGRESP) {
		t.Errorf("who has unsubscribed hears %+v", got)
	}
	again(t, w, d, false, false)
}

func TestManyCommands(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	n := hub.Name{Device: "d"}
	p, _ := device(t, w, "d")
	p.send(&mqtt.Subscribe{ID: 1, Topics: []mqtt.Subscription{{Filter: devicebound, QoS: 0}}})
	p.next()
	for i := range hub.MaxQueue + 10 { // at most once: each makes room for the next
		body := fmt.Sprint(i)
		command(t, w, n, hub.Command{Body: []byte(body)})
		if m := p.hears(); string(m.Payload) != body || m.QoS != 0 || m.ID != 0 || m.Dup {
			t.Fatalf("instead of message %d it hears %+v %s", i, m, m.Payload)
		}
	}
	depth(t, w, n, 0)
	p.subscribes(devicebound)
	var all sync.WaitGroup
	for range hub.MaxQueue {
		all.Go(func() {
			if _, err := w.Hub(hubtest.Contoso).SendCommand(t.Context(), n, hub.Command{Body: make([]byte, 60<<10)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	ids := map[uint16]bool{}
	for range hub.MaxQueue {
		ids[p.hears().ID] = true
	}
	for id := range ids {
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: id})
	}
	if len(ids) != hub.MaxQueue {
		t.Errorf("%d packet identifiers for %d messages", len(ids), hub.MaxQueue)
	}
	depth(t, w, n, 0)
	command(t, w, n, hub.Command{Properties: map[string]string{"long": strings.Repeat("é", 15_000)}}) // encoded, longer than a topic may be
	depth(t, w, n, 0)
	p.send(mqtt.Bare(mqtt.PINGREQ))
	if got := p.next(); got != mqtt.Bare(mqtt.PINGRESP) {
		t.Errorf("it hears %+v", got)
	}
}

// TestModules is C02 and C34 on the wire, and what only modules have.
func TestModules(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	w.Device(hubtest.Contoso, "d")
	m, n := w.Module(hubtest.Contoso, "d", "m"), hub.Name{Device: "d", Module: "m"}
	p := again(t, w, m, false, false)
	p.send(&mqtt.Publish{Topic: []byte("devices/d/modules/m/messages/events/%24.on=out/"), Payload: []byte("x"), QoS: 1, ID: 4})
	if got := p.next(); got != (mqtt.Ack{Of: mqtt.PUBACK, ID: 4}) {
		t.Fatalf("got %+v", got)
	}
	if e := w.Events(hubtest.Contoso, 1)[0]; e.System["iothub-connection-module-id"] != "m" || e.System["iothub-outputname"] != "out" || e.System["iothub-connection-device-id"] != "d" {
		t.Errorf("the event is stamped %v", e.System)
	}
	p.subscribes(answers, desired, methods, "devices/d/modules/m/#")
	if _, body := p.ask("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"of":"m"}`); body != "" {
		t.Errorf("a patch is answered with %s", body)
	}
	if own, err := w.Hub(hubtest.Contoso).Twin(t.Context(), hub.Name{Device: "d"}); err != nil || own.Reported.Version != 1 {
		t.Errorf("the device's twin is %+v, %v", own, err)
	}
	command(t, w, n, hub.Command{To: "/devices/d/modules/m/inputs/in put", Body: []byte("1"), Properties: map[string]string{"k": "v"}})
	got := p.hears()
	if !strings.HasPrefix(string(got.Topic), "devices/d/modules/m/inputs/in put/%24.to=") || !strings.HasSuffix(string(got.Topic), "&k=v") {
		t.Errorf("an input comes as %s", got.Topic)
	}
	_ = p.Close()
	p = again(t, w, m, false, true)
	if got := p.hears(); !strings.HasPrefix(string(got.Topic), "devices/d/modules/m/inputs/in put/") || !got.Dup {
		t.Errorf("after a reconnect it comes as %+v", got)
	}
	p.send(&mqtt.Publish{Topic: []byte("devices/d/messages/events/")}) // its device's, not its own
	p.ends()
	p = again(t, w, m, true, false)
	p.send(&mqtt.Subscribe{ID: 1, Topics: []mqtt.Subscription{{Filter: devicebound}}})
	p.ends()
}
