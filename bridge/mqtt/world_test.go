package mqtt

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	silent = slog.New(slog.DiscardHandler)
	at     = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
)

// leads makes an end that leads to an address.
func leads(t testing.TB, address string) *end.End {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.ParseUint(text, 10, 16)
	return &end.End{
		BridgeEnd: plan.BridgeEnd{Name: "ot/plant/broker", Open: true, HostName: "broker.contoso", Ports: []uint16{uint16(port)}},
		Connect: func(ctx context.Context, _ uint16) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}
}

func open(t testing.TB, e *end.End, spec resource.MQTTDestination, clk clock.Clock) bridge.Destination {
	t.Helper()
	d, err := New(bridge.DestinationArgs{
		Bridge: "b1", Name: "ot/plant/telemetry", End: e, Destination: resource.BridgeDestination{MQTT: &spec}, Log: silent, Clock: clk,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func made(seq int, device, body string) *event.Event {
	e := &event.Event{Origin: event.Origin{Partition: "0", Sequence: int64(seq), Enqueued: at}, Body: []byte(body)}
	if device != "" {
		e.System = []event.Property{{Name: event.DeviceID, Value: device}}
	}
	return e
}

// heard is one PUBLISH as a broker got it.
type heard struct {
	connection int // the how manieth
	topic      string
	body       string
	repeat     bool
	id         uint16
}

const (
	say    = -1 // nothing
	goAway = -2 // end the connection
)

// broker is one that does what a test says.
type broker struct {
	ln     net.Listener
	all    sync.WaitGroup
	answer func(h heard) int // a reason code, say or goAway; called by one goroutine at a time
	hello  func(level byte, connect []byte) []byte
	stray  []byte // said behind CONNACK

	mu    sync.Mutex // guards the fields below
	got   []heard
	conns []net.Conn
	last  chan struct{} // closed when the connection before is done with
}

func newBroker(t testing.TB, answer func(h heard) int) *broker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{ln: ln, answer: answer, hello: func(byte, []byte) []byte { return []byte{0x20, 3, 0, 0, 0} }}
	if answer == nil {
		b.answer = func(heard) int { return 0 }
	}
	b.all.Go(b.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		b.cut()
		b.all.Wait()
	})
	return b
}

func (b *broker) accept() {
	for {
		c, err := b.ln.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		b.conns = append(b.conns, c)
		n, before, done := len(b.conns), b.last, make(chan struct{})
		b.last = done
		b.mu.Unlock()
		b.all.Go(func() {
			defer close(done)
			defer c.Close()
			if before != nil { // all are of one client: who takes over ends the other (MQTT 5.0, 3.1.4-3)
				b.mu.Lock()
				_ = b.conns[n-2].Close()
				b.mu.Unlock()
				<-before
			}
			b.serve(c, n)
		})
	}
}

func (b *broker) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		_ = c.Close()
	}
}

func (b *broker) heard() []heard {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]heard(nil), b.got...)
}

func (b *broker) serve(c net.Conn, connection int) {
	r := mqtt.NewReader(c, 1<<20)
	_, body, err := r.Next()
	if err != nil {
		return
	}
	level := body[6]
	answer := b.hello(level, body)
	if _, err := c.Write(append(append([]byte(nil), answer...), b.stray...)); err != nil || answer[3] != 0 {
		return
	}
	for {
		first, body, err := r.Next()
		switch {
		case err != nil:
			return
		case mqtt.TypeOf(first) == mqtt.PINGREQ:
			_, _ = c.Write([]byte{0xd0, 0})
			continue
		case mqtt.TypeOf(first) != mqtt.PUBLISH:
			return
		}
		n := 2 + int(binary.BigEndian.Uint16(body))
		h := heard{connection: connection, topic: string(body[2:n]), id: binary.BigEndian.Uint16(body[n:])}
		body = body[n+2:]
		if level == 5 {
			size, used := binary.Uvarint(body)
			h.repeat = strings.Contains(string(body[used:used+int(size)]), event.RepeatProperty)
			body = body[used+int(size):]
		}
		h.body = string(body)
		b.mu.Lock()
		b.got = append(b.got, h)
		code := b.answer(h)
		b.mu.Unlock()
		switch {
		case code == goAway:
			return
		case code == say:
		case level == 5 && code > 0:
			_, _ = c.Write([]byte{0x40, 3, byte(h.id >> 8), byte(h.id), byte(code)})
		default:
			_, _ = c.Write([]byte{0x40, 2, byte(h.id >> 8), byte(h.id)})
		}
	}
}
