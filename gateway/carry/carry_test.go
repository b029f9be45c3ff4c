package carry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

func TestPasses(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{}, nil)
		w.gate.to(newTarget(t, echo))
		exchange(t, w.dial(), random(3<<20))
		if v := w.endsWith(ReasonClosed); v.out.Sent != 3<<20 || v.out.Received != 3<<20 || len(v.became) != 1 {
			t.Errorf("%+v", v.out)
		}
		if s := w.c.Stats(); s.Accepted != 1 || s.Sent != 3<<20 || s.Received != 3<<20 {
			t.Errorf("%+v", s)
		}
	})
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	_, _ = r.Read(b)
	return b
}

// Whatever listens, and however the address is written, its connections come with a source of their own family.
func TestListens(t *testing.T) {
	for _, c := range []struct{ addr, dial, source string }{
		{"127.0.0.1:0", "127.0.0.1", "127.0.0.1"},
		{"[::1]:0", "::1", "::1"},
		{":0", "127.0.0.1", "127.0.0.1"},
		{"[::]:0", "::1", "::1"},
	} {
		each(t, func(t *testing.T, cfg Config) {
			w := unstarted(t, cfg, nil)
			w.gate.to(newTarget(t, echo))
			w.l = w.listen(c.addr, &Entrance{})
			w.run()
			conn := dial(t, netip.AddrPortFrom(netip.MustParseAddr(c.dial), w.l.Addr().Port()))
			exchange(t, conn, []byte("hello"))
			if v := w.endsWith(ReasonClosed); v.source.Addr() != netip.MustParseAddr(c.source) || v.source.Port() != uint16(conn.LocalAddr().(*net.TCPAddr).Port) {
				t.Errorf("%s: source %v", c.addr, v.source)
			}
		})
	}
}

func TestListenRefusesWhatItCannot(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{}, nil)
		for addr, kind := range map[string]fault.Kind{"example.com:443": fault.Invalid, "443": fault.Invalid, "203.0.113.1:1": fault.Unavailable} {
			if _, err := w.c.Listen(addr, &Entrance{}); fault.KindOf(err) != kind || fault.Message(err) == "" {
				t.Errorf("%s: %v", addr, err)
			}
		}
		if _, err := w.c.Adopt(&Entrance{}, nil); fault.KindOf(err) != fault.Invalid {
			t.Errorf("adopting nothing: %v", err)
		}
	})
}

// A refused connection gets a reset, and no target hears of it.
func TestRefuses(t *testing.T) {
	hello := clientHello(t, "a.example")
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{TLS: true}, nil)
		var met atomic.Int32
		target := newTarget(t, func(*net.TCPConn) { met.Add(1) })
		w.gate.set(func() {
			w.gate.arrive = func(*Entrance, netip.AddrPort) *Refusal { return &Refusal{Reason: "no-rule"} }
		})
		w.dialReset()
		if len(w.gate.ends) != 0 {
			t.Error("a visit that never was has ended")
		}
		w.gate.set(func() {
			w.gate.arrive = nil
			w.gate.choose = func(h Hello) (Way, *Refusal) { return Way{Target: target}, &Refusal{Reason: "name"} }
		})
		c := w.dial()
		_, _ = c.Write(hello)
		wantReset(t, c)
		if v := w.endsWith(ReasonRefused); v.hello.ServerName != "a.example" {
			t.Errorf("%+v", v)
		}
		if s := w.c.Stats(); s.Refused != 2 || met.Load() != 0 {
			t.Errorf("%+v, %d connections to the target", s, met.Load())
		}
	})
}

// Targets are tried one after the other, and the one that is reached gets all bytes, the header first.
func TestTriesOtherTargets(t *testing.T) {
	hello := clientHello(t, "a.example")
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{TLS: true}, nil)
		header := []byte("PROXY something\r\n")
		left := []netip.AddrPort{unused(t), {}, newTarget(t, echo), unused(t)}
		first := unused(t)
		w.gate.set(func() {
			w.gate.choose = func(Hello) (Way, *Refusal) { return Way{Target: first, Header: header}, nil }
			w.gate.next = func() (netip.AddrPort, bool) {
				n := left[0]
				left = left[1:]
				return n, true
			}
		})
		c := w.dial()
		_, _ = c.Write(hello)
		_, _ = c.Write([]byte("more"))
		_ = c.CloseWrite()
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, slices.Concat(header, hello, []byte("more"))) {
			t.Errorf("got %q, %v", got, err)
		}
		v := w.endsWith(ReasonClosed)
		if len(v.failed) != 3 || v.failed[0] != first || len(v.became) != 1 || v.out.Sent != uint64(len(hello)+4) {
			t.Errorf("failed %v, became %v, %+v", v.failed, v.became, v.out)
		}
	})
}

func TestNoTarget(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{}, nil)
		w.gate.to(unused(t))
		w.dialReset()
		if v := w.endsWith(ReasonNoTarget); len(v.failed) != 1 {
			t.Errorf("%+v", v)
		}
		w.gate.set(func() {
			w.gate.choose = func(Hello) (Way, *Refusal) { return Way{Header: make([]byte, MostHeader+1)}, nil }
		})
		w.dialReset()
		w.endsWith(ReasonNoTarget)
	})
}

// End of data goes through each way by itself.
func TestHalfClose(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{}, nil)
		target := make(chan *net.TCPConn)
		released := make(chan struct{})
		w.gate.to(newTarget(t, func(c *net.TCPConn) { target <- c; <-released }))
		for _, clientFirst := range []bool{true, false} {
			a, b := w.dial(), <-target
			if !clientFirst {
				a, b = b, a
			}
			_, _ = a.Write([]byte("last words"))
			_ = a.CloseWrite()
			if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			for range 3 { // the other way is open all the time
				_, _ = b.Write([]byte("x"))
				if n, err := a.Read(make([]byte, 10)); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
			_ = b.CloseWrite()
			if n, err := a.Read(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
				t.Fatal(n, err)
			}
			w.endsWith(ReasonClosed)
		}
		close(released)
	})
}

func TestReset(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{}, nil)
		target := make(chan *net.TCPConn)
		released := make(chan struct{})
		w.gate.to(newTarget(t, func(c *net.TCPConn) { target <- c; <-released }))
		for _, clientFirst := range []bool{true, false} {
			a, b := w.dial(), <-target
			if !clientFirst {
				a, b = b, a
			}
			w.until("it passes", func(s Stats) bool { return s.Passing == 1 })
			_ = a.SetLinger(0)
			_ = a.Close()
			wantReset(t, b)
			w.endsWith(ReasonReset)
		}
		close(released)
	})
}

// A connection given away is whole, and is closed when its taker returns.
func TestHand(t *testing.T) {
	hello := clientHello(t, "a.example")
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{TLS: true}, nil)
		w.gate.set(func() {
			w.gate.choose = func(Hello) (Way, *Refusal) {
				return Way{Hand: func(c net.Conn, first []byte) {
					_, _ = io.Copy(c, io.MultiReader(bytes.NewReader(first), c))
				}}, nil
			}
		})
		exchange(t, w.dial(), hello)
		w.endsWith(ReasonClosed)

		c := w.dial()
		_, _ = c.Write(hello)
		w.until("it is handed over", func(s Stats) bool { return s.Handed == 1 })
		_, _ = io.ReadFull(c, make([]byte, len(hello)))
		w.c.Review(func(Visit) bool { return true })
		w.c.Review(func(Visit) bool { return false })
		wantReset(t, c)
		w.endsWith(ReasonCut)

		c = w.dial()
		_, _ = c.Write(hello)
		w.until("it is handed over", func(s Stats) bool { return s.Handed == 1 })
		_, _ = io.ReadFull(c, make([]byte, len(hello)))
		w.stop()
		wantReset(t, c)
		w.endsWith(ReasonDrain)
	})
}

// Review cuts those named and no others.
func TestReview(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		const n = 600 // more than a turn asks about
		w := newWorld(t, cfg, &Entrance{}, nil)
		w.gate.to(newTarget(t, echo))
		conns := map[uint16]*net.TCPConn{}
		for range n {
			c := w.dial()
			conns[uint16(c.LocalAddr().(*net.TCPAddr).Port)] = c
		}
		w.until("all pass", func(s Stats) bool { return s.Passing == n })
		var asked atomic.Int32
		odd := func(port uint16) bool { return port%3 == 1 }
		w.c.Review(func(v Visit) bool {
			asked.Add(1)
			return !odd(v.(*visit).source.Port())
		})
		if asked.Load() != n {
			t.Errorf("asked about %d of %d", asked.Load(), n)
		}
		for port, c := range conns {
			if odd(port) {
				wantReset(t, c)
				w.endsWith(ReasonCut)
			}
		}
		for port, c := range conns {
			if !odd(port) {
				exchange(t, c, []byte("still here"))
				w.endsWith(ReasonClosed)
			}
		}
	})
}

func TestReplace(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		old, next := &Entrance{Name: "old"}, &Entrance{Name: "next"}
		w := newWorld(t, cfg, old, nil)
		w.gate.to(newTarget(t, echo))
		seen := make(chan *Entrance, 2)
		w.gate.set(func() {
			w.gate.arrive = func(at *Entrance, _ netip.AddrPort) *Refusal { seen <- at; return nil }
		})
		exchange(t, w.dial(), []byte("x"))
		w.c.Replace(w.l, next)
		exchange(t, w.dial(), []byte("x"))
		if a, b := <-seen, <-seen; a != old || b != next || w.l.Entrance() != next {
			t.Errorf("first %q, then %q", a.Name, b.Name)
		}
	})
}

func TestMaxConnections(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		cfg.MaxConnections = 3
		var dropped atomic.Int32
		cfg.Dropped = func(_ *Entrance, peer netip.AddrPort, reason string) {
			if reason == ReasonFull && peer.IsValid() {
				dropped.Add(1)
			}
		}
		w := newWorld(t, cfg, &Entrance{}, nil)
		w.gate.to(newTarget(t, echo))
		var conns []*net.TCPConn
		for range 3 {
			conns = append(conns, w.dial())
		}
		w.until("full", func(s Stats) bool { return s.Passing == 3 })
		w.dialReset()
		w.until("one is told of", func(s Stats) bool { return s.Full > 0 && dropped.Load() > 0 }) // after its reset
		if s := w.c.Stats(); s.Full != 1 || dropped.Load() != 1 {
			t.Errorf("%+v, %d told", s, dropped.Load())
		}
		exchange(t, conns[0], []byte("x"))
		w.endsWith(ReasonClosed)
		w.until("its place is free", func(Stats) bool { return w.c.open.Load() == 2 })
		exchange(t, w.dial(), []byte("y"))
	})
}

// Drain takes what has queued, lets connections end, and tells when some do not.
func TestDrain(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{}, nil)
		w.gate.to(newTarget(t, echo))
		quick, stays := w.dial(), w.dial()
		w.until("both pass", func(s Stats) bool { return s.Passing == 2 })
		ctx, cancel := context.WithCancel(context.Background())
		drained := make(chan error, 1)
		go func() { drained <- w.c.Drain(ctx) }()
		exchange(t, quick, []byte("x"))
		w.endsWith(ReasonClosed)
		if len(drained) > 0 {
			t.Fatal("Drain did not wait")
		}
		cancel()
		if err := <-drained; fault.KindOf(err) != fault.Timeout {
			t.Errorf("Drain = %v", err)
		}
		if c, err := net.Dial("tcp", w.l.Addr().String()); err == nil {
			c.Close()
			t.Error("it still listens")
		}
		if _, err := w.c.Listen("127.0.0.1:0", &Entrance{}); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Listen while it stops = %v", err)
		}
		again := make(chan error, 1)
		go func() { again <- w.c.Drain(context.Background()) }()
		exchange(t, stays, []byte("y"))
		if err := <-again; err != nil {
			t.Errorf("Drain = %v", err)
		}
	})
}

// Whoever is in the queue of a listener that closes is served.
func TestCloseServesTheQueue(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := unstarted(t, cfg, nil)
		w.gate.to(newTarget(t, echo))
		w.l = w.listen("127.0.0.1:0", &Entrance{})
		var conns []*net.TCPConn
		for range 50 {
			conns = append(conns, w.dial())
		}
		w.run()
		w.begun()
		w.c.Close(w.l)
		for _, c := range conns {
			exchange(t, c, []byte("queued"))
		}
	})
}

func TestRunEndsEverything(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{TLS: true}, nil)
		silent := w.dial()
		_, _ = silent.Write([]byte{22})
		w.until("it is heard", func(s Stats) bool { return s.Opening == 1 })
		w.gate.to(newTarget(t, echo))
		passes := w.dial()
		_, _ = passes.Write(clientHello(t, "x.example"))
		w.until("it passes", func(s Stats) bool { return s.Passing == 1 })
		w.stop()
		for range 2 {
			w.endsWith(ReasonDrain)
		}
		_, _ = io.ReadAll(silent)
		wait(t, passes)
	})
}

// wait reads until a connection has ended in whatever way.
func wait(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil {
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			t.Error("it never ended")
		}
	}
}

// bucket gives so many bytes, then none until it is filled.
type bucket struct {
	mu    sync.Mutex
	left  int
	taken int
	asked int
	again time.Duration
}

func (b *bucket) Take(want int) (int, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	n := min(want, b.left)
	b.left -= n
	b.taken += n
	if n == 0 {
		return 0, b.again
	}
	return n, 0
}

func (b *bucket) fill(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}

func TestMeter(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{}, nil)
		sent := random(300_000)
		target := newTarget(t, func(c *net.TCPConn) {
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("the target got %d bytes, %v", len(got), err)
			}
		})
		meter := &bucket{again: time.Millisecond}
		w.gate.set(func() {
			w.gate.choose = func(Hello) (Way, *Refusal) { return Way{Target: target, Meter: meter}, nil }
		})
		c := w.dial()
		go func() {
			_, _ = c.Write(sent)
			_ = c.CloseWrite()
		}()
		for total, step := 0, 1000; total < len(sent); step *= 3 {
			step = min(step, len(sent)-total)
			total += step
			meter.fill(step)
			w.until("what was allowed has passed", func(s Stats) bool { return s.Sent == uint64(total) })
		}
		if v := w.endsWith(ReasonClosed); v.out.Sent != uint64(len(sent)) || meter.taken != len(sent) {
			t.Errorf("%+v, but %d were taken", v.out, meter.taken)
		}
		if meter.asked > 5000 {
			t.Errorf("the meter was asked %d times: nobody waits", meter.asked)
		}
	})
}

// Many flows at once, of any size, in both directions, each ended when it likes: every byte arrives, in order, and no other.
func TestManyFlows(t *testing.T) {
	each(t, func(t *testing.T, cfg Config) {
		w := newWorld(t, cfg, &Entrance{}, nil)
		type job struct{ up, down []byte }
		var mu sync.Mutex
		jobs := map[[8]byte]job{}
		talk := func(c *net.TCPConn, say, hear []byte, r *rand.Rand) bool {
			var said sync.WaitGroup
			said.Go(func() {
				for b := say; len(b) > 0; {
					n := min(len(b), 1+r.IntN(1<<r.IntN(20)))
					if _, err := c.Write(b[:n]); err != nil {
						return
					}
					b = b[n:]
				}
				_ = c.CloseWrite()
			})
			got, err := io.ReadAll(c)
			said.Wait()
			return err == nil && bytes.Equal(got, hear)
		}
		target := newTarget(t, func(c *net.TCPConn) {
			var id [8]byte
			if _, err := io.ReadFull(c, id[:]); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			j := jobs[id]
			mu.Unlock()
			if !talk(c, j.down, j.up, rand.New(rand.NewPCG(uint64(id[0]), 2))) {
				t.Error("the target heard something else")
			}
		})
		w.gate.to(target)
		var flows sync.WaitGroup
		for i := range 60 {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			j := job{random(r.IntN(1 << r.IntN(23))), random(r.IntN(1 << r.IntN(23)))}
			id := [8]byte{byte(i), 1}
			mu.Lock()
			jobs[id] = j
			mu.Unlock()
			c := w.dial()
			flows.Go(func() {
				_, _ = c.Write(id[:])
				if !talk(c, j.up, j.down, r) {
					t.Error("the client heard something else")
				}
			})
		}
		flows.Wait()
		for range 60 {
			w.endsWith(ReasonClosed)
		}
		if s := w.c.Stats(); s.HeldBytes != 0 || s.Pipes != 0 {
			t.Errorf("left over: %+v", s)
		}
	})
}
