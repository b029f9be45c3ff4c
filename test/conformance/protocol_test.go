package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

const rawMQTT = "raw MQTT"

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

func TestRawConnect(t *testing.T) {
	w := start(t, hubtest.Options{})
	d, other, disabled := w.Device(hubtest.Contoso, "d"), w.Device(hubtest.Contoso, "other"), w.Device(hubtest.Contoso, "disabled")
	disabled.Status = hubstore.Disabled
	if _, err := w.Hub(hubtest.Contoso).UpdateDevice(t.Context(), disabled.Device, hub.AnyETag); err != nil {
		t.Fatal(err)
	}
	thumbprint, err := w.Hub(hubtest.Contoso).CreateDevice(t.Context(), hubstore.Device{ID: "certified", AuthType: hub.AuthSelfSigned, PrimaryThumbprint: strings.Repeat("ab", 20)})
	if err != nil {
		t.Fatal(err)
	}
	m := w.Module(hubtest.Contoso, "d", "m")
	with := func(d hub.Device, change func(*mqtt.Connect)) *mqtt.Connect {
		c := hello(w, d)
		if change != nil {
			change(c)
		}
		return c
	}
	user := func(text string) func(*mqtt.Connect) { return func(c *mqtt.Connect) { c.UserName = text } }
	token := func(text string) func(*mqtt.Connect) { return func(c *mqtt.Connect) { c.Password = []byte(text) } }
	for _, carrier := range carriers {
		for _, c := range []struct {
			id, name string
			connect  *mqtt.Connect
			code     mqtt.ReturnCode
		}{
			{"C01", "a device", with(d, nil), 0},
			{"C01", "the user name as it was before", with(d, user(hubtest.Contoso+"/d/api-version=2016-11-14")), 0},
			{"C01", "a host in other letters and with a port", with(d, user(strings.ToUpper(hubtest.Contoso)+":8883/d"+userSuffix)), 0},
			{"C01", "with a model, and what nobody knows", with(d, user(hubtest.Contoso+"/d/?api-version=2020-09-30&model-id=dtmi:com:example:Thermostat;1&who=knows&api-version=1")), 0},
			{"C02", "a module", with(m, nil), 0},
			{"C03", "no certificate", with(thumbprint, func(c *mqtt.Connect) { c.HasPassword, c.Password = false, nil }), 5},
			{"C05", "another's key", with(d, token(sign(t, hubtest.Contoso+"/devices/d", other.PrimaryKey, "", time.Hour))), 5},
			{"C05", "an expired token", with(d, token(sign(t, hubtest.Contoso+"/devices/d", d.PrimaryKey, "", -time.Minute))), 5},
			{"C05", "no token", with(d, func(c *mqtt.Connect) { c.HasPassword, c.Password = false, nil }), 5},
			{"C05", "nonsense for a token", with(d, token("SharedAccessSignature sr=x")), 5},
			{"C05", "an unknown device", with(hub.Device{Device: hubstore.Device{ID: "nobody", PrimaryKey: d.PrimaryKey}}, nil), 5},
			{"C05", "a disabled device", with(disabled, nil), 5},
			{"C06", "another device's token", with(d, token(w.Token(hubtest.Contoso, other))), 5},
			{"C06", "another client id than the user name's", with(d, func(c *mqtt.Connect) { c.ClientID = "other" }), 5},
			{"C06", "a client id in other letters", with(d, func(c *mqtt.Connect) { c.ClientID = "D" }), 5},
			{"C06", "a user name that is no hub's", with(d, user("d")), 5},
			{"C06", "the module's token", with(d, token(w.ModuleToken(hubtest.Contoso, m))), 5},
		} {
			t.Run(c.id+" "+c.name+" over "+carrier, func(t *testing.T) {
				covers(t, c.id, rawMQTT)
				p := dialRaw(t, w, carrier)
				p.send(c.connect)
				if ack := p.next(); ack != (mqtt.Connack{Code: c.code}) {
					t.Fatalf("it is answered with %+v, want code %d", ack, c.code)
				}
				if c.code != 0 {
					p.ends()
				}
			})
		}
		t.Run("C08 the second closes the first over "+carrier, func(t *testing.T) {
			covers(t, "C08", rawMQTT)
			first := connectRaw(t, w, carrier, hello(w, other), false)
			second := connectRaw(t, w, carrier, hello(w, other), false)
			first.ends()
			second.silent()
		})
	}
}

func TestRawEnds(t *testing.T) {
	w := start(t, hubtest.Options{})
	calm := connectRaw(t, w, carriers[0], hello(w, w.Device(hubtest.Contoso, "calm")), false)
	for i, c := range []struct {
		name   string
		packet mqtt.Packet
	}{
		{"QoS 2", &mqtt.Publish{Topic: []byte("devices/ID/messages/events/"), QoS: 2, ID: 1}},
		{"another device's topic", rawPublish("devices/other/messages/events/", "x", 1)},
		{"a topic of nobody", rawPublish("plant/7/temperature", "x", 0)},
		{"a topic of the hub's", rawPublish("$iothub/twin/res/200/?$rid=1", "{}", 0)},
		{"a method's answer without an id", rawPublish("$iothub/methods/res/200/", "{}", 0)},
		{"a bag that cannot be decoded", rawPublish("devices/ID/messages/events/a=%zz", "x", 1)},
		{"too large", rawPublish("devices/ID/messages/events/a=b", strings.Repeat("x", 256<<10-2), 1)},
		{"everything", &mqtt.Subscribe{ID: 1, Topics: []mqtt.Subscription{{Filter: "#"}}}},
		{"another device's messages", &mqtt.Subscribe{ID: 1, Topics: []mqtt.Subscription{{Filter: "devices/other/messages/devicebound/#"}}}},
		{"the events themselves", &mqtt.Subscribe{ID: 1, Topics: []mqtt.Subscription{{Filter: "devices/ID/messages/events/#"}}}},
		{"a second CONNECT", nil},
		{"a server's packet", mqtt.Bare(mqtt.PINGRESP)},
	} {
		t.Run("C18 "+c.name, func(t *testing.T) {
			covers(t, "C18", rawMQTT)
			d := w.Device(hubtest.Contoso, fmt.Sprint("bad-", i))
			p := connectRaw(t, w, carriers[i%2], hello(w, d), false)
			switch packet := c.packet.(type) {
			case nil:
				c.packet = hello(w, d)
			case *mqtt.Publish:
				packet.Topic = []byte(strings.ReplaceAll(string(packet.Topic), "ID", d.ID))
			case *mqtt.Subscribe:
				packet.Topics[0].Filter = strings.ReplaceAll(packet.Topics[0].Filter, "ID", d.ID)
			}
			_ = p.try(c.packet) // the hub may close before all of it is written
			p.ends()
			calm.silent()
			eventually(t, "a word for people", func() bool {
				return slices.ContainsFunc(w.Server.Refusals(), func(r hub.Refusal) bool { return r.Who == d.ID && r.Why != "" })
			})
		})
	}
	for name, first := range map[string]string{"a PINGREQ first": "\xc0\x00", "no MQTT": "GET / HTTP/1.1\r\nHost: " + hubtest.Contoso + "\r\nUser-Agent: a browser that lost its way\r\n\r\n"} {
		t.Run("C18 "+name, func(t *testing.T) {
			covers(t, "C18", rawMQTT)
			p := dialRaw(t, w, carriers[0])
			if _, err := p.Write([]byte(first)); err != nil {
				t.Fatal(err)
			}
			p.ends()
		})
	}
	t.Run("C18 the largest is taken, and QoS 2 is granted as 1", func(t *testing.T) {
		covers(t, "C18", rawMQTT)
		d := w.Device(hubtest.Contoso, "large")
		p := connectRaw(t, w, carriers[0], hello(w, d), false)
		if codes := p.subscribes(2, "devices/large/messages/devicebound/#", "$iothub/methods/POST/#"); string(codes) != "\x01\x01" {
			t.Errorf("granted %v", codes)
		}
		p.send(rawPublish("devices/large/messages/events/a=b", strings.Repeat("x", 256<<10-3), 9), &mqtt.Unsubscribe{ID: 5, Filters: []string{"never/subscribed"}})
		for _, want := range []mqtt.Packet{mqtt.Ack{Of: mqtt.UNSUBACK, ID: 5}, mqtt.Ack{Of: mqtt.PUBACK, ID: 9}} { // the log takes its time
			if got := p.next(); got != want {
				t.Errorf("it gets %+v, want %+v", got, want)
			}
		}
	})
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

func TestRawCommands(t *testing.T) {
	o := sending(t)
	d := o.Device(hubtest.Contoso, "d")
	const filter = "devices/d/messages/devicebound/#"
	lasting := hello(o.World, d)
	lasting.CleanSession = false
	connect := func(clean, present bool) *raw {
		c := *lasting
		c.CleanSession = clean
		return connectRaw(t, o.World, carriers[0], &c, present)
	}
	t.Run("C21 the topic says all", func(t *testing.T) {
		covers(t, "C21", rawMQTT)
		o := o.in(t)
		p := connect(true, false)
		p.subscribes(1, filter)
		if _, err := o.api.SendCommand(t.Context(), "d", hubclient.Command{MessageID: "one", Ack: "full", Properties: map[string]string{"a b": "c&d", "empty": ""}, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		m := p.hears()
		for _, part := range []string{
			"devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2Fdevicebound&%24.mid=one", "&iothub-ack=full", "&a%20b=c%26d", "&empty=", "%24.exp=",
		} {
			if !strings.Contains(string(m.Topic), part) {
				t.Errorf("%s has no %s", m.Topic, part)
			}
		}
		if m.QoS != 1 || m.Dup || m.Retain {
			t.Errorf("%+v", m)
		}
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: m.ID}, mqtt.Bare(mqtt.DISCONNECT))
		o.became(map[string]string{"one": "Success"})
	})
	t.Run("C25 clean session 0 and 1", func(t *testing.T) {
		covers(t, "C25", rawMQTT)
		o := o.in(t)
		p := connect(false, false)
		p.subscribes(1, filter)
		p.send(mqtt.Bare(mqtt.DISCONNECT))
		o.sent("d", "waits")
		p = connect(false, true)
		m := p.hears() // without a SUBSCRIBE
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: m.ID})
		o.became(map[string]string{"waits": "Success"})
		o.sent("d", "unheard")
		p = connect(true, false)
		p.silent()
		p.subscribes(1, filter)
		m = p.hears()
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: m.ID})
		o.became(map[string]string{"unheard": "Success"})
		connect(false, false).silent() // that session is over
	})
	t.Run("C26 what is not acknowledged comes again", func(t *testing.T) {
		covers(t, "C26", rawMQTT)
		o := o.in(t)
		p := connect(false, false)
		p.subscribes(1, filter)
		o.sent("d", "again")
		first := p.hears()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p = connect(false, true)
		second := p.hears()
		if string(second.Payload) != "again" || first.Dup || !second.Dup || first.ID != second.ID {
			t.Errorf("%+v, then %+v", first, second)
		}
		o.hears()
		if o.status["again"] != "" {
			t.Errorf("it is %s before it was acknowledged", o.status["again"])
		}
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: second.ID})
		o.became(map[string]string{"again": "Success"})
	})
	t.Run("C10 a token that ends loses none", func(t *testing.T) {
		covers(t, "C10", rawMQTT)
		o := o.in(t)
		short := *lasting
		ends := time.Now().Add(2 * time.Second).Truncate(time.Second)
		short.Password = []byte(sign(t, hubtest.Contoso+"/devices/d", d.PrimaryKey, "", time.Until(ends)))
		p := connectRaw(t, o.World, carriers[0], &short, true)
		o.sent("d", "acknowledged", "not acknowledged")
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: p.hears().ID})
		p.hears()
		o.became(map[string]string{"acknowledged": "Success"})
		p.ends()
		if early := time.Until(ends); early > 0 {
			t.Errorf("it was closed %v before its token's end", early)
		}
		refused := dialRaw(t, o.World, carriers[0])
		refused.send(&short)
		if ack := refused.next(); ack != (mqtt.Connack{Code: 5}) {
			t.Errorf("with that token it gets %+v", ack)
		}
		p = connect(false, true)
		m := p.hears()
		if string(m.Payload) != "not acknowledged" || !m.Dup {
			t.Errorf("it hears %+v %s", m, m.Payload)
		}
		p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: m.ID})
		o.became(map[string]string{"not acknowledged": "Success"})
		p.silent()
	})
}

func TestRawTwins(t *testing.T) {
	w := start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	p := connectRaw(t, w, carriers[0], hello(w, d), false)
	change := func(text string) { rest(t, w, "PATCH", "/twins/d", `{"properties":{"desired":`+text+`}}`) }
	same := func(got, want string) {
		t.Helper()
		var a, b any
		if json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("it gets %s, want %s", got, want)
		}
	}
	t.Run("C31 nothing before SUBSCRIBE", func(t *testing.T) {
		covers(t, "C31", rawMQTT)
		change(`{"a":1}`)
		p.silent()
		p.subscribes(0, "$iothub/twin/PATCH/properties/desired/#")
		p.silent()
		change(`{"a":null,"b":{"c":2}}`)
		m := p.hears()
		if string(m.Topic) != "$iothub/twin/PATCH/properties/desired/?$version=3" || m.QoS != 0 {
			t.Errorf("%+v %s", m, m.Topic)
		}
		same(string(m.Payload), `{"a":null,"b":{"c":2},"$version":3}`)
		rest(t, w, "PUT", "/twins/d", `{"properties":{"desired":{"only":true}}}`)
		same(string(p.hears().Payload), `{"only":true,"$version":4}`)
		p.send(&mqtt.Unsubscribe{ID: 1, Filters: []string{"$iothub/twin/PATCH/properties/desired/#"}})
		p.next()
		change(`{"unheard":1}`)
		p.silent()
	})
	p.subscribes(0, "$iothub/twin/res/#")
	t.Run("C29 an empty body, or a space", func(t *testing.T) {
		covers(t, "C29", rawMQTT)
		for i, body := range []string{"", " "} {
			rid := fmt.Sprintf("0A-b%d", i)
			topic, twin := p.ask("$iothub/twin/GET/?$rid="+rid, body)
			if topic != "$iothub/twin/res/200/?$rid="+rid {
				t.Errorf("the answer is %s", topic)
			}
			same(twin, `{"desired":{"only":true,"unheard":1,"$version":5},"reported":{"$version":1}}`)
		}
	})
	t.Run("C30 the answer has the version and no body", func(t *testing.T) {
		covers(t, "C30", rawMQTT)
		topic, body := p.ask("$iothub/twin/PATCH/properties/reported/?$rid=7&more=x", `{"a":{"b":null,"c":1}}`)
		if topic != "$iothub/twin/res/204/?$rid=7&$version=2" || body != "" {
			t.Errorf("the answer is %s %s", topic, body)
		}
	})
	for name, body := range map[string]string{
		"no JSON": `{"a":`, "no object": `[1]`, "a key with a dot": `{"a.b":1}`, "too deep": strings.Repeat(`{"a":`, 12) + "1" + strings.Repeat("}", 12),
		"too large": `{"a":["` + strings.Repeat(strings.Repeat("x", 4000)+`","`, 9) + `"]}`,
	} {
		t.Run("C32 "+name, func(t *testing.T) {
			covers(t, "C32", rawMQTT)
			topic, answer := p.ask("$iothub/twin/PATCH/properties/reported/?$rid=9", body)
			var v struct {
				ErrorCode                         int
				TrackingID, Message, TimestampUTC string
			}
			if err := json.Unmarshal([]byte(answer), &v); topic != "$iothub/twin/res/400/?$rid=9" || err != nil || v.ErrorCode/1000 != 400 || v.TrackingID == "" || v.Message == "" || v.TimestampUTC == "" {
				t.Errorf("the answer is %s %s", topic, answer)
			}
			p.silent()
		})
	}
}

func TestRawMethods(t *testing.T) {
	covers(t, "C35", rawMQTT)
	w := start(t, hubtest.Options{})
	p := connectRaw(t, w, carriers[0], hello(w, w.Device(hubtest.Contoso, "d")), false)
	p.subscribes(0, "$iothub/methods/POST/#")
	for _, c := range []struct{ request, payload, answer, want string }{
		{`{"methodName":"m"}`, "null", `{"a":1}`, "map[payload:map[a:1] status:-7]"},
		{`{"methodName":"m","payload":null}`, "null", ``, "map[payload:<nil> status:-7]"},
		{`{"methodName":"m","payload":[1, "€"]}`, `[1, "€"]`, `"text"`, "map[payload:text status:-7]"},
		{`{"methodName":"m","payload":"x"}`, `"x"`, `no JSON`, "map[payload:no JSON status:-7]"},
	} {
		answer := make(chan said, 1)
		go func() { answer <- rest(t, w, "POST", "/twins/d/methods", c.request) }()
		m := p.hears()
		rid, ok := strings.CutPrefix(string(m.Topic), "$iothub/methods/POST/m/?$rid=")
		if !ok || m.QoS != 0 || string(m.Payload) != c.payload {
			t.Fatalf("%s hears %s %s", c.request, m.Topic, m.Payload)
		}
		p.send(rawPublish("$iothub/methods/res/200/?$rid=unheard", "{}", 0), rawPublish("$iothub/methods/res/-7/?$rid="+rid, c.answer, 0))
		if got := <-answer; fmt.Sprint(map[string]any(got)) != c.want {
			t.Errorf("the service gets %v, want %s", got, c.want)
		}
	}
}
