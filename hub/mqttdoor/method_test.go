package mqttdoor_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

type answered struct {
	hub.MethodResponse
	err error
}

func invoke(ctx context.Context, h *hub.Hub, n hub.Name, r hub.MethodRequest) <-chan answered {
	out := make(chan answered, 1)
	go func() {
		m, err := h.InvokeMethod(ctx, n, r)
		out <- answered{m, err}
	}()
	return out
}

// TestMethods is C35 to C37 on the wire.
func TestMethods(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h, n := w.Hub(hubtest.Contoso), hub.Name{Device: "d"}
	p, _ := device(t, w, "d")
	if a := <-invoke(t.Context(), h, n, hub.MethodRequest{Name: "early"}); code.Of(a.err) != code.DeviceNotOnline {
		t.Errorf("a device that is not subscribed: %+v", a)
	}
	waits := invoke(t.Context(), h, n, hub.MethodRequest{Name: "first", Connect: 20 * time.Second})
	p.subscribes(methods)
	call := regexp.MustCompile(`^\$iothub/methods/POST/(.+)/\?\$rid=([0-9a-f]+)$`)
	for i, c := range []struct{ name, payload, sent, status, answer string }{
		{"first", "", "null", "200", ""},
		{"with-payload", `{"a":[1,null]}`, `{"a":[1,null]}`, "-7", `{"b":2}`},
		{"null", "null", "null", "404", `"text"`},
	} {
		a := waits
		if i > 0 {
			r := hub.MethodRequest{Name: c.name}
			if c.payload != "" {
				r.Payload = json.RawMessage(c.payload)
			}
			a = invoke(t.Context(), h, n, r)
		}
		m := p.hears()
		parts := call.FindStringSubmatch(string(m.Topic))
		if parts == nil || parts[1] != c.name || string(m.Payload) != c.sent || m.QoS != 0 {
			t.Fatalf("the device hears %s %s", m.Topic, m.Payload)
		}
		p.send(&mqtt.Publish{Topic: []byte("$iothub/methods/res/" + c.status + "/?$rid=" + parts[2]), Payload: []byte(c.answer)})
		got := <-a
		if got.err != nil || !sameJSON(string(got.Payload), c.answer) && c.answer != "" {
			t.Errorf("%s is answered with %+v", c.name, got)
		}
	}
	// An answer without a status, or to nobody.
	p.send(&mqtt.Publish{Topic: []byte("$iothub/methods/res/200/?$rid=ffff"), Payload: []byte("{}")})
	p.send(mqtt.Bare(mqtt.PINGREQ))
	p.next()
	p.send(&mqtt.Publish{Topic: []byte("$iothub/methods/res/ok/?$rid=1")})
	p.ends()
	eventually(t, "people are told", func() bool { return len(w.Server.Refusals()) == 1 && h.Connected() == 0 })
	if a := <-invoke(t.Context(), h, n, hub.MethodRequest{Name: "late"}); code.Of(a.err) != code.DeviceNotOnline || fault.KindOf(a.err) == fault.Internal {
		t.Errorf("a device that is gone: %+v", a)
	}
}

// What is said to a device that does not read is bounded, and ends the connection.
func TestMethodsOfADeviceThatDoesNotRead(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h, n := w.Hub(hubtest.Contoso), hub.Name{Device: "d"}
	p, _ := device(t, w, "d")
	p.subscribes(methods)
	payload := json.RawMessage(`"` + strings.Repeat("x", 100<<10) + `"`)
	_ = p.Conn.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(4096)
	eventually(t, "it is cut", func() bool { // sockets take some megabytes before
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		var all []<-chan answered
		for range 32 {
			all = append(all, invoke(ctx, h, n, hub.MethodRequest{Name: "m", Payload: payload}))
		}
		for _, a := range all {
			<-a
		}
		return h.Connected() == 0
	})
}
