package conformance

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// TestRawAMQPConnects has what SDKs of other languages begin with.
func TestRawAMQPConnects(t *testing.T) {
	w := start(t, hubtest.Options{})
	d, other := w.Device(hubtest.Contoso, "d"), w.Device(hubtest.Contoso, "other")
	certificate := w.Certificate("anything", false)
	certified := w.ThumbprintDevice(hubtest.Contoso, "certified", certificate)
	self, _, _ := strings.Cut(hubtest.Contoso, ".")
	for _, c := range []struct {
		id, name string
		sasl     *amqptest.SASL
		refused  bool
		put      bool // a token, too
	}{
		{"C11", "no SASL", nil, false, true},
		{"C11", "ANONYMOUS", amqptest.Anonymous("x"), false, true},
		{"C11", "MSSBCBS", &amqptest.SASL{Mechanism: "MSSBCBS"}, false, true},
		{"C11", "PLAIN", amqptest.Plain("d@sas."+self, w.Token(hubtest.Contoso, d)), false, false},
		{"C05", "PLAIN with another's token", amqptest.Plain("d@sas."+self, w.Token(hubtest.Contoso, other)), true, false},
		{"C05", "EXTERNAL without a certificate", amqptest.External(), true, false},
	} {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			covers(t, c.id, rawAMQP)
			conn, err := w.Dial(w.AMQP, nil, hubtest.Contoso)
			if err != nil {
				t.Fatal(err)
			}
			p, err := speakRaw(t, conn, amqptest.Options{Hostname: hubtest.Contoso, SASL: c.sasl})
			if (err != nil) != c.refused {
				t.Fatal(err)
			}
			if c.refused {
				return
			}
			if c.put {
				if got := p.refused(eventsOf(d)); got != amqp.ConditionUnauthorizedAccess {
					t.Errorf("without a token: %s", got)
				}
				if code := p.puts(pathOf(d), sign(t, hubtest.Contoso+pathOf(d), other.PrimaryKey, "", time.Hour)); code != 401 {
					t.Errorf("a token of another's key: %d", code)
				}
				p.claims(w, d)
			}
			p.says(p.sends(eventsOf(d)), c.name)
			if got := p.refused(eventsOf(other)); got != amqp.ConditionUnauthorizedAccess {
				t.Errorf("another's link: %s", got)
			}
		})
	}
	for _, c := range [][2]string{{"/$iothub/websocket", "AMQPWSB10"}, {"/$servicebus/websocket", "AMQPWSB10"}, {"/$iothub/websocket", "amqp"}} {
		t.Run("C12 "+c[1]+" at "+c[0][1:], func(t *testing.T) {
			covers(t, "C12", rawAMQP)
			p, err := speakRaw(t, webSocket(t, w, c[0], c[1]), amqptest.Options{Hostname: hubtest.Contoso, SASL: amqptest.Anonymous("x")})
			if err != nil {
				t.Fatal(err)
			}
			p.claims(w, d)
			p.says(p.sends(eventsOf(d)), "over "+c[1])
		})
	}
	t.Run("C13 EXTERNAL", func(t *testing.T) {
		covers(t, "C13", rawAMQP)
		for _, sasl := range []*amqptest.SASL{nil, amqptest.External()} {
			conn, err := w.DialWith(w.AMQP, hubtest.Contoso, certificate)
			if err != nil {
				t.Fatal(err)
			}
			p, err := speakRaw(t, conn, amqptest.Options{Hostname: hubtest.Contoso, SASL: sasl})
			if err != nil {
				t.Fatal(err)
			}
			p.says(p.sends(eventsOf(certified)), "by certificate")
			if got := p.refused(eventsOf(d)); got != amqp.ConditionUnauthorizedAccess {
				t.Errorf("another's link: %s", got)
			}
		}
	})
	t.Run("C11 many devices on one connection", func(t *testing.T) {
		covers(t, "C11", rawAMQP)
		covers(t, "C47", rawAMQP)
		p := dialAMQP(t, w)
		var links []*amqptest.Sender
		var devices []hub.Device
		for i := range 5 {
			d := w.Device(hubtest.Contoso, fmt.Sprint("many-", i))
			if i == 4 {
				d = w.Module(hubtest.Contoso, "many-0", "m")
			}
			p.claims(w, d)
			devices, links = append(devices, d), append(links, p.sends(eventsOf(d)))
		}
		for i, l := range links {
			p.says(l, fmt.Sprint("of many ", i))
			e := eventOf(t, w, fmt.Sprint("of many ", i))
			if e.System["iothub-connection-device-id"] != devices[i].ID || e.System["iothub-connection-module-id"] != devices[i].Module {
				t.Errorf("%v", e.System)
			}
		}
		devices[1].Status = hubstore.Disabled
		if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), devices[1].Device, hub.AnyETag); err != nil {
			t.Fatal(err)
		}
		if err := links[1].WaitEnd(p.ctx); condition(err) != amqp.ConditionUnauthorizedAccess {
			t.Errorf("the disabled one hears %v", err)
		}
		for i, l := range links {
			if i != 1 {
				p.says(l, fmt.Sprint("still there ", i))
			}
		}
	})
	t.Run("C04 over TLS 1.2", func(t *testing.T) {
		covers(t, "C04", rawAMQP)
		root := w.Certificate("root", true)
		w.Trust(hubtest.Contoso, "root", root)
		signed := w.AuthorityDevice(hubtest.Contoso, "signed")
		conn, err := tls.Dial("tcp", w.AMQP, &tls.Config{
			RootCAs: w.Roots, ServerName: hubtest.Contoso, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{w.Certificate("signed", false, root)},
		})
		if err != nil {
			t.Fatal(err)
		}
		p, err := speakRaw(t, conn, amqptest.Options{Hostname: hubtest.Contoso + ":5671"})
		if err != nil {
			t.Fatal(err)
		}
		p.says(p.sends(eventsOf(signed)), "signed")
	})
}

func TestRawAMQPTelemetry(t *testing.T) {
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	p := dialAMQP(t, w)
	p.claims(w, d)
	s := p.sends("amqps://" + hubtest.Contoso + "/devices/d/Messages/Events/") // as SDKs for C# write it
	come := newEvents(t, w)
	t.Run("C16 a batch", func(t *testing.T) {
		covers(t, "C16", rawAMQP)
		const batch = 0x80013700
		var envelope amqp.Message
		for i := range 3 {
			envelope.Data = append(envelope.Data, encoded(t, amqp.Message{
				Properties: &amqp.Properties{MessageID: amqp.UUID{byte(i)}}, ApplicationProperties: amqp.Map{{Key: "Part", Value: int32(i)}}, Data: [][]byte{fmt.Append(nil, "part ", i)},
			}))
		}
		p.must(s.SendAccepted(p.ctx, encoded(t, envelope), batch))
		for i, e := range come(3) {
			if string(e.Body) != fmt.Sprint("part ", i) || e.Properties["Part"] != fmt.Sprint(i) || e.System["message-id"] != fmt.Sprintf("0%d000000-0000-0000-0000-000000000000", i) {
				t.Errorf("%q %v %v", e.Body, e.Properties, e.System)
			}
		}
	})
	t.Run("C17 values of every type", func(t *testing.T) {
		covers(t, "C15", rawAMQP)
		covers(t, "C17", rawAMQP)
		p.must(s.SendAccepted(p.ctx, encoded(t, amqp.Message{
			Properties: &amqp.Properties{CorrelationID: uint64(7), UserID: []byte("u"), To: "x", Subject: "not kept", ContentType: "text/plain", CreationTime: amqp.Some(amqp.Timestamp(0))},
			ApplicationProperties: amqp.Map{
				{Key: "text", Value: "°C"}, {Key: "null"}, {Key: "empty", Value: ""}, {Key: "yes", Value: true}, {Key: "int", Value: int32(-1)}, {Key: "long", Value: uint64(1) << 63},
				{Key: "double", Value: 0.5}, {Key: "time", Value: amqp.Timestamp(0)}, {Key: "list", Value: amqp.List{}},
			},
			Data: [][]byte{[]byte("two "), []byte("sections")},
		}), 0))
		e := come(1)[0]
		properties := map[string]string{
			"text": "°C", "null": "", "empty": "", "yes": "true", "int": "-1", "long": "9223372036854775808", "double": "0.5", "time": "1970-01-01T00:00:00.000Z",
		}
		system := stamped(d, map[string]string{"correlation-id": "7", "user-id": "u", "to": "x", "content-type": "text/plain", "iothub-creation-time-utc": "1970-01-01T00:00:00.000Z"})
		if string(e.Body) != "two sections" || !maps.Equal(e.Properties, properties) || !maps.Equal(e.System, system) {
			t.Errorf("%q %v %v\nwant %v %v", e.Body, e.Properties, e.System, properties, system)
		}
	})
	t.Run("C20 too large", func(t *testing.T) {
		covers(t, "C20", rawAMQP)
		big := encoded(t, amqp.Message{Data: [][]byte{make([]byte, 256<<10+1)}})
		if err := s.SendAccepted(p.ctx, big, 0); condition(err) != amqp.ConditionMessageSizeExceeded {
			t.Errorf("%v", err)
		}
		p.says(s, "the link stays")
	})
}

func TestRawAMQPCommands(t *testing.T) {
	o := sending(t)
	d := o.Device(hubtest.Contoso, "d")
	p := dialAMQP(t, o.World)
	p.claims(o.World, d)
	r := p.receives("/devices/d/messages/deviceBound", 10) // as SDKs for C# write it
	t.Run("C21 a message says all", func(t *testing.T) {
		covers(t, "C21", rawAMQP)
		o := o.in(t)
		if _, err := o.api.SendCommand(t.Context(), "d", hubclient.Command{MessageID: "one", UserID: "who", Ack: "full", Properties: map[string]string{"k": "°C"}, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		got, m := p.hears(r)
		annotations := map[string]any{}
		for _, a := range m.MessageAnnotations {
			annotations[fmt.Sprint(a.Key)] = a.Value
		}
		if len(got.Tag) != 16 || got.Settled || m.Properties.MessageID != "one" || string(m.Properties.UserID) != "who" || m.ApplicationProperties.Get("iothub-ack") != "full" ||
			m.ApplicationProperties.Get("k") != "°C" || annotations["iothub-deliverycount"] != uint8(0) {
			t.Errorf("%+v %v", m, annotations)
		}
		_, lock := annotations["x-opt-lock-token"].(amqp.UUID)
		_, sequence := annotations["x-opt-sequence-number"].(uint64)
		if at, ok := annotations["iothub-enqueuedtime"].(amqp.Timestamp); !ok || !lock || !sequence || time.Since(time.UnixMilli(int64(at))) > time.Minute {
			t.Errorf("%v", annotations)
		}
		got.Settle(amqp.Accepted{})
		o.became(map[string]string{"one": "Success"})
	})
	for _, c := range []struct {
		name  string
		state amqp.State
	}{{"released", amqp.Released{}}, {"modified", amqp.Modified{DeliveryFailed: true}}} {
		t.Run("C22 "+c.name+" comes again", func(t *testing.T) {
			covers(t, "C22", rawAMQP)
			o := o.in(t)
			o.sent("d", c.name)
			for i := range 3 {
				got, m := p.hears(r)
				if count := m.MessageAnnotations.Get("iothub-deliverycount"); string(m.Data[0]) != c.name || count != uint8(i) {
					t.Errorf("%s, for the %v. time", m.Data, count)
				}
				if i < 2 {
					got.Settle(c.state)
				} else {
					got.Settle(amqp.Rejected{})
				}
			}
			o.became(map[string]string{c.name: "Rejected"})
		})
	}
	t.Run("C26 what is not settled comes again", func(t *testing.T) {
		covers(t, "C26", rawAMQP)
		o := o.in(t)
		o.sent("d", "first", "second")
		p.hears(r)
		p.hears(r)
		p.must(r.Detach(p.ctx))
		r = p.receives("/devices/d/messages/devicebound", 0)
		r.Grant(1, false)
		got, m := p.hears(r)
		if string(m.Data[0]) != "first" || r.Waiting() != 0 {
			t.Errorf("%s comes, and %d more without credit", m.Data, r.Waiting())
		}
		got.Settle(amqp.Accepted{})
		o.became(map[string]string{"first": "Success"})
		r.Grant(5, true)
		p.must(r.Drained(p.ctx))
		got, m = p.hears(r)
		if string(m.Data[0]) != "second" {
			t.Errorf("%s comes", m.Data)
		}
		got.Settle(amqp.Accepted{})
		o.became(map[string]string{"second": "Success"})
	})
	t.Run("C21 to a module, as back ends of C# send", func(t *testing.T) {
		covers(t, "C21", rawAMQP)
		m := o.Module(hubtest.Contoso, "d", "m")
		back := dialAMQP(t, o.World)
		if code := back.puts("", o.ServiceToken(hubtest.Contoso, hub.PolicyService)); code != 200 {
			t.Fatal(code)
		}
		s := back.sends("/messages/deviceBound")
		to := func(address string) error {
			return s.SendAccepted(back.ctx, encoded(t, amqp.Message{Properties: &amqp.Properties{To: address}, Data: [][]byte{[]byte("to a module")}}), 0)
		}
		if err := to("/devices/d/modules/nobody/messages/deviceBound"); condition(err) != amqp.ConditionNotFound {
			t.Errorf("%v", err)
		}
		back.must(to("/devices/d/modules/m/messages/deviceBound"))
		p.claims(o.World, m)
		got, message := p.hears(p.receives(eventsOf(m), 1))
		if string(message.Data[0]) != "to a module" {
			t.Errorf("%s", message.Data)
		}
		got.Settle(amqp.Accepted{})
	})
}

// TestRawAMQPTwins has the requests as they are on the wire.
func TestRawAMQPTwins(t *testing.T) {
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	p := dialAMQP(t, w)
	p.claims(w, d)
	pair := func(kind, path, id string) (*amqptest.Sender, *amqptest.Receiver) {
		edit := func(a *amqp.Attach) {
			a.Name += " " + id
			a.SndSettleMode = amqp.Some(amqp.SenderSettled)
			a.Properties = amqp.Map{{Key: amqp.Symbol("com.microsoft:channel-correlation-id"), Value: kind + ":" + id}, {Key: amqp.Symbol("com.microsoft:api-version"), Value: "2021-04-12"}}
		}
		s, err := p.session.Sender(p.ctx, "/devices/d/"+path, edit)
		p.must(err)
		r, err := p.session.Receiver(p.ctx, "/devices/d/"+path, 10, edit)
		p.must(err)
		return s, r
	}
	s, r := pair("twin", "twin", "one")
	n := 0
	ask := func(operation, resource, body string) {
		n++
		annotations := amqp.Map{{Key: amqp.Symbol("operation"), Value: operation}}
		if resource != "" {
			annotations = append(annotations, amqp.Pair{Key: amqp.Symbol("resource"), Value: resource})
		}
		m := amqp.Message{MessageAnnotations: annotations, Properties: &amqp.Properties{CorrelationID: fmt.Sprint("request ", n)}, Data: [][]byte{[]byte(body)}}
		p.must(s.Start(p.ctx, encoded(t, m), 0, nil))
	}
	answered := func(status int32) (body string, m *amqp.Message) {
		t.Helper()
		_, m = p.hears(r)
		if m.Properties == nil || m.Properties.CorrelationID != fmt.Sprint("request ", n) || m.MessageAnnotations.Get("status") != status {
			t.Fatalf("%+v %v", m.Properties, m.MessageAnnotations)
		}
		return string(slices.Concat(m.Data...)), m
	}
	t.Run("C30 the answer has the version", func(t *testing.T) {
		covers(t, "C29", rawAMQP)
		covers(t, "C30", rawAMQP)
		ask("PATCH", "/properties/reported", `{"a":{"b":1}}`)
		if _, m := answered(204); m.MessageAnnotations.Get("version") != int64(2) {
			t.Errorf("%v", m.MessageAnnotations)
		}
		ask("GET", "", " ")
		if body, _ := answered(200); body != `{"desired":{"$version":1},"reported":{"a":{"b":1},"$version":2}}` {
			t.Errorf("%s", body)
		}
	})
	t.Run("C32 an answer that can be read", func(t *testing.T) {
		covers(t, "C32", rawAMQP)
		for _, body := range []string{`{"a":`, `[1]`, `{"a.b":1}`, ``} {
			ask("PATCH", "/properties/reported", body)
			if text, _ := answered(400); !strings.Contains(text, `"errorCode":400`) || !strings.HasPrefix(text, "{") {
				t.Errorf("%s", text)
			}
		}
	})
	t.Run("C31 nothing before PUT, and nothing after DELETE", func(t *testing.T) {
		covers(t, "C31", rawAMQP)
		const resource = "/notifications/twin/properties/desired"
		change := func(text string) { rest(t, w, "PATCH", "/twins/d", `{"properties":{"desired":`+text+`}}`) }
		change(`{"a":1}`)
		ask("PUT", resource, " ")
		answered(200)
		change(`{"a":2}`)
		_, m := p.hears(r)
		if body := string(slices.Concat(m.Data...)); body != `{"a":2,"$version":3}` || m.MessageAnnotations.Get("resource") != resource || m.Properties != nil && m.Properties.CorrelationID != nil {
			t.Errorf("%s %v", body, m.MessageAnnotations)
		}
		ask("DELETE", resource, " ")
		answered(200)
		change(`{"a":3}`)
		ask("GET", "", " ")
		answered(200)
	})
	t.Run("C35 a method by a UUID", func(t *testing.T) {
		covers(t, "C35", rawAMQP)
		s, r := pair("methods", "methods/devicebound", "one")
		for _, c := range []struct{ request, payload, answer, want string }{
			{`{"methodName":"m"}`, "null", `{"a":1}`, "map[payload:map[a:1] status:-7]"}, {`{"methodName":"m","payload":"x"}`, `"x"`, ``, "map[payload:<nil> status:-7]"},
		} {
			answer := make(chan said, 1)
			go func() { answer <- rest(t, w, "POST", "/twins/d/methods", c.request) }()
			_, m := p.hears(r)
			id, ok := m.Properties.CorrelationID.(amqp.UUID)
			if !ok || m.ApplicationProperties.Get("IoThub-methodname") != "m" || string(slices.Concat(m.Data...)) != c.payload {
				t.Fatalf("%+v %v %s", m.Properties, m.ApplicationProperties, m.Data)
			}
			reply := amqp.Message{
				Properties: &amqp.Properties{CorrelationID: id}, ApplicationProperties: amqp.Map{{Key: "IoThub-status", Value: int32(-7)}}, Data: [][]byte{[]byte(c.answer)},
			}
			p.must(s.Start(p.ctx, encoded(t, reply), 0, nil))
			if got := <-answer; fmt.Sprint(map[string]any(got)) != c.want {
				t.Errorf("the service gets %v, want %s", got, c.want)
			}
		}
	})
}
