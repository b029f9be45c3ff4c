package conformance

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// raw is a device that says exactly what a test tells it to, below what SDKs let one see.
type raw struct {
	net.Conn
	t      *testing.T
	reader *mqtt.Reader
}

// carriers are what MQTT goes over.
var carriers = []string{"8883", "WebSocket on 443"}

// dialRaw connects as far as TLS, or the WebSocket, reaches.
func dialRaw(t *testing.T, w *hubtest.World, carrier string) *raw {
	t.Helper()
	var conn net.Conn
	if carrier == carriers[0] {
		c, err := w.Dial(w.MQTT, nil, hubtest.Contoso)
		if err != nil {
			t.Fatal(err)
		}
		conn = c
	} else {
		conn = webSocket(t, w, "/$iothub/websocket", "mqtt")
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &raw{conn, t, mqtt.NewReader(conn, mqtt.MaxRemaining)}
}

// webSocket opens one of the hub's, of a subprotocol.
func webSocket(t *testing.T, w *hubtest.World, path, subprotocol string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.Roots, ServerName: hubtest.Contoso, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", w.HTTPS)
		},
	}}
	c, _, err := websocket.Dial(ctx, "wss://"+hubtest.Contoso+path, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{subprotocol}}) //nolint:bodyclose // the WebSocket closes it
	if err != nil {
		t.Fatal(err)
	}
	if c.Subprotocol() != subprotocol {
		t.Fatalf("the hub took subprotocol %q", c.Subprotocol())
	}
	c.SetReadLimit(-1)
	return websocket.NetConn(ctx, c, websocket.MessageBinary)
}

const userSuffix = "/?api-version=2021-04-12&DeviceClientType=raw"

// hello is a CONNECT with clean session 1.
func hello(w *hubtest.World, d hub.Device) *mqtt.Connect {
	id, token := d.ID, ""
	switch {
	case d.Module != "":
		id, token = d.ID+"/"+d.Module, w.ModuleToken(hubtest.Contoso, d)
	case d.PrimaryKey != "":
		token = w.Token(hubtest.Contoso, d)
	}
	return &mqtt.Connect{ClientID: id, CleanSession: true, KeepAlive: 180, HasUserName: true, UserName: hubtest.Contoso + "/" + id + userSuffix, HasPassword: true, Password: []byte(token)}
}

// connectRaw connects a device, which has to be accepted; present is what CONNACK has to say of its session.
func connectRaw(t *testing.T, w *hubtest.World, carrier string, c *mqtt.Connect, present bool) *raw {
	t.Helper()
	p := dialRaw(t, w, carrier)
	p.send(c)
	if ack := p.next(); ack != (mqtt.Connack{SessionPresent: present}) {
		t.Fatalf("CONNECT is answered with %+v", ack)
	}
	return p
}

func (p *raw) send(packets ...mqtt.Packet) {
	p.t.Helper()
	if err := p.try(packets...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *raw) try(packets ...mqtt.Packet) error {
	var b []byte
	var err error
	for _, packet := range packets {
		if b, err = packet.Append(b); err != nil {
			p.t.Fatal(err)
		}
	}
	_, err = p.Write(b)
	return err
}

func (p *raw) next() mqtt.Packet {
	p.t.Helper()
	first, body, err := p.reader.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	packet, err := mqtt.Decode(first, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return packet
}

// hears reads a PUBLISH.
func (p *raw) hears() *mqtt.Publish {
	p.t.Helper()
	packet := p.next()
	m, ok := packet.(*mqtt.Publish)
	if !ok {
		p.t.Fatalf("it gets a %s instead of a PUBLISH", packet.Type())
	}
	return m
}

// silent fails when anything came before the answer to what is sent now.
func (p *raw) silent() {
	p.t.Helper()
	p.send(mqtt.Bare(mqtt.PINGREQ))
	if got := p.next(); got != mqtt.Bare(mqtt.PINGRESP) {
		p.t.Fatalf("it gets %+v", got)
	}
}

// subscribes to filters and returns what was granted.
func (p *raw) subscribes(qos byte, filters ...string) []byte {
	p.t.Helper()
	s := &mqtt.Subscribe{ID: 77}
	for _, f := range filters {
		s.Topics = append(s.Topics, mqtt.Subscription{Filter: f, QoS: qos})
	}
	p.send(s)
	ack, ok := p.next().(*mqtt.Suback)
	if !ok || ack.ID != 77 {
		p.t.Fatalf("SUBSCRIBE is answered with %+v", ack)
	}
	return ack.Codes
}

// ends waits for the hub to close the connection without a packet.
func (p *raw) ends() {
	p.t.Helper()
	first, _, err := p.reader.Next()
	if err == nil {
		p.t.Fatalf("it gets a %s before the end", mqtt.TypeOf(first))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(err.Error(), "deadline") {
		p.t.Fatalf("the hub does not close the connection: %v", err)
	}
}

// ask publishes a request of the twin and returns the topic and body of the answer.
func (p *raw) ask(topic, body string) (string, string) {
	p.t.Helper()
	p.send(&mqtt.Publish{Topic: []byte(topic), Payload: []byte(body)})
	m := p.hears()
	return string(m.Topic), string(m.Payload)
}

func rawPublish(topic, body string, id uint16) *mqtt.Publish {
	return &mqtt.Publish{Topic: []byte(topic), Payload: []byte(body), QoS: min(byte(id), 1), ID: id}
}
