package mqttdoor_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// peer is a device that says exactly what a test tells it to.
type peer struct {
	net.Conn
	t      *testing.T
	reader *mqtt.Reader
}

const suffix = "/?api-version=2021-04-12&DeviceClientType=test"

func dial(t *testing.T, w *hubtest.World, prefix []byte, serverName string) *peer {
	t.Helper()
	c, err := w.Dial(w.MQTT, prefix, serverName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &peer{c, t, mqtt.NewReader(c, mqtt.MaxRemaining)}
}

func (p *peer) send(packets ...mqtt.Packet) {
	p.t.Helper()
	var b []byte
	var err error
	for _, packet := range packets {
		if b, err = packet.Append(b); err != nil {
			p.t.Fatal(err)
		}
	}
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// lose ends the connection as a network does.
func (p *peer) lose() { _ = p.Conn.(*tls.Conn).NetConn().Close() }

func (p *peer) next() mqtt.Packet {
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

// ends waits for the hub to close the connection and fails when it says anything before.
func (p *peer) ends() {
	p.t.Helper()
	first, body, err := p.reader.Next()
	if err == nil {
		p.t.Fatalf("got %v % .60x instead of an end", mqtt.TypeOf(first), body)
	}
	if errors.Is(err, io.ErrNoProgress) || strings.Contains(err.Error(), "timeout") {
		p.t.Fatalf("the connection is still open: %v", err)
	}
}

func (p *peer) wants(code mqtt.ReturnCode) {
	p.t.Helper()
	if ack, ok := p.next().(mqtt.Connack); !ok || ack.Code != code {
		p.t.Fatalf("CONNACK %+v, want code %d", ack, code)
	}
	if code != mqtt.Accepted {
		p.ends()
		_ = p.Close()
	}
}

func connect(host, device, token string) *mqtt.Connect {
	return &mqtt.Connect{ClientID: device, KeepAlive: 180, HasUserName: true, UserName: host + "/" + device + suffix, HasPassword: true, Password: []byte(token)}
}

func publish(device, bag, body string, id uint16) *mqtt.Publish {
	p := &mqtt.Publish{Topic: []byte("devices/" + device + "/messages/events/" + bag), Payload: []byte(body), ID: id}
	if id > 0 {
		p.QoS = 1
	}
	return p
}

// device connects a new device to Contoso.
func device(t *testing.T, w *hubtest.World, id string) (*peer, hub.Device) {
	t.Helper()
	d := w.Device(hubtest.Contoso, id)
	p := dial(t, w, nil, hubtest.Contoso)
	p.send(connect(hubtest.Contoso, id, w.Token(hubtest.Contoso, d)))
	p.wants(mqtt.Accepted)
	return p, d
}

// eventually waits for a condition that another goroutine brings about at once, and has no event to wait on.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not after 10 s: %s", what)
		}
	}
}

// heldLog is an event log that answers when a test says so.
type heldLog struct {
	hub.EventLog
	mu      sync.Mutex // guards the fields below
	waiting []func(eventlog.Position, error)
	arrived chan struct{} // one value an append
}

func newHeldLog() *heldLog { return &heldLog{arrived: make(chan struct{}, 10_000)} }

func (l *heldLog) AppendAsync(_, _ string, _ eventlog.Event, done func(eventlog.Position, error)) {
	l.mu.Lock()
	l.waiting = append(l.waiting, done)
	l.mu.Unlock()
	l.arrived <- struct{}{}
}

func (l *heldLog) await(n int) {
	for range n {
		<-l.arrived
	}
}

// answer answers the i-th append that waits.
func (l *heldLog) answer(i int, err error) {
	l.mu.Lock()
	done := l.waiting[i]
	l.waiting = append(l.waiting[:i:i], l.waiting[i+1:]...)
	l.mu.Unlock()
	done(eventlog.Position{}, err)
}

func (l *heldLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}
