package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/store/hubstore"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

const rawMQTT = "raw MQTT"

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
