package mqttdoor

import (
	"maps"
	"testing"

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

func TestSilence(t *testing.T) {
	for keepAlive, want := range map[uint16]float64{0: 1767, 1: 1.5, 180: 270, 1177: 1765.5, 1178: 1767, 65535: 1767} {
		if got := silence(keepAlive).Seconds(); got != want {
			t.Errorf("keep-alive %d gives %v s", keepAlive, got)
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
