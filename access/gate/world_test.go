package gate_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	trust   = "isthmus.test"
	patient = 90 * time.Second // no test waits as long unless it fails
)

var (
	alice = identity.PersonID(trust, "ot", "alice-uid", "pass-1")
	bob   = identity.PersonID(trust, "ot", "bob-uid", "pass-1")
)

// world is a gate with one tunnel from a person, and machines that hand out what they accept.
type world struct {
	t        testing.TB
	gate     *gate.Gate
	journal  *journal
	reg      *prometheus.Registry
	peer     identity.ID // of the tunnel
	near     *mux.Session
	far      *mux.Session
	machines chan net.Conn // what Dial made, the machine's end
	stop     func()        // the gate
	begun    time.Time
}

// journal keeps the records, and tells whoever waits.
type journal struct {
	mu   sync.Mutex
	cond *sync.Cond
	all  []session.Record
}

func (j *journal) Note(r session.Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, r)
	j.cond.Broadcast()
}

func (j *journal) records() []session.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]session.Record(nil), j.all...)
}

// wait waits for the nth record.
func (j *journal) wait(n int) session.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.all) <= n {
		j.cond.Wait()
	}
	return j.all[n]
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// newWorld makes a world of pipes, which may stand in a bubble of its own time. clk may be nil.
func newWorld(t testing.TB, cfg gate.Config, clk clock.Clock) *world {
	t.Helper()
	w := emptyWorld(t)
	if clk == nil {
		clk = clock.System{}
	}
	w.begun = clk.Now()
	if cfg.Dial == nil {
		cfg.Dial = func(context.Context, *plan.Target) (net.Conn, error) {
			ours, theirs := net.Pipe()
			w.machines <- theirs
			return ours, nil
		}
	}
	a, b := net.Pipe()
	w.build(cfg, clk, a, b)
	return w
}

// newRealWorld makes one in which addresses are dialled.
func newRealWorld(t testing.TB, cfg gate.Config) *world {
	t.Helper()
	w := emptyWorld(t)
	a, b := tcpPair(t)
	w.build(cfg, clock.System{}, a, b)
	return w
}

func emptyWorld(t testing.TB) *world {
	w := &world{t: t, journal: &journal{}, reg: prometheus.NewRegistry(), peer: alice, machines: make(chan net.Conn, 1000), begun: time.Now()}
	w.journal.cond = sync.NewCond(&w.journal.mu)
	return w
}

func (w *world) build(cfg gate.Config, clk clock.Clock, a, b net.Conn) {
	level := slog.LevelDebug
	if _, bench := w.t.(*testing.B); bench {
		level = slog.LevelError + 1
	}
	cfg.Journal = w.journal
	w.gate = gate.New(cfg, slog.New(slog.NewTextHandler(testLog{w.t}, &slog.HandlerOptions{Level: level})), clk, w.reg)
	if _, may := clk.(*wallClock); may { // what it shows says nothing about how much time goes by
		w.gate.SetElapsed(func() time.Duration { return time.Since(w.begun) })
	}
	w.near, w.far = mux.Client(a, mux.Config{}), mux.Server(b, mux.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	run, stop := context.WithCancel(ctx)
	w.stop = stop
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.near.Run(ctx) })
	wg.Go(func() { _ = w.far.Run(ctx) })
	wg.Go(func() { _ = w.gate.Run(run) })
	wg.Go(func() {
		for {
			s, err := w.far.Accept(ctx)
			if err != nil {
				return
			}
			peer := w.peer
			wg.Go(func() { w.gate.Handle(peer, s) })
		}
	})
	w.t.Cleanup(func() {
		cancel()
		wg.Wait()
		for len(w.machines) > 0 {
			_ = (<-w.machines).Close()
		}
	})
}

// target is one that alice may come into for an hour.
func (w *world) target() plan.Target {
	return plan.Target{
		ID: "target-1", Name: "ot/plant-7/press-4-ssh", Protocol: resource.ProtocolSSH, Address: "127.0.0.1:22",
		Grants: []plan.Grant{w.grant("grant-1", alice)},
	}
}

func (w *world) grant(id string, who identity.ID) plan.Grant {
	p, _ := who.Person()
	return plan.Grant{
		ID: id, Person: identity.PersonPrefix(p.TrustDomain, p.Tenant, p.Name), Name: p.Name + " of " + p.Tenant,
		From: w.begun, Until: w.begun.Add(time.Hour),
	}
}

// open asks to be let in.
func (w *world) open(grant string) *mux.Stream {
	w.t.Helper()
	s, err := w.near.Open(context.Background(), tunnel.Flow{Endpoint: grant, Port: 1, Client: netip.MustParseAddrPort("203.0.113.9:4711")})
	must(w.t, err)
	w.t.Cleanup(func() { s.Reset(tunnel.ResetPeer, "") })
	return s
}

// enter is let in, and returns both ends.
func (w *world) enter(grant string) (*mux.Stream, net.Conn) {
	w.t.Helper()
	s := w.open(grant)
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	must(w.t, s.WaitAccepted(ctx))
	m := <-w.machines
	w.t.Cleanup(func() { _ = m.Close() })
	return s, m
}

// refused asks to be let in and is told why not.
func (w *world) refused(grant string) *mux.ResetError {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	reset, ok := errors.AsType[*mux.ResetError](w.open(grant).WaitAccepted(ctx))
	if !ok {
		w.t.Fatal("not refused")
	}
	return reset
}

// cut reads until the reset.
func cut(t testing.TB, s *mux.Stream) *mux.ResetError {
	t.Helper()
	_, err := io.Copy(io.Discard, struct{ io.Reader }{s})
	reset, ok := errors.AsType[*mux.ResetError](err)
	if !ok {
		t.Fatal("no reset:", err)
	}
	return reset
}

func (w *world) metric(name, label string) float64 {
	w.t.Helper()
	all, err := w.reg.Gather()
	must(w.t, err)
	for _, f := range all {
		if f.GetName() != "isthmus_access_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			switch {
			case label != "" && m.GetLabel()[0].GetValue() != label:
			case m.GetCounter() != nil:
				return m.GetCounter().GetValue()
			default:
				return m.GetGauge().GetValue()
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
func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	must(t, err)
	b, err = l.Accept()
	must(t, err)
	return a, b
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

func hours(from, to string, days ...string) *resource.WorkingHours {
	return &resource.WorkingHours{Days: days, From: from, To: to, TimeZone: "UTC"}
}
