package mqttdoor

import (
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

func TestParseUserName(t *testing.T) {
	for _, c := range []struct{ in, host, identity string }{
		{"h/d/?api-version=2021-04-12&DeviceClientType=py", "h", "d"},
		{"h:8883/d/m/?model-id=dtmi:com:x;1&api-version=1", "h:8883", "d/m"},
		{"h/d/m/x/?api-version=1", "", ""},
		{"h/d//?api-version=1", "", ""},
		{"h/d/api-version=2016-11-14/DeviceClientType=x", "", ""},
		{"h/d/api-version=2016-11-14", "h", "d"},
		{"h/d/?x-api-version=1", "", ""},
		{"h/d/", "", ""},
		{"h/d", "", ""},
		{"/d/?api-version=1", "", ""},
		{"h//?api-version=1", "", ""},
		{"", "", ""},
	} {
		u, err := parseUserName(c.in)
		if u.host != c.host || u.identity != c.identity || (err == nil) != (c.host != "") {
			t.Errorf("%q gives %+v, %v", c.in, u, err)
		}
	}
	for _, query := range []string{"api-version=1&model-id=dtmi:a;1", "model-id=dtmi%3Aa%3B1&auth-chain=x%3By&api-version=1", "api-version=1&model-id=dtmi:a;1&model-id=b"} {
		if u, err := parseUserName("h/d/?" + query); err != nil || u.model != "dtmi:a;1" {
			t.Errorf("%s gives %+v, %v", query, u, err)
		}
	}
}

func TestEveryKindHasAReturnCode(t *testing.T) {
	for _, k := range fault.Kinds() {
		want := mqtt.NotAuthorized
		if k == fault.Unavailable || k == fault.Timeout || k == fault.Exhausted || k == fault.Internal {
			want = mqtt.ServerUnavailable
		}
		if got := returnCode(fault.New("x", k, "x")); got != want {
			t.Errorf("%v gives %d", k, got)
		}
	}
}

func FuzzBag(f *testing.F) {
	for _, s := range []string{"", "a=b", "%24.mid=1&$.ct=x&a%20b=%C3%A9", "a", "a=b=c", "&&", "%", "a=%ff", "$.mid"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, bag []byte) {
		properties, system, err := parseBag(bag)
		if err != nil {
			return
		}
		again := []byte{}
		for k, v := range properties {
			again = append(again, percent(k)+"="+percent(v)+"&"...)
		}
		for short, long := range systemKeys {
			if v, ok := system[long]; ok {
				again = append(again, percent(short)+"="+percent(v)+"&"...)
			}
		}
		p, s, err := parseBag(again)
		if err != nil || !maps.Equal(p, properties) || !maps.Equal(s, system) {
			t.Fatalf("%q: %v %v came back as %v %v, %v", bag, properties, system, p, s, err)
		}
	})
}

// What is written for a device reads back as it was.
func TestCommandBags(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 20, -1)
		m := &hub.Command{
			To: text.Draw(t, "to"), MessageID: text.Draw(t, "id"), CorrelationID: text.Draw(t, "correlation"), UserID: text.Draw(t, "user"), ContentType: text.Draw(t, "type"),
			Properties: rapid.MapOf(rapid.StringMatching("[^$].*").Filter(func(s string) bool { return s != "iothub-ack" && utf8.ValidString(s) }), text).Draw(t, "properties"), Ack: "full",
		}
		bag := appendBag(nil, m)
		properties, system, err := parseBag(bag)
		want := maps.Clone(m.Properties)
		want["iothub-ack"] = "full"
		if err != nil || !maps.Equal(properties, want) || system[hub.To] != m.To || system[hub.MessageID] != m.MessageID || system[hub.CorrelationID] != m.CorrelationID ||
			system[hub.UserID] != m.UserID || system[hub.ContentType] != m.ContentType {
			t.Fatalf("%+v came back as %v %v, %v\n%s", m, properties, system, err, bag)
		}
	})
}

func FuzzTopics(f *testing.F) {
	for _, s := range []string{
		"$iothub/twin/GET/?$rid=1", "$iothub/twin/PATCH/properties/reported/?$rid=1&$version=2", "$iothub/methods/res/200/?$rid=a", "$iothub/methods/POST/#", "$iothub/twin/res/#",
		"devices/d/messages/events/a=b/", "devices/d/modules/m/inputs/#", "devices/d/modules/m/#", "h/d/?api-version=1", "h/d/m/api-version=1", "scope/registrations/r/api-version=1",
	} {
		f.Add(s)
	}
	device, module := topicsOf(hub.Name{Device: "d"}), topicsOf(hub.Name{Device: "d", Module: "m"})
	f.Fuzz(func(t *testing.T, s string) {
		if r := parseRequest([]byte(s)); r.kind != unknownRequest && !strings.Contains(s, "$rid="+r.rid) {
			t.Errorf("%q is %+v", s, r)
		}
		if k := device.subscription(s); k != notOwn && k != module.subscription(s) && k != toCommands {
			t.Errorf("%q is %d for a device and %d for a module", s, k, module.subscription(s))
		}
		_, ofDevice := device.bag([]byte(s))
		_, ofModule := module.bag([]byte(s))
		if ofDevice && ofModule {
			t.Errorf("%q is both a device's and a module's", s)
		}
		if u, err := parseUserName(s); err == nil && (u.host == "" || !strings.HasPrefix(s, u.host+"/"+u.identity+"/")) {
			t.Errorf("%q gives %+v", s, u)
		}
	})
}

func percent(s string) string {
	const digits = "0123456789ABCDEF"
	var out []byte
	for i := range len(s) {
		out = append(out, '%', digits[s[i]>>4], digits[s[i]&15])
	}
	return string(out)
}

func TestEventsTopics(t *testing.T) {
	topics := topicsOf(hub.Name{Device: "d"})
	for topic, want := range map[string]string{
		"devices/d/messages/events": "", "devices/d/messages/events/": "", "devices/d/messages/events/a=b": "a=b", "devices/d/messages/events/a=b/": "a=b",
	} {
		if bag, ok := topics.bag([]byte(topic)); !ok || string(bag) != want {
			t.Errorf("%s gives %q, %v", topic, bag, ok)
		}
	}
	for _, topic := range []string{"devices/d/messages/event", "devices/e/messages/events", "devices/d/messages/eventsx", "x"} {
		if _, ok := topics.bag([]byte(topic)); ok {
			t.Errorf("%s passes", topic)
		}
	}
}
