package carry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/fault"
)

func ourProcessorTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Without file descriptors whoever comes is turned away, nothing spins, and when there are some again all is as before.
func TestNoFileDescriptors(t *testing.T) {
	w := newWorld(t, Config{}, &Entrance{}, nil)
	w.gate.to(newTarget(t, echo))
	exchange(t, w.dial(), []byte("x"))
	w.endsWith(ReasonClosed)

	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	// The callers' sockets are made while there are some, and used when there are none.
	var callers []int
	for range 5 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		callers = append(callers, fd)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	restore := sync.OnceFunc(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) })
	defer restore()
	cpu, began := ourProcessorTime(), time.Now()
	to := &unix.SockaddrInet4{Port: int(w.l.Addr().Port()), Addr: [4]byte{127, 0, 0, 1}}
	for _, fd := range callers {
		if err := unix.Connect(fd, to); err != nil && err != unix.ECONNRESET {
			t.Fatal(err)
		}
	}
	<-time.After(300 * time.Millisecond)
	if spent, passed := ourProcessorTime()-cpu, time.Since(began); spent > passed/2 {
		t.Errorf("%v of processor time in %v: it spins", spent, passed)
	}
	restore()
	w.until("all were dealt with", func(s Stats) bool { return s.Full+s.Accepted >= 6 })
	exchange(t, w.dial(), []byte("y"))
}

// spareFD cannot be had again below the limit, which ends in a pause; with one to spare the peer learns at once.
// The kernel would let two processes of one user share an address, and give each a part of the connections.
func TestAnAddressIsNotShared(t *testing.T) {
	w := newWorld(t, Config{}, &Entrance{Name: "first"}, nil)
	other := unstarted(t, Config{}, nil)
	for _, addr := range []string{w.l.Addr().String(), fmt.Sprintf(":%d", w.l.Addr().Port())} {
		if l, err := other.c.Listen(addr, &Entrance{Name: "second"}); err == nil || !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%s: %v, %v", addr, l, err)
		}
	}
	// One Carrier's own listeners may follow each other at one port without a gap.
	if _, err := w.c.Listen(fmt.Sprintf("127.0.0.2:%d", w.l.Addr().Port()), &Entrance{Name: "third"}); err != nil {
		t.Error(err)
	}
}

func TestTurnsAwayWithTheSpare(t *testing.T) {
	w := newWorld(t, Config{Workers: 1}, &Entrance{}, nil)
	w.gate.to(newTarget(t, echo))
	w.begun()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	caller := os.NewFile(uintptr(fd), "")
	defer caller.Close()
	exchange(t, w.dial(), []byte("x")) // everything that Go opens by itself is open now
	w.endsWith(ReasonClosed)
	var before unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &before)
	var fill []int
	highest := 0
	for range 3 {
		n, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		fill = append(fill, n)
		highest = max(highest, n)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(highest) + 1, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	for { // no gap is left below the limit
		n, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			break
		}
		fill = append(fill, n)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(w.l.Addr().Port()), Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		_, err = unix.Read(fd, make([]byte, 1))
	}
	for _, n := range fill {
		unix.Close(n)
	}
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	if err != unix.ECONNRESET {
		t.Errorf("the caller met %v, wanted a reset", err)
	}
	w.until("it was counted", func(s Stats) bool { return s.Full == 1 })
}

// Peers that take nothing for a while lose nothing, and what is held for them is bounded; without buffers it goes on without.
func TestSlowPeers(t *testing.T) {
	for _, c := range []struct {
		name      string
		noBuffers bool
		noPipes   bool
	}{{name: "pipes"}, {name: "buffers", noPipes: true}, {name: "neither", noBuffers: true, noPipes: true}} {
		t.Run(c.name, func(t *testing.T) {
			w := unstarted(t, Config{Workers: 1}, nil)
			one := w.c.engine.(*epolled).workers[0]
			if c.noBuffers {
				one.stores.held = mostHeld
			}
			if c.noPipes {
				one.stores.lent = mostPipes
			}
			data := random(24 << 20)
			read := make(chan struct{})
			var right atomic.Int32
			w.gate.to(newTarget(t, func(c *net.TCPConn) {
				_ = c.SetReadBuffer(64 << 10)
				<-read
				if got, err := io.ReadAll(c); err == nil && bytes.Equal(got, data) {
					right.Add(1)
				}
			}))
			w.l = w.listen("127.0.0.1:0", &Entrance{})
			w.run()
			const n = 3
			var writers sync.WaitGroup
			for range n {
				conn := w.dial()
				writers.Go(func() {
					_, _ = conn.Write(data)
					_ = conn.CloseWrite()
				})
			}
			var last Stats
			quiet := 0
			w.until("all are stuck", func(s Stats) bool {
				if s.Sent != last.Sent || s.Passing < n {
					quiet = 0
				}
				quiet++
				last = s
				return quiet > 100
			})
			if last.Sent >= n*uint64(len(data)) {
				t.Fatal("nobody was slow")
			}
			if c.noBuffers && last.HeldBytes != 0 || last.HeldBytes > 2*n*copyBytes {
				t.Errorf("%+v", last)
			}
			close(read)
			writers.Wait()
			for range n {
				w.endsWith(ReasonClosed)
			}
			if right.Load() != n {
				t.Errorf("%d of %d arrived whole", right.Load(), n)
			}
			if s := w.c.Stats(); s.HeldBytes != 0 || s.Pipes != 0 {
				t.Errorf("left over: %+v", s)
			}
		})
	}
}

// A target that does not answer is given up in time, and the next one is tried.
func TestConnectTimeout(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	full, err := localAddress(int32(fd))
	if err != nil {
		t.Fatal(err)
	}
	dial(t, full) // its queue has room for one
	timesOut := func(t *testing.T, cfg Config, entrance, way time.Duration) {
		clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
		w := newWorld(t, cfg, &Entrance{ConnectTimeout: entrance}, clk)
		next := newTarget(t, echo)
		w.gate.set(func() {
			w.gate.choose = func(Hello) (Way, *Refusal) { return Way{Target: full, Wait: way}, nil }
			w.gate.next = func() (netip.AddrPort, bool) { return next, true }
		})
		c := w.dial()
		w.until("it waits", func(s Stats) bool { return s.Joining == 1 })
		if passed := passTime(clk, 500*time.Millisecond, time.Minute, func() bool { return w.c.Stats().Passing == 1 }); passed < 2*time.Second {
			t.Errorf("given up after %v", passed)
		}
		exchange(t, c, []byte("x"))
		if v := w.endsWith(ReasonClosed); len(v.failed) != 1 || v.failed[0] != full {
			t.Errorf("%+v", v)
		}
	}
	each(t, func(t *testing.T, cfg Config) {
		timesOut(t, cfg, 2*time.Second, 0)
		timesOut(t, cfg, time.Minute, 2*time.Second) // the way knows better
	})
	if err := timeout(full); fault.KindOf(err) != fault.Timeout {
		t.Error(err)
	}
}

// The wheel calls for every deadline, never early, and late by no more than two ticks, as a list would.
func TestWheel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w wheel
		now := int64(1_000_000) * int64(tick)
		w.at = ticks(now)
		due := map[*link]int64{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				l := &link{}
				due[l] = now + rapid.Int64Range(-int64(tick), int64(tick)*2000).Draw(t, "due")
				w.arm(l, due[l])
			case 2:
				for l := range due { // put it nearer, or further away
					due[l] = now + rapid.Int64Range(0, int64(tick)*2000).Draw(t, "moved")
					w.arm(l, due[l])
					break
				}
				for l := range due {
					delete(due, l)
					w.disarm(l)
					break
				}
			default:
				now += rapid.Int64Range(0, int64(tick)*800).Draw(t, "passed")
				w.turn(now, func(l *link) {
					at, ok := due[l]
					if !ok {
						t.Fatal("called for one that was taken out")
					}
					if at > now {
						w.arm(l, at)
						return
					}
					delete(due, l)
				})
				for _, at := range due {
					if at+2*int64(tick) <= now {
						t.Fatalf("%v late", time.Duration(now-at))
					}
				}
			}
		}
		if w.links != len(due) {
			t.Fatalf("%d links, wanted %d", w.links, len(due))
		}
	})
}

func TestRestingInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOf(rapid.Int64Range(0, 100)).Draw(t, "times")
		var r resting
		stale := &link{generation: 9}
		r.add(-1, stale)
		stale.generation++
		for _, at := range times {
			r.add(at, &link{began: at})
		}
		slices.Sort(times)
		var got []int64
		for now := int64(-1); now <= 100; now++ {
			r.due(now, func(l *link) {
				if l.began != now {
					t.Fatalf("%d called at %d", l.began, now)
				}
				got = append(got, l.began)
			})
		}
		if !slices.Equal(got, times) || len(r) != 0 {
			t.Fatalf("got %v, wanted %v", got, times)
		}
	})
}

// Thousands that say a byte now and then cost their struct, and others do not notice.
func TestSlowLoris(t *testing.T) {
	const n = 2000
	hello := clientHello(t, "a.example")
	w := newWorld(t, Config{}, &Entrance{TLS: true}, nil)
	w.gate.to(newTarget(t, echo))
	var conns []*net.TCPConn
	for range n {
		c := w.dial()
		_, _ = c.Write(hello[:5])
		conns = append(conns, c)
	}
	w.until("all wait", func(s Stats) bool { return s.Opening == n })
	for i := 5; i < 8; i++ {
		for _, c := range conns {
			_, _ = c.Write(hello[i : i+1])
		}
		watch := clocktest.Start(t)
		exchange(t, w.dial(), hello)
		if passed := watch.Took(); passed > 2*time.Second {
			t.Errorf("a good hello took %v", passed)
		}
	}
	if s := w.c.Stats(); s.HeldBytes != 0 || s.Opening != n {
		t.Errorf("%+v", s)
	}
}
