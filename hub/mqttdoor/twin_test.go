package mqttdoor_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// subscribes to filters and waits for the SUBACK.
func (p *peer) subscribes(filters ...string) {
	p.t.Helper()
	s := &mqtt.Subscribe{ID: 1}
	for _, f := range filters {
		s.Topics = append(s.Topics, mqtt.Subscription{Filter: f, QoS: 1})
	}
	p.send(s)
	if ack, ok := p.next().(*mqtt.Suback); !ok || len(ack.Codes) != len(filters) {
		p.t.Fatalf("got %+v, want a SUBACK", ack)
	}
}

// hears a PUBLISH.
func (p *peer) hears() *mqtt.Publish {
	p.t.Helper()
	m, ok := p.next().(*mqtt.Publish)
	if !ok {
		p.t.Fatalf("got %+v, want a PUBLISH", m)
	}
	return m
}

// ask publishes a request and returns the topic and payload of its answer.
func (p *peer) ask(topic, payload string) (string, string) {
	p.t.Helper()
	p.send(&mqtt.Publish{Topic: []byte(topic), Payload: []byte(payload)})
	m := p.hears()
	return string(m.Topic), string(m.Payload)
}

const (
	answers = "$iothub/twin/res/#"
	desired = "$iothub/twin/PATCH/properties/desired/#"
	methods = "$iothub/methods/POST/#"
)

// TestTwin is C29, C30 and C31 on the wire.
func TestTwin(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h, n := w.Hub(hubtest.Contoso), hub.Name{Device: "d"}
	p, _ := device(t, w, "d")
	patch := func(body string) {
		t.Helper()
		if _, err := h.PatchTwin(t.Context(), n, []byte(body), ""); err != nil {
			t.Fatal(err)
		}
	}
	patch(`{"properties":{"desired":{"rate":1}}}`) // nobody hears of it
	p.subscribes(answers)
	patch(`{"properties":{"desired":{"rate":2}}}`) // nor of this
	for _, c := range []struct{ ask, payload, topic, body string }{
		{"$iothub/twin/GET/?$rid=a-1", " ", "$iothub/twin/res/200/?$rid=a-1", `{"desired":{"rate":2,"$version":3},"reported":{"$version":1}}`},
		{"$iothub/twin/PATCH/properties/reported/?$rid=", `{"a":{"b":1,"c":null},"d":[1]}`, "$iothub/twin/res/204/?$rid=&$version=2", ""},
		{"$iothub/twin/PATCH/properties/reported/?$rid=x%2F&y=z", `{"a":{"b":null}}`, "$iothub/twin/res/204/?$rid=x%2F&$version=3", ""},
		{"$iothub/twin/GET/?$rid=2", "", "$iothub/twin/res/200/?$rid=2", `{"desired":{"rate":2,"$version":3},"reported":{"a":{},"d":[1],"$version":3}}`},
	} {
		topic, body := p.ask(c.ask, c.payload)
		if topic != c.topic || !sameJSON(body, c.body) {
			t.Errorf("%s %s is answered with %s %s, want %s %s", c.ask, c.payload, topic, body, c.topic, c.body)
		}
	}
	p.subscribes(desired)
	patch(`{"tags":{"x":1}}`) // not the device's matter
	patch(`{"properties":{"desired":{"rate":null,"more":"é"}}}`)
	if m := p.hears(); string(m.Topic) != "$iothub/twin/PATCH/properties/desired/?$version=4" || !sameJSON(string(m.Payload), `{"rate":null,"more":"é","$version":4}`) || m.QoS != 0 {
		t.Errorf("the device hears %s %s", m.Topic, m.Payload)
	}
	if _, err := h.ReplaceTwin(t.Context(), n, []byte(`{"properties":{"desired":{"only":true}}}`), ""); err != nil {
		t.Fatal(err)
	}
	if m := p.hears(); string(m.Topic) != "$iothub/twin/PATCH/properties/desired/?$version=5" || !sameJSON(string(m.Payload), `{"only":true,"$version":5}`) {
		t.Errorf("the device hears %s %s", m.Topic, m.Payload)
	}
	p.send(&mqtt.Unsubscribe{ID: 2, Filters: []string{desired}})
	p.next()
	patch(`{"properties":{"desired":{"only":false}}}`)
	if topic, _ := p.ask("$iothub/twin/GET/?$rid=3", ""); topic != "$iothub/twin/res/200/?$rid=3" {
		t.Errorf("who has unsubscribed hears %s", topic)
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	if a == "" || b == "" {
		return a == b
	}
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// TestBadPatches is C32: what is wrong stands in the body, and the link stays.
func TestBadPatches(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	p, _ := device(t, w, "d")
	p.subscribes(answers)
	seen := map[string]bool{}
	for name, patch := range map[string]string{
		"no JSON": `{"a":`, "no object": `[1]`, "nothing": "", "key with a dot": `{"a.b":1}`, "key with a dollar": `{"$a":1}`, "number too large": `{"a":4503599627370497}`,
		"too deep": strings.Repeat(`{"a":`, 12) + "1" + strings.Repeat("}", 12), "too large": fmt.Sprintf(`{"a":{"b":%q,"c":%q,"d":%q,"e":%q,"f":%q,"g":%q,"h":%q,"i":%q,"j":%q}}`, long, long, long, long, long, long, long, long, long),
	} {
		topic, body := p.ask("$iothub/twin/PATCH/properties/reported/?$rid=r", patch)
		var said struct {
			ErrorCode                         int
			TrackingID, Message, TimestampUTC string
		}
		if err := json.Unmarshal([]byte(body), &said); err != nil || topic != "$iothub/twin/res/400/?$rid=r" || said.ErrorCode/1000 != 400 || len(said.TrackingID) != 32 ||
			said.Message == "" || said.TimestampUTC == "" || seen[said.TrackingID] {
			t.Errorf("%s: %s %s", name, topic, body)
		}
		seen[said.TrackingID] = true
	}
	if _, body := p.ask("$iothub/twin/GET/?$rid=r", ""); !sameJSON(body, `{"desired":{"$version":1},"reported":{"$version":1}}`) {
		t.Errorf("afterwards the twin is %s", body)
	}
}

var long = strings.Repeat("x", 4000)

// Answers come in the order of the questions, and a question about the twin after a patch sees it.
func TestTwinRequestsKeepTheirOrder(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	p, _ := device(t, w, "d")
	p.subscribes(answers)
	const n = 100
	var packets []mqtt.Packet
	for i := range n {
		packets = append(packets,
			&mqtt.Publish{Topic: fmt.Appendf(nil, "$iothub/twin/PATCH/properties/reported/?$rid=p%d", i), Payload: fmt.Appendf(nil, `{"i":%d}`, i), QoS: 1, ID: uint16(i + 1)})
	}
	packets = append(packets, &mqtt.Publish{Topic: []byte("$iothub/twin/GET/?$rid=g")})
	var all []byte
	for _, packet := range packets {
		all, _ = packet.Append(all)
	}
	go func() { _, _ = p.Write(all) }() // what does not arrive is missed below
	acks, patches := 0, 0
	for {
		switch m := p.next().(type) {
		case mqtt.Ack:
			if acks++; int(m.ID) != acks {
				t.Fatalf("PUBACK %d comes as number %d", m.ID, acks)
			}
		case *mqtt.Publish:
			if strings.HasSuffix(string(m.Topic), "g") {
				if patches != n || acks != n || !sameJSON(string(m.Payload), fmt.Sprintf(`{"desired":{"$version":1},"reported":{"i":%d,"$version":%d}}`, n-1, n+1)) {
					t.Errorf("after %d answers and %d PUBACKs the twin is %s", patches, acks, m.Payload)
				}
				return
			}
			if want := fmt.Sprintf("$iothub/twin/res/204/?$rid=p%d&$version=%d", patches, patches+2); string(m.Topic) != want {
				t.Fatalf("got %s, want %s", m.Topic, want)
			}
			patches++
		}
	}
}

// A device that asks more than it may waits, and is answered.
func TestARunawayDeviceIsHeldBack(t *testing.T) {
	clk := clock.NewFake(time.Now())
	w := hubtest.Start(t, hubtest.Options{Clock: clk})
	p, _ := device(t, w, "d")
	other, _ := device(t, w, "other")
	p.subscribes(answers)
	other.subscribes(answers)
	if _, err := w.Hub(hubtest.Contoso).SetLimits(t.Context(), []byte(`{"device":{"twinReads":{"perSecond":1,"burst":2}}}`), "the test"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		p.send(&mqtt.Publish{Topic: fmt.Appendf(nil, "$iothub/twin/GET/?$rid=%d", i)})
	}
	p.hears()
	p.hears()
	if topic, _ := other.ask("$iothub/twin/GET/?$rid=o", ""); topic != "$iothub/twin/res/200/?$rid=o" {
		t.Errorf("another device hears %s", topic)
	}
	third := make(chan string, 1)
	go func() { third <- string(p.hears().Topic) }()
	began := clk.Now()
	eventually(t, "the third is answered", func() bool {
		select {
		case topic := <-third:
			if topic != "$iothub/twin/res/200/?$rid=2" || clk.Now().Sub(began) < 900*time.Millisecond {
				t.Errorf("%s comes after %v", topic, clk.Now().Sub(began))
			}
			return true
		default:
			clk.Advance(20 * time.Millisecond)
			return false
		}
	})
}
