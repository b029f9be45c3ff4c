package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

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
