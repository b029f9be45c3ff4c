package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// fleet is devices of the load: the same for the hub and for a broker, who does not look at what they say of themselves.
type fleet struct {
	addr      string
	webSocket bool
	tls       *tls.Config
}

func newFleet(addr, ca string, webSocket bool) (*fleet, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &fleet{addr, webSocket, &tls.Config{
		RootCAs: roots, ServerName: hubHost, MinVersion: tls.VersionTLS13,
		// What devices offer; the post-quantum exchange would be measured in place of the hub, and OpenSSL 3.0 does not have it.
		CurvePreferences: []tls.CurveID{tls.X25519},
	}}, nil
}

// device is one connection.
type device struct {
	net.Conn
	raw *net.TCPConn
	id  string
	buf []byte // of what is being written
}

// dial connects, says CONNECT and waits for CONNACK.
func (f *fleet) dial(ctx context.Context, i int) (*device, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", f.addr)
	if err != nil {
		return nil, err
	}
	raw := c.(*net.TCPConn)
	dev := &device{raw: raw, id: deviceID(i)}
	secure := tls.Client(raw, f.tls)
	dev.Conn = secure
	_ = raw.SetDeadline(time.Now().Add(time.Minute))
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	if f.webSocket {
		if dev.Conn, err = upgrade(ctx, secure); err != nil {
			raw.Close()
			return nil, err
		}
	}
	token, err := sas.Sign(hubHost+"/devices/"+dev.id, hubKey, "", time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	hello, err := (&mqtt.Connect{
		ClientID: dev.id, CleanSession: true, KeepAlive: 600, HasUserName: true, UserName: hubHost + "/" + dev.id + "/?api-version=2021-04-12",
		HasPassword: true, Password: []byte(token),
	}).Append(nil)
	if err != nil {
		return nil, err
	}
	if _, err := dev.Write(hello); err != nil {
		raw.Close()
		return nil, err
	}
	var ack [4]byte
	if _, err := io.ReadFull(dev, ack[:]); err != nil || ack != [4]byte{0x20, 2, 0, 0} {
		raw.Close()
		return nil, fmt.Errorf("CONNECT of %s is answered with % x: %w", dev.id, ack, err)
	}
	_ = raw.SetDeadline(time.Time{})
	return dev, nil
}

func upgrade(ctx context.Context, secure net.Conn) (net.Conn, error) {
	var once sync.Once
	t := &http.Transport{DisableKeepAlives: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		var c net.Conn
		once.Do(func() { c = secure })
		if c == nil {
			return nil, errors.New("redirected")
		}
		return c, nil
	}}
	//nolint:bodyclose // the body is the connection's (package websocket, Dial)
	c, _, err := websocket.Dial(ctx, "wss://"+hubHost+"/$iothub/websocket", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: t}, Subprotocols: []string{"mqtt"}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	return websocket.NetConn(context.Background(), c, websocket.MessageBinary), nil
}

// subscribe asks for all a device can be told of, and waits for the SUBACK.
func (d *device) subscribe() error {
	s := &mqtt.Subscribe{ID: 1, Topics: []mqtt.Subscription{
		{Filter: "$iothub/twin/res/#"}, {Filter: "$iothub/twin/PATCH/properties/desired/#"}, {Filter: "$iothub/methods/POST/#"}, {Filter: "devices/" + d.id + "/messages/devicebound/#", QoS: 1},
	}}
	b, err := s.Append(nil)
	if err != nil {
		return err
	}
	if _, err := d.Write(b); err != nil {
		return err
	}
	ack := make([]byte, 4+len(s.Topics))
	_, err = io.ReadFull(d, ack)
	return err
}

// cut ends the connection as a power failure does.
func (d *device) cut() {
	_ = d.raw.SetLinger(0)
	_ = d.raw.Close()
}

// telemetry keeps window messages in flight until the time is over, and returns how long each took to be acknowledged, in microseconds.
// PUBACKs come in the order of the messages.
func (d *device) telemetry(window, body int, until time.Time, from time.Time) ([]float32, int64, error) {
	p := &mqtt.Publish{Topic: []byte("devices/" + d.id + "/messages/events/%24.ct=application%2Fjson&line=3"), Payload: make([]byte, body), QoS: 1}
	sent := make([]time.Time, window)
	next, acked := 0, 0 // messages so far
	var took []float32
	var counted int64
	acks := make([]byte, 4*window)
	have := 0
	publish := func(n int, now time.Time) error {
		d.buf = d.buf[:0]
		for range n {
			sent[next%window] = now
			p.ID = uint16(next%65535) + 1
			d.buf, _ = p.Append(d.buf)
			next++
		}
		_, err := d.Write(d.buf)
		return err
	}
	if err := publish(window, time.Now()); err != nil {
		return nil, 0, err
	}
	for acked < next {
		n, err := d.Read(acks[have:])
		if err != nil {
			return took, counted, err
		}
		have += n
		now := time.Now()
		k := have / 4
		for range k {
			if !now.Before(from) && now.Before(until) {
				took = append(took, float32(now.Sub(sent[acked%window]).Nanoseconds())/1000)
				counted++
			}
			acked++
		}
		have = copy(acks, acks[4*k:have])
		if k > 0 && now.Before(until) {
			if err := publish(k, now); err != nil {
				return took, counted, err
			}
		}
	}
	return took, counted, nil
}

// patches reports properties one after the other until the time is over, and returns how many were answered.
func (d *device) patches(until time.Time) (int64, error) {
	r := mqtt.NewReader(d, 1<<20)
	n := int64(0)
	for time.Now().Before(until) {
		p := &mqtt.Publish{Topic: fmt.Appendf(nil, "$iothub/twin/PATCH/properties/reported/?$rid=%d", n), Payload: fmt.Appendf(nil, `{"line":{"speed":%d,"state":"running"}}`, n)}
		d.buf, _ = p.Append(d.buf[:0])
		if _, err := d.Write(d.buf); err != nil {
			return n, err
		}
		first, body, err := r.Next()
		if err != nil {
			return n, err
		}
		if err := mqtt.DecodePublish(first, body, p); err != nil || len(p.Payload) > 0 {
			return n, fmt.Errorf("a patch is answered with %s: %w", p.Payload, err)
		}
		n++
	}
	return n, nil
}

// answers methods until the connection ends.
func (d *device) answers() {
	r := mqtt.NewReader(d, 1<<20)
	var p mqtt.Publish
	for {
		first, body, err := r.Next()
		if err != nil || mqtt.DecodePublish(first, body, &p) != nil {
			return
		}
		for i := len(p.Topic) - 1; i >= 0; i-- {
			if p.Topic[i] == '?' {
				answer := &mqtt.Publish{Topic: append([]byte("$iothub/methods/res/200/"), p.Topic[i:]...), Payload: []byte(`{"ok":true}`)}
				d.buf, _ = answer.Append(d.buf[:0])
				break
			}
		}
		if _, err := d.Write(d.buf); err != nil {
			return
		}
	}
}
