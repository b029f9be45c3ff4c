package carry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
)

func TestMain(m *testing.M) {
	raiseFiles()
	goleak.VerifyTestMain(m)
}

// each runs a test on every engine there is.
func each(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Run("engine", func(t *testing.T) { test(t, Config{}) })
	t.Run("portable", func(t *testing.T) { test(t, Config{portable: true}) })
}

// world is a Carrier that runs, with one listener, and a gate which a test can make say anything.
type world struct {
	t        testing.TB
	c        *Carrier
	l        *Listener
	gate     *gate
	clk      clock.Clock
	stop     func()
	finished chan struct{}
}

func newWorld(t testing.TB, cfg Config, e *Entrance, clk clock.Clock) *world {
	t.Helper()
	w := unstarted(t, cfg, clk)
	w.l = w.listen("127.0.0.1:0", e)
	w.run()
	return w
}

func unstarted(t testing.TB, cfg Config, clk clock.Clock) *world {
	if clk == nil {
		clk = clock.System{}
	}
	w := &world{t: t, gate: newGate(), clk: clk}
	w.c = New(cfg, w.gate, slog.New(slog.DiscardHandler), clk, nil)
	return w
}

func (w *world) listen(addr string, e *Entrance) *Listener {
	w.t.Helper()
	l, err := w.c.Listen(addr, e)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	w.finished = make(chan struct{})
	go func() {
		defer close(w.finished)
		if err := w.c.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	w.stop = func() {
		cancel()
		<-w.finished
		if n := w.c.open.Load(); n != 0 {
			w.t.Errorf("%d connections are open after Run", n)
		}
		if s := w.c.Stats(); s.Open != 0 {
			w.t.Errorf("after Run: %+v", s)
		}
	}
	w.t.Cleanup(func() { w.stop() })
}

func (w *world) dial() *net.TCPConn {
	w.t.Helper()
	return dial(w.t, w.l.Addr())
}

// dialReset connects and is reset, which may be before connecting has returned.
func (w *world) dialReset() {
	w.t.Helper()
	c, err := net.Dial("tcp", w.l.Addr().String())
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	wantReset(w.t, c)
}

// begun waits until Run has begun.
func (w *world) begun() {
	w.until("Run has begun", func(Stats) bool {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		return w.c.began
	})
}

func dial(t testing.TB, at netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// gate lets everybody in and sends them to target, unless a test sets something else.
type gate struct {
	mu     sync.Mutex
	arrive func(at *Entrance, source netip.AddrPort) *Refusal
	choose func(h Hello) (Way, *Refusal)
	next   func() (netip.AddrPort, bool)
	visits []*visit
	ends   chan *visit
}

type visit struct {
	gate           *gate
	source         netip.AddrPort
	hello          Hello
	chosen, over   bool
	failed, became []netip.AddrPort
	out            Outcome
}

func newGate() *gate { return &gate{ends: make(chan *visit, 100_000)} }

func (g *gate) Arrive(at *Entrance, source netip.AddrPort) (Visit, *Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.arrive != nil {
		if r := g.arrive(at, source); r != nil {
			return nil, r
		}
	}
	v := &visit{gate: g, source: source}
	g.visits = append(g.visits, v)
	return v, nil
}

// set changes what the gate says.
func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

func (g *gate) to(target netip.AddrPort) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.choose = func(Hello) (Way, *Refusal) { return Way{Target: target}, nil }
}

func (v *visit) Choose(h Hello) (Way, *Refusal) {
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	if v.chosen || v.over {
		panic("Choose is called once, before Ended")
	}
	v.chosen, v.hello = true, h
	return v.gate.choose(h)
}

func (v *visit) Failed(target netip.AddrPort, err error) {
	if err == nil {
		panic("Failed without an error")
	}
	v.failed = append(v.failed, target)
}

func (v *visit) Next() (netip.AddrPort, bool) {
	if v.gate.next == nil {
		return netip.AddrPort{}, false
	}
	return v.gate.next()
}

func (v *visit) Connected(target netip.AddrPort) { v.became = append(v.became, target) }

func (v *visit) Ended(o Outcome) {
	if v.over {
		panic("Ended twice")
	}
	v.over, v.out = true, o
	v.gate.ends <- v
}

// ended waits for the end of a visit.
func (w *world) ended() *visit {
	w.t.Helper()
	select {
	case v := <-w.gate.ends:
		return v
	case <-time.After(20 * time.Second):
		w.t.Fatalf("no visit ended: %+v", w.c.Stats())
		return nil
	}
}

func (w *world) endsWith(reason string) *visit {
	w.t.Helper()
	v := w.ended()
	if v.out.Reason != reason {
		w.t.Errorf("ended with %q, wanted %q", v.out.Reason, reason)
	}
	return v
}

// until waits for a condition on the numbers.
func (w *world) until(what string, ok func(Stats) bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(w.c.Stats()); {
		if time.Now().After(end) {
			w.t.Fatalf("not reached: %s: %+v", what, w.c.Stats())
		}
		<-time.After(200 * time.Microsecond)
	}
}

// target accepts and gives each connection to serve, on a goroutine.
func newTarget(t testing.TB, serve func(c *net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				serve(c.(*net.TCPConn))
			})
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, struct{ io.Reader }{c})
	_ = c.CloseWrite()
}

// unused is an address where nobody listens.
func unused(t testing.TB) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// clientHello is what crypto/tls sends for a name.
func clientHello(t testing.TB, name string, alpn ...string) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	sent := make(chan []byte, 1)
	go func() {
		buf := make([]byte, 32<<10)
		n, _ := b.Read(buf)
		b.Close()
		sent <- buf[:n]
	}()
	_ = tls.Client(a, &tls.Config{ServerName: name, NextProtos: alpn, InsecureSkipVerify: true}).HandshakeContext(context.Background())
	return <-sent
}

// isReset tells whether an error is what a reset gives.
func wantReset(t testing.TB, c net.Conn) {
	t.Helper()
	n, err := io.Copy(io.Discard, c)
	if n != 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read %d bytes and %v, wanted a reset", n, err)
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		t.Errorf("wanted a reset: %v", err)
	}
}

func exchange(t testing.TB, c *net.TCPConn, send []byte) {
	t.Helper()
	if _, err := c.Write(send); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(send) {
		t.Fatalf("got %d bytes back, sent %d, or others", len(got), len(send))
	}
}
