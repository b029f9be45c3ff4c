package flow_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// given is a connection that a gateway accepted, and what became of it.
type given struct {
	client *net.TCPConn
	ended  chan outcome
}

type outcome struct {
	sent, received uint64
	err            error
}

func (w *world) give(ctx context.Context, g flow.Given) given {
	w.t.Helper()
	client, accepted := tcpPair(w.t)
	w.t.Cleanup(func() { _ = client.Close() })
	_ = client.SetDeadline(time.Now().Add(patient))
	g.Opener, g.Clock, g.Providers = opener{w.consumer}, clock.System{}, w.plan[0].Providers
	if g.Flow.Endpoint == "" {
		g.Flow = tunnel.Flow{Endpoint: "ep-a", Port: w.port, Client: netip.MustParseAddrPort("203.0.113.9:4711")}
	}
	out := given{client, make(chan outcome, 1)}
	go func() {
		sent, received, err := g.Carry(ctx, accepted)
		out.ended <- outcome{sent, received, err}
	}()
	return out
}

func (w *world) arrived() *net.TCPConn {
	w.t.Helper()
	select {
	case c := <-w.accepted:
		w.t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patient))
		return c
	case <-time.After(patient):
		w.t.Fatal("nothing arrived at the target")
		return nil
	}
}

func (g given) end(t *testing.T) outcome {
	t.Helper()
	select {
	case o := <-g.ended:
		return o
	case <-time.After(patient):
		t.Fatal("the flow does not end")
		return outcome{}
	}
}

// meter lets a few bytes pass at a time, and says no every other time.
type meter struct{ asked, passed atomic.Int64 }

func (m *meter) Take(want int) (int, time.Duration) {
	if m.asked.Add(1)%2 == 0 {
		return 0, time.Microsecond
	}
	n := min(want, 7)
	m.passed.Add(int64(n))
	return n, 0
}

func TestAGivenConnectionGoesTheWayOfAnEndpoints(t *testing.T) {
	w := newWorld(t)
	w.services.Set(w.serves)
	for name, m := range map[string]*meter{"free": nil, "metered": new(meter)} {
		t.Run(name, func(t *testing.T) {
			g := flow.Given{First: []byte("hello, ")}
			if m != nil {
				g.Meter = m
			}
			one := w.give(context.Background(), g)
			target := w.arrived()
			send(t, one.client, "service")
			expect(t, target, "hello, service")
			send(t, target, "and back")
			expect(t, one.client, "and back")
			must(t, one.client.CloseWrite())
			if _, err := target.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Fatal("the end of data:", err)
			}
			send(t, target, "!")
			must(t, target.Close())
			if rest, err := io.ReadAll(one.client); err != nil || string(rest) != "!" {
				t.Fatalf("%q %v", rest, err)
			}
			if o := one.end(t); o.err != nil || o.sent != 14 || o.received != 9 {
				t.Errorf("%+v", o)
			}
			if m != nil && m.passed.Load() != 23 {
				t.Errorf("%d bytes were metered", m.passed.Load())
			}
		})
	}
}

func TestAGivenConnectionIsCutOnBothSides(t *testing.T) {
	w := newWorld(t)
	w.services.Set(w.serves)
	ctx, cancel := context.WithCancel(context.Background())
	one := w.give(ctx, flow.Given{First: []byte("x")})
	target := w.arrived()
	expect(t, target, "x")
	cancel()
	one.end(t)
	for _, c := range []*net.TCPConn{one.client, target} {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Error("no reset:", err)
		}
	}
	// Whoever gave the connection may close it too.
	two := w.give(context.Background(), flow.Given{First: []byte("x")})
	target = w.arrived()
	expect(t, target, "x")
	must(t, two.client.SetLinger(0))
	must(t, two.client.Close())
	if _, err := target.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Error("no reset:", err)
	}
	two.end(t)
}

// A connection on which nobody says anything is not kept for ever; one that speaks in either direction is.
func TestAGivenConnectionMayNotBeSilentForEver(t *testing.T) {
	w := newWorld(t)
	w.services.Set(w.serves)
	const idle = 400 * time.Millisecond
	began := time.Now()
	one := w.give(context.Background(), flow.Given{First: []byte("x"), Idle: idle})
	target := w.arrived()
	expect(t, target, "x")
	for time.Since(began) < 3*idle/2 {
		send(t, target, "still here")
		expect(t, one.client, "still here")
		<-time.After(idle / 8)
	}
	quiet := time.Now()
	for _, c := range []*net.TCPConn{one.client, target} {
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Error("no reset:", err)
		}
	}
	if after := time.Since(quiet); after < idle/2 {
		t.Error("reset after", after)
	}
	one.end(t)
}

func TestAGivenConnectionSaysWhyItWentNowhere(t *testing.T) {
	w := newWorld(t)
	w.services.Set(w.serves)
	one := w.give(context.Background(), flow.Given{Flow: tunnel.Flow{Endpoint: "ep-x", Port: w.port}, First: []byte("x")})
	if o := one.end(t); fault.KindOf(o.err) != fault.Unavailable || !strings.Contains(fault.Message(o.err), "no such approved connection") {
		t.Errorf("%+v", o)
	}
	if _, err := one.client.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Error("no reset:", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if o := w.give(ctx, flow.Given{}).end(t); o.sent != 0 {
		t.Errorf("%+v", o)
	}
}
