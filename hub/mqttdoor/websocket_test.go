package mqttdoor_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/mqttdoor"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// webSocket opens one as a device does; header is added to the connection before TLS.
func webSocket(t *testing.T, w *hubtest.World, header []byte, path string, subprotocols ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		return w.Dial(w.HTTPS, header, hubtest.Contoso)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	c, resp, err := websocket.Dial(t.Context(), "wss://"+hubtest.Contoso+path, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}, Subprotocols: subprotocols})
	if err == nil {
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, resp, err
}

// inWebSocket connects and is a peer.
func inWebSocket(t *testing.T, w *hubtest.World, header []byte) *peer {
	t.Helper()
	c, _, err := webSocket(t, w, header, "/$iothub/websocket", "mqttv3.1", "mqtt") //nolint:bodyclose // as above
	if err != nil {
		t.Fatal(err)
	}
	if c.Subprotocol() != "mqtt" {
		t.Fatalf("the subprotocol is %q", c.Subprotocol())
	}
	conn := websocket.NetConn(context.WithoutCancel(t.Context()), c, websocket.MessageBinary)
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &peer{conn, t, mqtt.NewReader(conn, mqtt.MaxRemaining)}
}

// TestOverWebSocket is C01 over port 443, by the byte and by the dozen.
func TestOverWebSocket(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	p := inWebSocket(t, w, nil)
	hello, _ := connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, d)).Append(nil)
	for _, b := range hello { // each in a frame of its own
		if _, err := p.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	p.wants(mqtt.Accepted)
	large := strings.Repeat("x", 200<<10)
	p.send(publish("d", "", "one", 1), publish("d", "a=b", large, 2), mqtt.Bare(mqtt.PINGREQ)) // all in one frame
	seen := map[mqtt.Packet]bool{}
	for range 3 {
		seen[p.next()] = true
	}
	for _, want := range []mqtt.Packet{mqtt.Ack{Of: mqtt.PUBACK, ID: 1}, mqtt.Ack{Of: mqtt.PUBACK, ID: 2}, mqtt.Bare(mqtt.PINGRESP)} {
		if !seen[want] {
			t.Errorf("no %+v among %v", want, seen)
		}
	}
	if e := w.Events(hubtest.Contoso, 2); string(e[1].Body) != large {
		t.Error("the large message came otherwise")
	}
	p.subscribes("devices/d/messages/devicebound/#")
	command(t, w, hub.Name{Device: "d"}, hub.Command{Body: []byte(large[:50<<10])})
	m := p.hears()
	if len(m.Payload) != 50<<10 {
		t.Errorf("a command of %d bytes comes", len(m.Payload))
	}
	p.send(mqtt.Ack{Of: mqtt.PUBACK, ID: m.ID})
	depth(t, w, hub.Name{Device: "d"}, 0)
	if c := w.Hub(hubtest.Contoso).Connections(); len(c) != 1 || c[0].Door != "mqtt over WebSocket" {
		t.Errorf("connections %+v", c)
	}
	// The same identity, over the other door.
	q := dial(t, w, nil, hubtest.Contoso)
	q.send(connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, d)))
	q.wants(mqtt.Accepted)
	p.ends()
	p = inWebSocket(t, w, nil)
	p.send(connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, d)))
	p.wants(mqtt.Accepted)
	q.ends()
	p.send(mqtt.Bare(mqtt.DISCONNECT))
	eventually(t, "it is gone", func() bool { return w.Hub(hubtest.Contoso).Connected() == 0 })
}

func TestWebSocketsThatAreRefused(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{Front: front.Config{SetupTimeout: 20 * time.Second}, MQTT: mqttdoor.Config{}})
	d := w.Device(hubtest.Contoso, "d")
	for name, c := range map[string]struct {
		path         string
		subprotocols []string
		status       int
	}{
		"no subprotocol":      {"/$iothub/websocket", nil, 400},
		"another subprotocol": {"/$iothub/websocket", []string{"soap"}, 400},
		"another path":        {"/$iothub/sockets", []string{"mqtt"}, 404},
	} {
		if _, resp, err := webSocket(t, w, nil, c.path, c.subprotocols...); err == nil || resp == nil || resp.StatusCode != c.status { //nolint:bodyclose // websocket.Dial has read it
			t.Errorf("%s: %v", name, err)
		}
	}
	p := inWebSocket(t, w, nil)
	p.send(connect(hubtest.Contoso, "d", "SharedAccessSignature sr=x&sig=eA%3D%3D&se=99999999999"))
	p.wants(mqtt.NotAuthorized)

	// Text is no MQTT.
	c, _, err := webSocket(t, w, nil, "/$iothub/websocket", "mqtt") //nolint:bodyclose // as above
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusUnsupportedData && !errors.Is(err, io.EOF) {
		t.Errorf("text is answered with %v", err)
	}
	eventually(t, "somebody is told of the text", func() bool { return refused(w, "a frame of the WebSocket is text") })

	// A hub without a public side, and one reached through an endpoint.
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Public = resource.PublicDisabled })
	if _, resp, err := webSocket(t, w, nil, "/$iothub/websocket", "mqtt"); err == nil || resp == nil || resp.StatusCode != 401 { //nolint:bodyclose // as above
		t.Errorf("the public side of a hub that has none: %v", err)
	}
	p = inWebSocket(t, w, w.Header(hubtest.Contoso, hubtest.ContosoLink))
	p.send(connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, d)))
	p.wants(mqtt.Accepted)
	w.Change(hubtest.Contoso, func(p *plan.Hub) { p.Links = nil })
	p.ends() // with its link
}

func refused(w *hubtest.World, why string) bool {
	return slices.ContainsFunc(w.Server.Refusals(), func(r hub.Refusal) bool { return r.Why == why })
}

// A hub that stops takes its WebSockets with it; silence ends them as it ends others.
func TestWebSocketsEnd(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	d := w.Device(hubtest.Contoso, "d")
	p := inWebSocket(t, w, nil)
	c := connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, d))
	c.KeepAlive = 1
	p.send(c)
	p.wants(mqtt.Accepted)
	start := time.Now()
	p.ends()
	if took := time.Since(start); took < time.Second || took > 10*time.Second {
		t.Errorf("silence ended it after %v", took)
	}
	p = inWebSocket(t, w, nil)
	p.send(connect(hubtest.Contoso, "d", w.Token(hubtest.Contoso, d)))
	p.wants(mqtt.Accepted) // the world's cleanup fails when it stays
}
