package transport

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
)

// hole is a TCP hop that can swallow what passes without a word, as a machine that loses its power or a firewall that forgets does.
type hole struct {
	address string

	mu      sync.Mutex // guards the fields below
	conns   []*bool    // whether each connection is swallowed
	ends    []net.Conn
	swallow bool // those that come from now on too
}

func newHole(t *testing.T, to string) *hole {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hole{address: l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			h.mu.Lock()
			gone := h.swallow
			h.conns, h.ends = append(h.conns, &gone), append(h.ends, c, up)
			h.mu.Unlock()
			var pair sync.WaitGroup
			for _, d := range []struct{ to, from net.Conn }{{up, c}, {c, up}} {
				pair.Go(func() {
					_, _ = io.Copy(h.writer(d.to, &gone), d.from)
					if !h.swallowed(&gone) { // a machine without power ends nothing
						_ = c.Close()
						_ = up.Close()
					}
				})
			}
			all.Go(func() { pair.Wait(); _ = c.Close(); _ = up.Close() })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		h.mu.Lock()
		for _, c := range h.ends {
			_ = c.Close()
		}
		h.mu.Unlock()
		all.Wait()
	})
	return h
}

func (h *hole) swallowed(gone *bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return *gone
}

func (h *hole) writer(to io.Writer, gone *bool) io.Writer {
	return writerFunc(func(b []byte) (int, error) {
		if h.swallowed(gone) {
			return len(b), nil
		}
		return to.Write(b)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// open makes the connections there are holes, and with all those to come.
func (h *hole) open(all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.swallow = all
	for _, gone := range h.conns {
		*gone = true
	}
}

// hurry looks soon, so that tests are quick; the proportions are those of the defaults.
var hurry = Config{Doubt: 100 * time.Millisecond, DoubtTimeout: 300 * time.Millisecond, DirectTimeout: 300 * time.Millisecond}

// stuck opens a flow that gets no answer, and returns what tells its end.
func stuck(t *testing.T, tr *Transport, to []plan.Peer) (s *mux.Stream, ended <-chan error) {
	t.Helper()
	s, err := tr.Open(t.Context(), to, flow)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	end := make(chan error, 1)
	go func() { _, err := s.Read(make([]byte, 1)); end <- err }()
	return s, end
}

// soon retries a round trip, as clients do that get no answer, and says after how long the first succeeded.
func soon(t *testing.T, tr *Transport, to []plan.Peer) time.Duration {
	t.Helper()
	start := time.Now()
	eventually(t, "flows pass again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := tr.Open(ctx, to, flow)
		if err != nil {
			return false
		}
		defer s.Close()
		_ = s.SetDeadline(time.Now().Add(150 * time.Millisecond))
		if _, err := s.Write([]byte("x")); err != nil {
			return false
		}
		_, err = io.ReadFull(s, make([]byte, 1))
		return err == nil
	})
	return time.Since(start)
}

func TestFlowsLeaveAProviderThatLostItsPower(t *testing.T) {
	w := newWorld(t)
	b1, _ := w.agent(provider, Config{Direct: "127.0.0.1:0"}, clock.System{}, nil, nil)
	second := agentID("it", "it-cloud", "p-2")
	b2, _ := w.agent(second, Config{Direct: "127.0.0.1:0"}, clock.System{}, nil, nil)
	eventually(t, "both listen", func() bool { return direct(b1) != "" && direct(b2) != "" })
	h := newHole(t, direct(b1))
	to := []plan.Peer{{ID: string(provider), Direct: h.address}, {ID: string(second), Direct: direct(b2)}}
	a, _ := w.agent(consumer, hurry, clock.System{}, nil, nil)
	if err := roundTrip(t.Context(), a, to, "with power"); err != nil {
		t.Fatal(err)
	}
	h.open(true)
	_, ended := stuck(t, a, to)
	if took := soon(t, a, to); took > 2*time.Second {
		t.Errorf("flows passed again after %v", took)
	}
	select {
	case err := <-ended:
		if err == nil || err == io.EOF { //nolint:errorlint // what a reader would compare with
			t.Errorf("the flow that was stuck ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the flow that was stuck was not given up")
	}
	eventually(t, "only the second provider is left", func() bool {
		s := a.Status()
		return len(s.Tunnels) == 1 && s.Tunnels[0].Peer == second
	})
	start := time.Now() // the silent one is not asked again before the other
	for range 20 {
		if err := roundTrip(t.Context(), a, to, "still here"); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("twenty flows took %v", took)
	}
}

// A firewall that forgets a connection is no reason to leave the provider: a new tunnel does.
func TestFlowsLeaveATunnelThatWasForgotten(t *testing.T) {
	w := newWorld(t)
	b, _ := w.agent(provider, Config{Direct: "127.0.0.1:0"}, clock.System{}, nil, nil)
	eventually(t, "it listens", func() bool { return direct(b) != "" })
	h := newHole(t, direct(b))
	a, _ := w.agent(consumer, hurry, clock.System{}, nil, nil)
	to := peers(provider, h.address)
	if err := roundTrip(t.Context(), a, to, "at first"); err != nil {
		t.Fatal(err)
	}
	h.open(false)
	_, ended := stuck(t, a, to)
	if took := soon(t, a, to); took > 2*time.Second {
		t.Errorf("flows passed again after %v", took)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the flow that was stuck was not given up")
	}
	eventually(t, "the forgotten tunnel is gone", func() bool { return len(a.Status().Tunnels) == 1 })
}

// A provider that dials a slow target answers pings meanwhile, and keeps its tunnel and its flows.
func TestASlowTargetIsNoReasonToDoubt(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	b, _ := w.agent(provider, Config{Direct: "127.0.0.1:0"}, clock.System{}, nil, func(id identity.ID, s *mux.Stream) {
		<-release
		echo(id, s)
	})
	eventually(t, "it listens", func() bool { return direct(b) != "" })
	a, _ := w.agent(consumer, hurry, clock.System{}, nil, nil)
	s, ended := stuck(t, a, peers(provider, direct(b)))
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if err := s.WaitAccepted(ctx); ctx.Err() == nil {
		t.Fatalf("it was accepted, or given up: %v", err)
	}
	close(release)
	if err := s.WaitAccepted(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := len(a.Status().Tunnels); n != 1 {
		t.Errorf("%d tunnels", n)
	}
}

func direct(tr *Transport) string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.directAddr == nil {
		return ""
	}
	return tr.directAddr.String()
}
