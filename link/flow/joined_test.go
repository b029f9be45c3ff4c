package flow_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// joined is a stream joined to a connection: person at the one end, machine at the other.
type joined struct {
	*flow.Joined
	person  *mux.Stream
	machine net.Conn
	ended   chan bool // whether in order
}

// sessions returns the two ends of a tunnel.
func sessions(t testing.TB) (near, far *mux.Session) {
	t.Helper()
	a, b := tcpPair(t)
	near, far = mux.Client(a, mux.Config{}), mux.Server(b, mux.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = near.Run(ctx) })
	wg.Go(func() { _ = far.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return near, far
}

// machines are the kinds of connections that may be joined: what is joined, and what the machine holds of it.
var machines = map[string]func(t testing.TB) (ours, theirs net.Conn){
	"tcp": func(t testing.TB) (net.Conn, net.Conn) { return tcpPair(t) },
	"unix": func(t testing.TB) (net.Conn, net.Conn) {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		must(t, err)
		defer l.Close()
		a, err := net.Dial("unix", l.Addr().String())
		must(t, err)
		b, err := l.Accept()
		must(t, err)
		return a, b
	},
	"any": func(t testing.TB) (net.Conn, net.Conn) {
		a, b := tcpPair(t)
		return halfClosing{a, a}, b
	},
	"whole": func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() },
}

// halfClosing is a connection which is no socket to those who look.
type halfClosing struct {
	net.Conn
	tcp *net.TCPConn
}

func (h halfClosing) CloseWrite() error { return h.tcp.CloseWrite() }

func join(t testing.TB, kind string, m flow.Meter) joined {
	t.Helper()
	near, far := sessions(t)
	person, err := near.Open(t.Context(), tunnel.Flow{Endpoint: "g-1", Port: 1})
	must(t, err)
	stream, err := far.Accept(t.Context())
	must(t, err)
	ours, theirs := machines[kind](t)
	t.Cleanup(func() { _ = theirs.Close(); _ = person.Close() })
	_ = person.SetDeadline(time.Now().Add(patient))
	_ = theirs.SetDeadline(time.Now().Add(patient))
	j := joined{flow.Join(stream, ours, clock.System{}, m), person, theirs, make(chan bool, 1)}
	go func() {
		orderly, _ := j.Carry()
		j.ended <- orderly
	}()
	return j
}

func (j joined) end(t testing.TB) bool {
	t.Helper()
	select {
	case orderly := <-j.ended:
		return orderly
	case <-time.After(patient):
		t.Fatal("it does not end")
		return false
	}
}

// passes waits until so much is counted: what was read at an end may be counted a moment later.
func (j joined) passes(t *testing.T, sent, received uint64) {
	t.Helper()
	for end := time.Now().Add(patient); ; runtime.Gosched() {
		s, r := j.Passed()
		if s == sent && r == received {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%d and %d are counted, wanted %d and %d", s, r, sent, received)
			return
		}
	}
}

func TestJoinedPassBothWaysAndEndEachByItself(t *testing.T) {
	for kind := range machines {
		t.Run(kind, func(t *testing.T) {
			j := join(t, kind, nil)
			send(t, j.person, "hello")
			expect(t, j.machine, "hello")
			send(t, j.machine, "and back")
			expect(t, j.person, "and back")
			j.passes(t, 5, 8)
			must(t, j.person.CloseWrite())
			if kind != "whole" {
				expectEnd(t, j.machine)
			}
			send(t, j.machine, "!")
			expect(t, j.person, "!")
			must(t, j.machine.Close())
			expectEnd(t, j.person)
			if !j.end(t) {
				t.Error("it did not end in order")
			}
			if sent, received := j.Passed(); sent != 5 || received != 9 {
				t.Error("in the end:", sent, received)
			}
		})
	}
}

func TestJoinedCarryMuch(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for kind := range machines {
		t.Run(kind, func(t *testing.T) {
			j := join(t, kind, nil)
			var wg sync.WaitGroup
			for from, to := range map[io.Writer]io.Reader{j.person: j.machine, j.machine: j.person} {
				wg.Go(func() { _, _ = from.Write(content) })
				wg.Go(func() {
					got := make([]byte, len(content))
					if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, content) {
						t.Error("not what was sent:", err)
					}
				})
			}
			wg.Wait()
			j.passes(t, uint64(len(content)), uint64(len(content)))
			j.Cut(tunnel.ResetRevoked, "")
			j.end(t)
		})
	}
}

func TestJoinedAreCutWithWords(t *testing.T) {
	for kind := range machines {
		t.Run(kind, func(t *testing.T) {
			j := join(t, kind, nil)
			send(t, j.person, "x")
			expect(t, j.machine, "x")
			j.Cut(tunnel.ResetRevoked, "the grant has ended")
			j.Cut(tunnel.ResetPeer, "too late")
			if _, err := j.machine.Read(make([]byte, 1)); err == nil {
				t.Error("the machine reads on")
			}
			_, err := j.person.Read(make([]byte, 1))
			if reset, ok := errors.AsType[*mux.ResetError](err); !ok || reset.Code != tunnel.ResetRevoked || reset.Message != "the grant has ended" {
				t.Error("the person is told", err)
			}
			if j.end(t) {
				t.Error("a cut is no end in order")
			}
		})
	}
}

// Whoever is lost takes the other with him.
func TestJoinedBreakTogether(t *testing.T) {
	for kind := range machines {
		t.Run(kind, func(t *testing.T) {
			j := join(t, kind, nil)
			send(t, j.person, "x")
			expect(t, j.machine, "x")
			j.person.Reset(tunnel.ResetPeer, "")
			if _, err := j.machine.Read(make([]byte, 1)); err == nil {
				t.Error("the machine reads on")
			}
			if j.end(t) {
				t.Error("in order")
			}
		})
	}
	j := join(t, "tcp", nil)
	send(t, j.person, "x")
	expect(t, j.machine, "x")
	hardClose(j.machine.(*net.TCPConn))
	if _, err := j.person.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Error("the person is told", err)
	}
	if j.end(t) {
		t.Error("in order")
	}
}

func TestWhatIsCutBeforeItIsCarriedEnds(t *testing.T) {
	near, far := sessions(t)
	person, err := near.Open(t.Context(), tunnel.Flow{Endpoint: "g-1", Port: 1})
	must(t, err)
	stream, err := far.Accept(t.Context())
	must(t, err)
	ours, theirs := tcpPair(t)
	defer theirs.Close()
	j := flow.Join(stream, ours, clock.System{}, nil)
	j.Cut(tunnel.ResetRevoked, "words")
	if orderly, _ := j.Carry(); orderly {
		t.Error("in order")
	}
	if _, err := person.Read(make([]byte, 1)); err == nil {
		t.Error("the person reads on")
	}
}

// gate lets nothing pass until it is opened.
type gate struct{ open atomic.Bool }

func (g *gate) Take(want int) (int, time.Duration) {
	if !g.open.Load() {
		return 0, time.Millisecond
	}
	return want, 0
}

// A meter holds for what moves already, and loses nothing by coming.
func TestAMeterMayComeAndGo(t *testing.T) {
	for kind := range machines {
		t.Run(kind, func(t *testing.T) {
			j := join(t, kind, nil)
			send(t, j.person, "1")
			expect(t, j.machine, "1")
			send(t, j.machine, "2")
			expect(t, j.person, "2")
			g := new(gate)
			j.SetMeter(g)
			for from, to := range map[net.Conn]net.Conn{j.person: j.machine, j.machine: j.person} {
				done := make(chan struct{})
				go func() { defer close(done); _, _ = from.Write([]byte("held")) }() // a pipe takes nothing that is not read
				_ = to.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				if n, err := to.Read(make([]byte, 1)); err == nil {
					t.Errorf("%d bytes passed", n)
				}
				_ = to.SetReadDeadline(time.Now().Add(patient))
				g.open.Store(true)
				expect(t, to, "held")
				<-done
				g.open.Store(false)
			}
			j.SetMeter(nil)
			send(t, j.person, "free")
			expect(t, j.machine, "free")
			send(t, j.machine, "free")
			expect(t, j.person, "free")
			j.SetMeter(g)
			g.open.Store(true)
			must(t, j.person.CloseWrite())
			must(t, j.machine.Close())
			expectEnd(t, j.person)
			if !j.end(t) {
				t.Error("it did not end in order")
			}
		})
	}
}

// Meters that change while much is on its way in both directions change nothing about the bytes.
func TestAMeterThatComesLosesNothing(t *testing.T) {
	content := make([]byte, 4<<20)
	for i := range content {
		content[i] = byte(i * 7)
	}
	for _, kind := range []string{"tcp", "unix", "any"} {
		t.Run(kind, func(t *testing.T) {
			j := join(t, kind, nil)
			g := new(gate)
			g.open.Store(true)
			var wg sync.WaitGroup
			both := func(from io.Writer, to io.Reader, end func() error) {
				wg.Go(func() {
					_, _ = from.Write(content)
					_ = end()
				})
				wg.Go(func() {
					if got, err := io.ReadAll(to); err != nil || !bytes.Equal(got, content) {
						t.Errorf("%d bytes of %d: %v", len(got), len(content), err)
					}
				})
			}
			both(j.person, j.machine, j.person.CloseWrite)
			both(j.machine, j.person, j.machine.(interface{ CloseWrite() error }).CloseWrite)
			for range 50 {
				j.SetMeter(g)
				j.SetMeter(nil)
			}
			wg.Wait()
			if !j.end(t) {
				t.Error("it did not end in order")
			}
		})
	}
}
