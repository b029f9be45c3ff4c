package flow_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	trust   = "isthmus.test"
	patient = 10 * time.Second // no test waits as long unless it fails
)

var (
	plant = identity.AgentID(trust, "ot", "plant-7", "gw-1")
	cloud = identity.AgentID(trust, "ot", "ot-cloud", "cloud-1")
)

// world is a consumer and a provider with one tunnel between them, and a target which hands out what it accepts.
type world struct {
	t         testing.TB
	endpoints *flow.Endpoints
	services  *flow.Services
	reg       *prometheus.Registry
	consumer  *mux.Session
	provider  *mux.Session
	cut       func() // kills the tunnel

	target   *net.TCPListener
	accepted chan *net.TCPConn
	port     uint16
	plan     []plan.Endpoint
	serves   []plan.Service
}

type opener struct{ s *mux.Session }

func (o opener) Open(ctx context.Context, peers []plan.Peer, f tunnel.Flow) (*mux.Stream, error) {
	if len(peers) != 1 || peers[0].ID != string(cloud) {
		return nil, errors.New("not the providers of the plan")
	}
	return o.s.Open(ctx, f)
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func newWorld(t testing.TB, opts ...flow.Option) *world {
	t.Helper()
	level := slog.LevelDebug
	if _, bench := t.(*testing.B); bench {
		level = slog.LevelError
	}
	log := slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: level}))
	w := &world{t: t, reg: prometheus.NewRegistry(), accepted: make(chan *net.TCPConn, 4096)}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.target = l.(*net.TCPListener)
	near, far := tcpPair(t)
	w.consumer, w.provider = mux.Client(near, mux.Config{}), mux.Server(far, mux.Config{})
	w.cut = func() { _ = near.Close() }
	w.endpoints = flow.NewEndpoints(opener{w.consumer}, log, w.reg, opts...)
	w.services = flow.NewServices(log, clock.System{}, w.reg, opts...)
	w.port = freePort(t, "127.0.0.1")
	w.plan = []plan.Endpoint{w.endpoint("ep-a", "ot/plant-7/a", "127.0.0.1"), w.endpoint("ep-b", "ot/plant-7/b", "127.0.0.2")}
	w.serves = []plan.Service{w.service("svc", []plan.Link{w.link("ep-a", 7), w.link("ep-b", 8)})}

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.consumer.Run(ctx) })
	wg.Go(func() { _ = w.provider.Run(ctx) })
	wg.Go(func() { _ = w.endpoints.Run(ctx) })
	wg.Go(func() { _ = w.services.Run(ctx) })
	wg.Go(func() {
		for {
			s, err := w.provider.Accept(ctx)
			if err != nil {
				return
			}
			wg.Go(func() { w.services.Handle(plant, s) })
		}
	})
	wg.Go(func() {
		for {
			c, err := w.target.AcceptTCP()
			if err != nil {
				return
			}
			w.accepted <- c
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = w.target.Close()
		wg.Wait()
		for len(w.accepted) > 0 {
			_ = (<-w.accepted).Close()
		}
	})
	return w
}

func (w *world) endpoint(id, name, address string) plan.Endpoint {
	return plan.Endpoint{
		ID: id, Name: name, Address: netip.MustParseAddr(address), PrefixLen: 24, Ports: []uint16{w.port}, Open: true,
		Providers: []plan.Peer{{ID: string(cloud)}},
	}
}

func (w *world) service(id string, links []plan.Link) plan.Service {
	return plan.Service{
		ID: id, Name: "ot/ot-cloud/" + id, Target: "127.0.0.1", Links: links,
		Ports: []resource.ServicePort{{Port: w.port, TargetPort: uint16(w.target.Addr().(*net.TCPAddr).Port)}},
	}
}

func (w *world) link(endpoint string, id uint32) plan.Link {
	return plan.Link{Endpoint: endpoint, Name: "ot/plant-7/" + endpoint, LinkID: id, Consumer: identity.NetworkPrefix(trust, "ot", "plant-7")}
}

// start carries out the plan and waits until everything open is listened on.
func (w *world) start() {
	w.t.Helper()
	w.services.Set(w.serves)
	w.endpoints.Set(w.plan)
	w.await("listening", func() bool { return len(w.endpoints.Listening()) == len(w.plan) })
}

// await polls for what has no event of its own.
func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(patient)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			w.t.Fatalf("waited too long: %s; problems: %q", what, w.endpoints.Problems())
		}
	}
}

// dial returns a client of an endpoint and what arrived at the target for it.
func (w *world) dial(address string) (client, target *net.TCPConn) {
	w.t.Helper()
	client = w.dialOnly(address)
	select {
	case target = <-w.accepted:
	case <-time.After(patient):
		w.t.Fatal("nothing arrived at the target")
	}
	w.t.Cleanup(func() { _ = target.Close() })
	_ = target.SetDeadline(time.Now().Add(patient))
	return client, target
}

func (w *world) dialOnly(address string) *net.TCPConn {
	w.t.Helper()
	c, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), w.port).String())
	must(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patient))
	return c.(*net.TCPConn)
}

// refused reads how many flows were refused for a reason.
func (w *world) refused(side, reason string) float64 {
	w.t.Helper()
	all, err := w.reg.Gather()
	must(w.t, err)
	for _, f := range all {
		if f.GetName() != "isthmus_"+side+"_flows_refused_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	s, err := l.Accept()
	must(t, err)
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func freePort(t testing.TB, address string) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", address+":0")
	must(t, err)
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func send(t testing.TB, c io.Writer, s string) {
	t.Helper()
	_, err := io.WriteString(c, s)
	must(t, err)
}

func expect(t testing.TB, c io.Reader, s string) {
	t.Helper()
	b := make([]byte, len(s))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != s {
		t.Fatalf("got %q, want %q: %v", b, s, err)
	}
}

func expectEnd(t testing.TB, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("want the end of data, got %d bytes and %v", n, err)
	}
}

func expectReset(t testing.TB, c io.Reader) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("want a reset, got %d bytes and %v", n, err)
	}
}

func hardClose(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// expectNo dials and is reset, which may happen before the dialling itself returns.
func (w *world) expectNo(address string) {
	w.t.Helper()
	c, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), w.port).String())
	if err != nil {
		if !errors.Is(err, syscall.ECONNRESET) {
			w.t.Fatal(err)
		}
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patient))
	expectReset(w.t, c)
}
