package gate_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// road is one way from a stream to a machine: the gate's, or the one of link/flow beside it.
type road struct {
	near     *mux.Session
	endpoint string
	port     uint16
	accepted chan net.Conn
}

// roads returns ways to a machine that hands out what it accepts.
func roads(b *testing.B, name string) *road {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	r := &road{accepted: make(chan net.Conn, 8192), endpoint: "grant-1", port: uint16(l.Addr().(*net.TCPAddr).Port)}
	x, y := tcpPair(b)
	r.near = mux.Client(x, mux.Config{})
	far := mux.Server(y, mux.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	run := func(f func(context.Context) error) { wg.Go(func() { _ = f(ctx) }) }
	w := emptyWorld(b)
	var handle func(*mux.Stream)
	if name == "flow" {
		agent := identity.AgentID(trust, "ot", "plant-7", "gw-1")
		s := flow.NewServices(quiet(), clock.System{}, nil)
		s.Set([]plan.Service{{
			ID: "s", Target: "127.0.0.1", Ports: []resource.ServicePort{{Port: r.port}},
			Links: []plan.Link{{Endpoint: r.endpoint, Consumer: identity.NetworkPrefix(trust, "ot", "plant-7")}},
		}})
		run(s.Run)
		handle = func(st *mux.Stream) { s.Handle(agent, st) }
	} else {
		cfg := gate.Config{Journal: nothing{}}
		if name == "shared" {
			cfg.BytesPerSecond = 1 << 40
		}
		g := gate.New(cfg, quiet(), clock.System{}, nil)
		g.Unhurried()
		p := w.target()
		p.Address, p.Limits.Each = l.Addr().String(), 4000
		g.Set([]plan.Target{p})
		run(g.Run)
		handle = func(st *mux.Stream) { g.Handle(alice, st) }
	}
	run(r.near.Run)
	run(far.Run)
	wg.Go(func() {
		for {
			s, err := far.Accept(ctx)
			if err != nil {
				return
			}
			wg.Go(func() { handle(s) })
		}
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.accepted <- c
		}
	})
	b.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
		for len(r.accepted) > 0 {
			_ = (<-r.accepted).Close()
		}
	})
	return r
}

func (r *road) enter(b *testing.B) (*mux.Stream, net.Conn) {
	s, err := r.near.Open(context.Background(), tunnel.Flow{Endpoint: r.endpoint, Port: r.port})
	must(b, err)
	c := <-r.accepted
	b.Cleanup(func() { _ = c.Close(); s.Reset(tunnel.ResetPeer, "") })
	return s, c
}

// BenchmarkSession opens a session, sends a byte there and back, and closes it.
func BenchmarkSession(b *testing.B) {
	for _, name := range []string{"flow", "gate"} {
		b.Run(name, func(b *testing.B) {
			r := roads(b, name)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case c := <-r.accepted:
						go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
					case <-stop:
						return
					}
				}
			})
			one := make([]byte, 1)
			b.ReportAllocs()
			for b.Loop() {
				s, err := r.near.Open(context.Background(), tunnel.Flow{Endpoint: r.endpoint, Port: r.port})
				must(b, err)
				_, _ = s.Write(one)
				_ = s.CloseWrite()
				if n, err := io.Copy(io.Discard, s); n != 1 || err != nil {
					b.Fatal(n, err)
				}
				_ = s.Close()
			}
			close(stop)
			wg.Wait()
		})
	}
}

// BenchmarkBulk carries one direction, from the machine to the person.
func BenchmarkBulk(b *testing.B) {
	for _, name := range []string{"flow", "gate", "shared"} {
		b.Run(name, func(b *testing.B) {
			r := roads(b, name)
			s, m := r.enter(b)
			const block = 256 << 10
			b.SetBytes(block)
			b.ResetTimer()
			go func() {
				buf := make([]byte, block)
				for range b.N {
					if _, err := m.Write(buf); err != nil {
						return
					}
				}
			}()
			if n, err := s.WriteTo(&upTo{left: int64(b.N) * block}); err != io.EOF { //nolint:errorlint // ours
				b.Fatal(n, err)
			}
		})
	}
}

// upTo ends when so many bytes have come.
type upTo struct{ left int64 }

func (u *upTo) Write(b []byte) (int, error) {
	if u.left -= int64(len(b)); u.left <= 0 {
		return len(b), io.EOF
	}
	return len(b), nil
}

// BenchmarkKeystroke sends a byte there and back over one session.
func BenchmarkKeystroke(b *testing.B) {
	for _, name := range []string{"flow", "gate", "shared"} {
		b.Run(name, func(b *testing.B) {
			r := roads(b, name)
			s, m := r.enter(b)
			go func() { _, _ = io.Copy(struct{ io.Writer }{m}, struct{ io.Reader }{m}) }()
			one := make([]byte, 1)
			for b.Loop() {
				_, _ = s.Write(one)
				if _, err := io.ReadFull(s, one); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkIdle tells what a session costs that has spoken once and is silent, in bytes of heap and stacks, with the person's stream and the
// machine's connection in the same process.
func BenchmarkIdle(b *testing.B) {
	const sessions = 500
	held := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	for _, name := range []string{"flow", "gate"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r := roads(b, name)
				before := held()
				for range sessions {
					s, m := r.enter(b)
					send(b, s, "x")
					expect(b, m, "x")
					send(b, m, "x")
					expect(b, s, "x")
				}
				b.ReportMetric(float64(held()-before)/sessions, "bytes/session")
			}
		})
	}
}

// BenchmarkRefusal is what a request costs that leads nowhere.
func BenchmarkRefusal(b *testing.B) {
	r := roads(b, "gate")
	b.ReportAllocs()
	for b.Loop() {
		s, err := r.near.Open(context.Background(), tunnel.Flow{Endpoint: "grant-9", Port: 1})
		must(b, err)
		if s.WaitAccepted(context.Background()) == nil {
			b.Fatal("let in")
		}
		s.Reset(tunnel.ResetPeer, "")
	}
}

type nothing struct{}

func (nothing) Note(session.Record) {}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
