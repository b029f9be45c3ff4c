package mqttdoor_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/mqttdoor"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTelemetryArrivesWithPropertiesAndStamps(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	id := "Sensor+1#'(é"[:10]
	p, d := device(t, w, id)
	large := bytes.Repeat([]byte{0, 255, '"', '\n'}, 50_000)
	p.send(
		publish(id, "%24.mid=m%2F1&$.ct=application%2Fjson&$.ce=utf-8&%24.unknown=x&k%20ey=v%26%C3%A9&plus=a+b&empty=&none/", "one", 1),
		publish(id, "", "", 2),
		publish(id, "same=1", "three", 3),
		publish(id, "same=1", "four", 4),
		publish(id, "a=b", string(large), 5),
		&mqtt.Publish{Topic: []byte("devices/" + id + "/messages/events"), Payload: []byte("six")},
		&mqtt.Publish{Topic: []byte("devices/" + id + "/messages/events/x=y"), Payload: []byte("seven"), QoS: 1, ID: 7, Retain: true, Dup: true},
	)
	for _, want := range []uint16{1, 2, 3, 4, 5, 7} {
		if got := p.next(); got != (mqtt.Ack{Of: mqtt.PUBACK, ID: want}) {
			t.Fatalf("got %+v, want PUBACK %d", got, want)
		}
	}
	stamps := map[string]string{
		"iothub-connection-device-id": id, "iothub-connection-auth-generation-id": d.Generation, "iothub-message-source": "Telemetry",
		"iothub-connection-auth-method": `{"scope":"device","type":"sas","issuer":"iothub"}`,
	}
	first := maps.Clone(stamps)
	first["message-id"], first["content-type"], first["content-encoding"] = "m/1", "application/json", "utf-8"
	want := []struct {
		body       string
		properties map[string]string
		system     map[string]string
	}{
		{"one", map[string]string{"k ey": "v&é", "plus": "a+b", "empty": "", "none": ""}, first},
		{"", nil, stamps},
		{"three", map[string]string{"same": "1"}, stamps},
		{"four", map[string]string{"same": "1"}, stamps},
		{string(large), map[string]string{"a": "b"}, stamps},
		{"six", nil, stamps},
		{"seven", map[string]string{"x": "y", "mqtt-retain": "true", "mqtt-dup": "true"}, stamps},
	}
	for i, e := range w.Events(hubtest.Contoso, len(want)) {
		if string(e.Body) != want[i].body || !sameMap(e.Properties, want[i].properties) || !reflect.DeepEqual(e.System, want[i].system) {
			t.Errorf("event %d: %.60q %v %v\nwant %.60q %v %v", i, e.Body, e.Properties, e.System, want[i].body, want[i].properties, want[i].system)
		}
		if e.Enqueued.IsZero() || e.Sequence != int64(i) {
			t.Errorf("event %d: enqueued %v, sequence %d", i, e.Enqueued, e.Sequence)
		}
	}
	if s := w.Hub(hubtest.Contoso).Stats(); s.Messages != 7 || s.Connected != 1 || s.Bytes != int64(len(large)+len("onethreefoursixseven")) {
		t.Errorf("stats %+v", s)
	}
	p.send(mqtt.Bare(mqtt.DISCONNECT))
	eventually(t, "the device is gone", func() bool { return w.Hub(hubtest.Contoso).Connected() == 0 })
}

func sameMap(a, b map[string]string) bool { return len(a) == 0 && len(b) == 0 || maps.Equal(a, b) }

func TestAcknowledgementsWaitForTheLogAndKeepTheirOrder(t *testing.T) {
	log := newHeldLog()
	w := hubtest.Start(t, hubtest.Options{Log: log, MQTT: mqttdoor.Config{InFlight: 3}})
	p, _ := device(t, w, "d")
	p.send(publish("d", "", "a", 1), publish("d", "", "b", 0), publish("d", "", "c", 3), publish("d", "", "d", 4), publish("d", "", "e", 5))
	log.await(3)
	if n := log.count(); n != 3 {
		t.Errorf("%d messages in flight, at most 3 are allowed", n)
	}
	log.answer(2, nil) // message 3, out of order
	log.answer(1, nil) // message 2
	log.answer(0, nil) // message 1: now 1 and 3 may be acknowledged
	for _, want := range []uint16{1, 3} {
		if got := p.next(); got != (mqtt.Ack{Of: mqtt.PUBACK, ID: want}) {
			t.Fatalf("got %+v, want PUBACK %d", got, want)
		}
	}
	log.await(2)
	log.answer(1, nil)
	log.answer(0, fault.New("test", fault.Exhausted, "the disk is full").Advise("make room"))
	p.ends() // neither 4 nor 5 is acknowledged
	eventually(t, "people are told", func() bool { return len(w.Server.Refusals()) == 1 })
	if r := w.Server.Refusals(); r[0].Why != "the disk is full" || r[0].Who != "d" || r[0].Next != "make room" {
		t.Errorf("people are told %+v", r)
	}
}

func TestRefusedConnects(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	d, other := w.Device(hubtest.Contoso, "d"), w.Device(hubtest.Contoso, "other")
	disabled := w.Device(hubtest.Contoso, "disabled")
	disabled.Status = hubstore.Disabled
	if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), disabled.Device, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	good := w.Token(hubtest.Contoso, d)
	expired, _ := sas.Sign(hubtest.Contoso+"/devices/d", d.PrimaryKey, "", time.Now().Add(-time.Second))
	base := func(change func(*mqtt.Connect)) *mqtt.Connect {
		c := connect(hubtest.Contoso, "d", good)
		change(c)
		return c
	}
	for _, c := range []struct {
		name   string
		packet *mqtt.Connect
		code   mqtt.ReturnCode
		why    string
	}{
		{"wrong key", connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, hub.Device{Device: hubstore.Device{ID: "d", PrimaryKey: other.PrimaryKey}})), 5, "not signed"},
		{"token of another device", connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, other)), 5, "not signed"},
		{"expired", connect(hubtest.Contoso, "d", expired), 5, "the token ended"},
		{"unknown device", connect(hubtest.Contoso, "nobody", good), 5, `no device "nobody"`},
		{"disabled", connect(hubtest.Contoso, "disabled", w.Token(hubtest.Contoso, disabled)), 5, "is disabled"},
		{"token for another hub", connect(hubtest.Contoso, "d", w.Token(hubtest.Fabrikam, d)), 5, "another resource"},
		{"a policy without DeviceConnect", connect(hubtest.Contoso, "d", w.ServiceToken(hubtest.Contoso, hub.PolicyService)), 5, "does not have DeviceConnect"},
		{"a hub nobody has", connect("nowhere.azure-devices.net", "d", good), 5, "no hub here"},
		{"another hub than TLS said", connect(hubtest.Fabrikam, "d", good), 5, "in TLS"},
		{"id and user name differ", base(func(c *mqtt.Connect) { c.ClientID = "D" }), 5, "the client id"},
		{"no api-version", base(func(c *mqtt.Connect) { c.UserName = hubtest.Contoso + "/d/?DeviceClientType=x" }), 5, "user name"},
		{"no password", base(func(c *mqtt.Connect) { c.HasPassword = false }), 5, "neither a SAS token nor a certificate"},
		{"a password that is no token", base(func(c *mqtt.Connect) { c.Password = []byte("secret") }), 5, "cannot be read"},
		{"a module", base(func(c *mqtt.Connect) { c.ClientID, c.UserName = "d/m", hubtest.Contoso+"/d/m"+suffix }), 5, "no module"},
		{"a registration", base(func(c *mqtt.Connect) { c.UserName = "0ne00000001/registrations/d/api-version=2019-03-31" }), 5, "provisioned"},
		{"a foreign will", base(func(c *mqtt.Connect) { c.Will = &mqtt.Will{Topic: "devices/other/messages/events/"} }), 5, "the will"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := dial(t, w, nil, hubtest.Contoso)
			p.send(c.packet)
			p.wants(c.code)
			eventually(t, "the refusal is noted", func() bool {
				r := w.Server.Refusals()
				return len(r) > 0 && strings.Contains(r[0].Why, c.why) && r[0].Who == c.packet.ClientID && r[0].Source == "127.0.0.1"
			})
		})
	}
	for _, ok := range []struct{ name, user, token string }{
		{"the old user name", hubtest.Contoso + "/d/api-version=2016-11-14", good},
		{"with a port and other case", strings.ToUpper(hubtest.Contoso) + ":8883/d/?model-id=dtmi:a;1&api-version=x", good},
		{"a policy's token", hubtest.Contoso + "/d" + suffix, w.ServiceToken(hubtest.Contoso, hub.PolicyDevice)},
	} {
		t.Run(ok.name, func(t *testing.T) {
			p := dial(t, w, nil, hubtest.Contoso)
			c := connect(hubtest.Contoso, "d", ok.token)
			c.UserName = ok.user
			p.send(c)
			p.wants(mqtt.Accepted)
		})
	}
}

// TestRegistrations: a device that wants to be provisioned is given to who does that, with its CONNECT and what it sends next.
func TestRegistrations(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{MQTT: mqttdoor.Config{Provisioning: func(ctx context.Context, c *front.Conn, r *mqtt.Reader, p *mqtt.Connect) {
		if _, _, err := r.Next(); err != nil || ctx.Err() != nil || len(c.Certificates) != 0 {
			t.Error(err)
		}
		b, _ := (&mqtt.Publish{Topic: []byte("to"), Payload: []byte(p.ClientID + " " + p.UserName)}).Append(nil)
		_, _ = c.Write(b)
	}}})
	for _, p := range []*peer{dial(t, w, nil, hubtest.Contoso), inWebSocket(t, w, nil)} {
		user := "0ne00000001/registrations/r/api-version=2019-03-31&ClientVersion=x"
		p.send(&mqtt.Connect{ClientID: "r", HasUserName: true, UserName: user}, mqtt.Bare(mqtt.PINGREQ))
		if m := p.hears(); string(m.Payload) != "r "+user {
			t.Errorf("it hears %s", m.Payload)
		}
		p.ends()
	}
	d := w.Device(hubtest.Contoso, "registrations") // a device may be called so
	p := dial(t, w, nil, hubtest.Contoso)
	p.send(connect(hubtest.Contoso, "registrations", w.Token(hubtest.Contoso, d)))
	p.wants(mqtt.Accepted)
}

func TestOtherProtocols(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{Front: front.Config{SetupTimeout: 300 * time.Millisecond}})
	p := dial(t, w, nil, hubtest.Contoso)
	if _, err := p.Write([]byte("\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	p.wants(mqtt.UnacceptableVersion)
	for name, bytes := range map[string]string{
		"HTTP": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "a PINGREQ first": "\xc0\x00", "a huge CONNECT": "\x10\xff\xff\xff\x7f", "silence": "",
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, w, nil, hubtest.Contoso)
			if _, err := p.Write([]byte(bytes)); err != nil {
				t.Fatal(err)
			}
			p.ends()
		})
	}
	eventually(t, "somebody is told of the silence", func() bool { return refused(w, "no CONNECT came in time") })
	w = hubtest.Start(t, hubtest.Options{Front: front.Config{SetupTimeout: 300 * time.Millisecond}})
	inWebSocket(t, w, nil).ends() // silence there, too
	eventually(t, "somebody is told of it", func() bool { return refused(w, "no CONNECT came in time") })
}

func TestWhatEndsAConnection(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	for i, c := range []struct {
		name   string
		packet mqtt.Packet
		why    string
	}{
		{"QoS 2", &mqtt.Publish{Topic: []byte("devices/ID/messages/events/"), QoS: 2, ID: 1}, "QoS 2"},
		{"another device's topic", publish("other", "", "x", 1), "not its own"},
		{"a prefix of its own id", publish("ID-and-more", "", "x", 1), "not its own"},
		{"any topic", &mqtt.Publish{Topic: []byte("plant/7/temperature")}, "not its own"},
		{"another device's subscription", &mqtt.Subscribe{ID: 1, Topics: []mqtt.Subscription{{Filter: "devices/other/messages/devicebound/#"}}}, "not its own"},
		{"everything", &mqtt.Subscribe{ID: 1, Topics: []mqtt.Subscription{{Filter: "$iothub/twin/res/#"}, {Filter: "#"}}}, "not its own"},
		{"a bag that is not encoded", publish("ID", "a=%zz", "x", 1), "percent-encoded"},
		{"a bag that is no text", publish("ID", "a=%ff", "x", 1), "percent-encoded"},
		{"too large", publish("ID", "a=b", strings.Repeat("x", hub.MaxMessage-2), 1), "262144 are allowed"},
		{"a huge packet", publish("ID", "", strings.Repeat("x", 400<<10), 1), "too large"},
		{"a second CONNECT", connect(hubtest.Contoso, "ID", "x"), "has no place here"},
		{"a server's packet", mqtt.Bare(mqtt.PINGRESP), "has no place here"},
		{"a PUBREL", mqtt.Ack{Of: mqtt.PUBREL, ID: 1}, "has no place here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := fmt.Sprintf("d%d", i)
			p, _ := device(t, w, id)
			switch packet := c.packet.(type) {
			case *mqtt.Publish:
				packet.Topic = []byte(strings.ReplaceAll(string(packet.Topic), "ID", id))
			case *mqtt.Connect:
				packet.ClientID = id
			}
			b, err := c.packet.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = p.Write(b) // the hub may close before all of it is written
			p.ends()
			eventually(t, "the refusal is noted", func() bool {
				r := w.Server.Refusals()
				return len(r) > 0 && strings.Contains(r[0].Why, c.why) && r[0].Who == id
			})
		})
	}
}

func TestSubscriptionsOfSDKs(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	p, _ := device(t, w, "d")
	p.send(&mqtt.Publish{Topic: []byte("$iothub/twin/GET/?$rid=early"), Payload: []byte(" ")}) // not subscribed: no answer
	p.send(&mqtt.Subscribe{ID: 9, Topics: []mqtt.Subscription{
		{Filter: "devices/d/messages/devicebound/#", QoS: 2}, {Filter: "$iothub/twin/res/#"}, {Filter: "$iothub/twin/PATCH/properties/desired/#"}, {Filter: "$iothub/methods/POST/#", QoS: 1},
	}})
	if got := p.next(); !reflect.DeepEqual(got, &mqtt.Suback{ID: 9, Codes: []byte{1, 0, 0, 1}}) {
		t.Fatalf("got %+v", got)
	}
	p.send(
		&mqtt.Publish{Topic: []byte("$iothub/methods/res/200/?$rid=1"), QoS: 1, ID: 77}, mqtt.Ack{Of: mqtt.PUBACK, ID: 3},
		&mqtt.Unsubscribe{ID: 10, Filters: []string{"$iothub/twin/res/#", "never/there"}}, mqtt.Bare(mqtt.PINGREQ))
	for _, want := range []mqtt.Packet{mqtt.Ack{Of: mqtt.PUBACK, ID: 77}, mqtt.Ack{Of: mqtt.UNSUBACK, ID: 10}, mqtt.Bare(mqtt.PINGRESP)} {
		if got := p.next(); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if s := w.Hub(hubtest.Contoso).Stats(); s.Messages != 0 {
		t.Errorf("%d messages were counted", s.Messages)
	}
}

func TestOneConnectionForAnIdentity(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	first, d := device(t, w, "d")
	second := dial(t, w, nil, hubtest.Contoso)
	second.send(connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, d)))
	second.wants(mqtt.Accepted)
	first.ends()
	second.send(publish("d", "", "still here", 1))
	second.next()
	eventually(t, "one session is left", func() bool { return w.Hub(hubtest.Contoso).Connected() == 1 })
	if r := w.Server.Refusals(); len(r) != 0 {
		t.Errorf("a takeover is no refusal: %+v", r)
	}
}

func TestWillIsSentUnlessTheDeviceSaysGoodbyeOrMayNot(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	withWill := func(id string) *peer {
		d := w.Device(hubtest.Contoso, id)
		p := dial(t, w, nil, hubtest.Contoso)
		c := connect(hubtest.Contoso, id, w.Token(hubtest.Contoso, d))
		c.Will = &mqtt.Will{Topic: "devices/" + id + "/messages/events/line=3", Payload: []byte("lost " + id), QoS: 1, Retain: true}
		p.send(c)
		p.wants(mqtt.Accepted)
		return p
	}
	withWill("polite").send(mqtt.Bare(mqtt.DISCONNECT))
	disabled := withWill("disabled")
	if _, err := h.UpdateDevice(t.Context(), hubstore.Device{ID: "disabled", Status: hubstore.Disabled}, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	disabled.ends()
	eventually(t, "both are gone", func() bool { return h.Connected() == 0 })
	withWill("lost").lose()
	e := w.Events(hubtest.Contoso, 1)[0]
	want := map[string]string{"line": "3", "iothub-MessageType": "Will", "mqtt-retain": "true"}
	if string(e.Body) != "lost lost" || !maps.Equal(e.Properties, want) || e.System["iothub-connection-device-id"] != "lost" {
		t.Errorf("the will came as %q %v %v", e.Body, e.Properties, e.System)
	}
	withWill("rude").send(&mqtt.Publish{Topic: []byte("x")})
	eventually(t, "two wills are stored", func() bool { return h.Stats().Messages == 2 })
}

func TestTokenEndsTheLink(t *testing.T) {
	now := time.Now()
	clk := clock.NewFake(now)
	w := hubtest.Start(t, hubtest.Options{Clock: clk})
	d := w.Device(hubtest.Contoso, "d")
	token, err := sas.Sign(hubtest.Contoso+"/devices/d", d.SecondaryKey, "", now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	p := dial(t, w, nil, hubtest.Contoso)
	p.send(connect(hubtest.Contoso, "d", token))
	p.wants(mqtt.Accepted)
	p.send(mqtt.Bare(mqtt.PINGREQ))
	p.next() // the writer runs, so it watches the token
	clk.Advance(time.Hour)
	p.ends()
}

func TestSilenceEndsTheLink(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	p := dial(t, w, nil, hubtest.Contoso)
	c := connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, d))
	c.KeepAlive = 1
	p.send(c)
	p.wants(mqtt.Accepted)
	start := time.Now()
	p.ends()
	if took := time.Since(start); took < time.Second || took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestRegistryAndPlanCutSessions(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	cases := map[string]func(){
		"disabled": func() {
			_, err := h.UpdateDevice(t.Context(), hubstore.Device{ID: "disabled", Status: hubstore.Disabled}, hub.AnyETag)
			if err != nil {
				t.Error(err)
			}
		},
		"deleted": func() {
			if err := h.DeleteDevice(t.Context(), "deleted", hub.AnyETag); err != nil {
				t.Error(err)
			}
		},
		"key renewed": func() {
			if n, err := h.RenewDeviceKey(t.Context(), "key-renewed", hub.Primary, "the test"); n != 1 || err != nil {
				t.Errorf("%d cut, %v", n, err)
			}
		},
		"public side closed": func() {
			w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
		},
	}
	for name, cut := range cases {
		t.Run(name, func(t *testing.T) {
			w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicEnabled })
			p, _ := device(t, w, strings.ReplaceAll(name, " ", "-"))
			cut()
			p.ends()
		})
	}
	t.Run("public side stays closed", func(t *testing.T) {
		w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
		d := w.Device(hubtest.Contoso, "late")
		p := dial(t, w, nil, hubtest.Contoso)
		p.send(connect(hubtest.Contoso, "late", w.Token(hubtest.Contoso, d)))
		p.wants(mqtt.NotAuthorized)
	})
	t.Run("hub gone", func(t *testing.T) {
		w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicEnabled })
		p, _ := device(t, w, "orphan")
		if err := w.Server.SetHubs(w.Plans[1:]); err != nil {
			t.Fatal(err)
		}
		p.ends()
	})
}

func TestPeerThatDoesNotReadIsBounded(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{MQTT: mqttdoor.Config{WriteTimeout: 200 * time.Millisecond}})
	p, _ := device(t, w, "d")
	ping := bytes.Repeat([]byte("\xc0\x00"), 100_000)
	for {
		if _, err := p.Write(ping); err != nil {
			break // the hub closed
		}
	}
	eventually(t, "it is gone", func() bool { return w.Hub(hubtest.Contoso).Connected() == 0 })
}

func TestConnectionsAreBounded(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{Front: front.Config{MaxConnections: 2, MaxPerSource: 2}})
	device(t, w, "a")
	device(t, w, "b")
	if c, err := w.Dial(w.MQTT, nil, hubtest.Contoso); err == nil {
		_ = c.Close()
		t.Error("a third connection was let in")
	}
	eventually(t, "people are told", func() bool { return len(w.Server.Refusals()) > 0 })
	if r := w.Server.Refusals(); len(r) != 1 || r[0].Kind != fault.Exhausted {
		t.Errorf("refusals %+v", r)
	}
}

func TestLogThatNeverAnswersKeepsNobody(t *testing.T) {
	log := newHeldLog()
	w := hubtest.Start(t, hubtest.Options{Log: log, MQTT: mqttdoor.Config{InFlight: 1}})
	p, _ := device(t, w, "d")
	p.send(publish("d", "", "a", 1), publish("d", "", "b", 2))
	log.await(1)
	if err := w.Hub(hubtest.Contoso).DeleteDevice(t.Context(), "d", hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	p.ends()
	log.answer(0, nil) // late, and no harm
}
