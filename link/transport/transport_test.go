package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/link/relay"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

var (
	consumer = agentID("ot", "plant-7", "gw-1")
	provider = agentID("it", "it-cloud", "p-1")
)

// two returns a consumer and a provider connected to one relay.
func two(t testing.TB, cfg Config, handle func(identity.ID, *mux.Stream)) (r *relayHouse, a, b *Transport, stopB func()) {
	w := newWorld(t)
	r = w.relay(relay.Config{})
	a, _ = w.agent(consumer, cfg, clock.System{}, r.plan(), nil)
	b, stopB = w.agent(provider, cfg, clock.System{}, r.plan(), handle)
	eventually(t, "both connected", func() bool { return connected(a) && connected(b) })
	return r, a, b, stopB
}

func TestThroughRelay(t *testing.T) {
	r, a, _, _ := two(t, Config{}, nil)
	if err := roundTrip(t.Context(), a, peers(provider, ""), strings.Repeat("hello over there ", 100_000)); err != nil {
		t.Fatal(err)
	}
	s := a.Status()
	if len(s.Tunnels) != 1 || s.Tunnels[0].Via != r.address || s.Tunnels[0].Peer != provider || s.Sent != 1_700_000 {
		t.Fatalf("status %+v", s)
	}
	eventually(t, "the relay has seen the bytes", func() bool {
		s := r.relay.Status()
		return s.PairsMade == 1 && len(s.Pairs) == 1 && s.Pairs[0].Asker == consumer && s.Pairs[0].Bytes > 0
	})
}

// tap is a TCP hop that keeps every byte that passes.
type tap struct {
	mu   sync.Mutex
	seen bytes.Buffer
}

func (w *tap) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.Write(p)
}

func (w *tap) has(s string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.seen.Bytes(), []byte(s))
}

// between starts a hop in front of address; keep gets what passes.
func between(t testing.TB, address string, keep io.Writer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", address)
			if err != nil {
				_ = c.Close()
				continue
			}
			for _, d := range []struct{ to, from net.Conn }{{up, c}, {c, up}} {
				all.Go(func() {
					_, _ = io.Copy(io.MultiWriter(d.to, keep), d.from)
					_ = c.Close()
					_ = up.Close()
				})
			}
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l.Addr().String()
}

func TestNothingReadableAtTheRelay(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	var seen tap
	via := []plan.Relay{{Address: between(t, r.address, &seen), ID: r.plan()[0].ID}}
	a, stop := w.agent(consumer, Config{}, clock.System{}, via, nil)
	b, stopB := w.agent(provider, Config{}, clock.System{}, via, nil)
	eventually(t, "both connected", func() bool { return connected(a) && connected(b) })
	marker := "MARKER-6e0c9e1f-of-the-plaintext"
	if err := roundTrip(t.Context(), a, peers(provider, ""), strings.Repeat(marker, 1000)); err != nil {
		t.Fatal(err)
	}
	stop()
	stopB()
	r.stop()
	if !seen.has(tunnel.Magic) {
		t.Fatal("the tap has missed the data connection")
	}
	for _, secret := range []string{marker, marker[3:11], flow.Endpoint, string(consumer), "plant-7"} {
		if seen.has(secret) {
			t.Errorf("%q passed the relay in the clear", secret)
		}
	}
}

func TestDirectIsPreferred(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	a, _ := w.agent(consumer, Config{DirectTimeout: 10 * time.Second}, clock.System{}, r.plan(), nil)
	b, _ := w.agent(provider, Config{Direct: "127.0.0.1:0"}, clock.System{}, r.plan(), nil)
	eventually(t, "both connected", func() bool { return connected(a) && connected(b) && direct(b) != "" })
	if err := roundTrip(t.Context(), a, peers(provider, b.Status().Direct), "hello"); err != nil {
		t.Fatal(err)
	}
	if s := a.Status(); len(s.Tunnels) != 1 || s.Tunnels[0].Via != viaDirect {
		t.Fatalf("status %+v", s)
	}
	if n := r.relay.Status().PairsMade; n != 0 {
		t.Fatalf("the relay made %d pairs", n)
	}
}

// A direct address that leads nowhere, or to somebody else, costs little and harms nothing.
func TestDirectFails(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	other, _ := w.agent(agentID("it", "it-cloud", "p-2"), Config{Direct: "127.0.0.1:0"}, clock.System{}, nil, nil)
	eventually(t, "the other listens", func() bool { return other.Status().Direct != "" })
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	for name, address := range map[string]string{"nobody there": dead.Addr().String(), "somebody else": other.Status().Direct} {
		t.Run(name, func(t *testing.T) {
			a, _ := w.agent(agentID("ot", "plant-7", strings.ReplaceAll(name, " ", "-")), Config{}, clock.System{}, r.plan(), nil)
			b, stop := w.agent(provider, Config{}, clock.System{}, r.plan(), nil)
			defer stop()
			eventually(t, "both connected", func() bool { return connected(a) && connected(b) })
			if err := roundTrip(t.Context(), a, peers(provider, address), "hello"); err != nil {
				t.Fatal(err)
			}
			if s := a.Status(); s.Tunnels[0].Via != r.address {
				t.Fatalf("status %+v", s)
			}
		})
	}
}

func TestManyFlowsMakeOneAttempt(t *testing.T) {
	r, a, _, _ := two(t, Config{MaxTunnelsPerPeer: 1}, nil)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if err := roundTrip(t.Context(), a, peers(provider, ""), fmt.Sprint("flow ", i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := r.relay.Status().PairsMade; n != 1 {
		t.Fatalf("%d tunnels were made", n)
	}
}

func TestBusyTunnelGetsASecond(t *testing.T) {
	r, a, _, _ := two(t, Config{SpreadStreams: 4}, nil)
	var open []*mux.Stream
	more := func() {
		s, err := a.Open(t.Context(), peers(provider, ""), flow)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	for range 5 {
		more()
	}
	eventually(t, "a second tunnel", func() bool { return len(a.Status().Tunnels) == 2 })
	for range 20 {
		more()
	}
	s := a.Status()
	if len(s.Tunnels) != 2 || r.relay.Status().PairsMade != 2 {
		t.Fatalf("status %+v", s)
	}
	for _, tn := range s.Tunnels {
		if tn.Streams < 10 {
			t.Errorf("a tunnel carries %d of 25 streams", tn.Streams)
		}
	}
	for _, s := range open {
		_ = s.Close()
	}
}

func TestAbsentPeerIsAskedForOnceASecond(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	clk := clock.NewFake(time.Now())
	a, _ := w.agent(consumer, Config{}, clk, r.plan(), nil)
	eventually(t, "connected", func() bool { return connected(a) })
	for second := 1; second <= 3; second++ {
		for range 500 {
			_, err := a.Open(t.Context(), peers(provider, ""), flow)
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), "it/it-cloud/p-1 is not connected to the relay "+r.address) ||
				fault.Next(err) == "" {
				t.Fatalf("got %v; next %q", err, fault.Next(err))
			}
		}
		if n := r.relay.Status().AsksRefused; n != uint64(second) {
			t.Fatalf("the relay was asked %d times in %d s", n, second)
		}
		clk.Advance(time.Second)
	}
}

func TestPeersAreTriedInOrder(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	a, _ := w.agent(consumer, Config{}, clock.System{}, r.plan(), nil)
	b, _ := w.agent(provider, Config{}, clock.System{}, r.plan(), nil)
	eventually(t, "both connected", func() bool { return connected(a) && connected(b) })
	both := append(peers(agentID("it", "it-cloud", "p-0"), ""), peers(provider, "")...)
	for range 3 {
		if err := roundTrip(t.Context(), a, both, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.relay.Status().AsksRefused; n != 1 {
		t.Fatalf("the absent peer was asked for %d times although the other had a tunnel", n)
	}
}

func TestEarlyNo(t *testing.T) {
	r, a, b, _ := two(t, Config{}, nil)
	b.SetAllowed(func(id identity.ID) bool { return id != consumer })
	began := time.Now()
	_, err := a.Open(t.Context(), peers(provider, ""), flow)
	if fault.KindOf(err) != fault.Denied || fault.Next(err) == "" {
		t.Fatalf("got %v", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Fatalf("the no took %v", d)
	}
	if n := r.relay.Status().PairsMade; n != 0 {
		t.Fatalf("%d pairs were made", n)
	}
}

func TestEarlyNoOnDirectTunnels(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent(consumer, Config{}, clock.System{}, nil, nil)
	b, _ := w.agent(provider, Config{Direct: "127.0.0.1:0"}, clock.System{}, nil, nil)
	eventually(t, "it listens", func() bool { return b.Status().Direct != "" })
	b.SetAllowed(nil)
	// In TLS 1.3 the one who dials learns of it a moment later: by the stream, or at once.
	if err := roundTrip(t.Context(), a, peers(provider, b.Status().Direct), "hello"); err == nil {
		t.Fatal("it was let in")
	}
	if n := len(b.Status().Tunnels); n != 0 {
		t.Fatalf("%d tunnels", n)
	}
}

// A peer that is no longer allowed keeps its streams (who cuts them is link/flow, with a reason) and gets no new ones.
func TestNoLongerAllowed(t *testing.T) {
	_, a, b, _ := two(t, Config{}, nil)
	s, err := a.Open(t.Context(), peers(provider, ""), flow)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.WaitAccepted(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.SetAllowed(nil)
	eventually(t, "the tunnel takes no more", func() bool { return a.Status().Tunnels[0].Retired })
	if _, err := a.Open(t.Context(), peers(provider, ""), flow); fault.KindOf(err) != fault.Denied {
		t.Fatalf("got %v", err)
	}
	_ = s.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(s, "still"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
}

// A provider's agent that is in the plan no more, because it was deleted, gets and gives no byte: not in the flows there are either.
func TestNoLongerAProvider(t *testing.T) {
	_, a, _, _ := two(t, Config{}, nil)
	a.SetProviders([]identity.ID{provider})
	s, err := a.Open(t.Context(), peers(provider, ""), flow)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.WaitAccepted(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.SetProviders(nil)
	_ = s.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the flow goes on: %v", err)
	}
	eventually(t, "the tunnel is closed", func() bool { return len(a.Status().Tunnels) == 0 })
	if s, err := a.Open(t.Context(), peers(provider, ""), flow); err == nil { // asked for just before the plan changed
		if err := s.WaitAccepted(t.Context()); err == nil {
			t.Fatal("a new flow goes there")
		}
		_ = s.Close()
	}
	a.SetProviders([]identity.ID{provider})
	eventually(t, "it may provide again", func() bool { return roundTrip(t.Context(), a, peers(provider, ""), "again") == nil })
}

func TestPeerDies(t *testing.T) {
	r, a, _, stop := two(t, Config{}, nil)
	s, err := a.Open(t.Context(), peers(provider, ""), flow)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WaitAccepted(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	_ = s.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = s.Read(make([]byte, 1))
	if ne, ok := errors.AsType[net.Error](err); err == nil || err == io.EOF || (ok && ne.Timeout()) { //nolint:errorlint // io.EOF itself is what readers take for the end
		t.Fatalf("a cut stream looks finished or alive: %v", err)
	}
	_ = s.Close()
	r.w.agent(provider, Config{}, clock.System{}, r.plan(), nil)
	eventually(t, "it is back", func() bool { return roundTrip(t.Context(), a, peers(provider, ""), "hello again") == nil })
}

// A peer of another authority is refused by us, whatever it says about itself.
func TestPeerOfAnotherAuthority(t *testing.T) {
	w, elsewhere := newWorld(t), newWorld(t)
	b, _ := elsewhere.agent(provider, Config{Direct: "127.0.0.1:0"}, clock.System{}, nil, nil)
	a, _ := w.agent(consumer, Config{}, clock.System{}, nil, nil)
	eventually(t, "it listens", func() bool { return b.Status().Direct != "" })
	_, err := a.Open(t.Context(), peers(provider, b.Status().Direct), flow)
	if err == nil || !strings.Contains(fault.Message(err), "not issued by this deployment") {
		t.Fatalf("got %v", err)
	}
}

func TestEndsPassThrough(t *testing.T) {
	handle := func(_ identity.ID, s *mux.Stream) {
		defer s.Close()
		_ = s.Accept()
		got, err := io.ReadAll(s) // returns at the half-close
		if err != nil || string(got) != "question" {
			s.Reset(tunnel.ResetProtocol, "not the question")
			return
		}
		_, _ = io.WriteString(s, "answer")
		s.Reset(tunnel.ResetPeer, "the target reset")
	}
	_, a, _, _ := two(t, Config{}, handle)
	s, err := a.Open(t.Context(), peers(provider, ""), flow)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(s, "question")
	_ = s.CloseWrite()
	_, err = io.ReadAll(s)
	if re, ok := errors.AsType[*mux.ResetError](err); !ok || re.Code != tunnel.ResetPeer || !re.Remote {
		t.Fatalf("got %v", err)
	}
}

func TestCertificatesLapseUnderATunnel(t *testing.T) {
	_, a, _, _ := two(t, Config{}, nil)
	if err := roundTrip(t.Context(), a, peers(provider, ""), "hello"); err != nil {
		t.Fatal(err)
	}
	a.tidy(time.Now().Add(2 * time.Hour))
	if s := a.Status(); len(s.Tunnels) != 1 || !s.Tunnels[0].Retired {
		t.Fatalf("status %+v", s)
	}
	a.tidy(time.Now().Add(3 * time.Hour)) // nothing on it for a while
	eventually(t, "the tunnel is closed", func() bool { return len(a.Status().Tunnels) == 0 })
}

// A flow may outlive many certificates. The tunnels it keeps open must not leave the peer without a place for the next one.
func TestRetiredTunnelsGiveTheirPlaceBack(t *testing.T) {
	w := newWorld(t)
	b, _ := w.agent(provider, Config{Direct: "127.0.0.1:0", MaxInboundPerPeer: 1}, clock.System{}, nil, nil)
	a, _ := w.agent(consumer, Config{FailureMemory: time.Millisecond}, clock.System{}, nil, nil)
	to := peers(provider, b.Status().Direct)
	var kept []*mux.Stream
	for range 3 {
		var s *mux.Stream
		eventually(t, "there is a place", func() (ok bool) { // a refusal shows only after the handshake
			var err error
			if s, err = a.Open(t.Context(), to, flow); err != nil {
				return false
			}
			return s.WaitAccepted(t.Context()) == nil
		})
		kept = append(kept, s)
		for _, tr := range []*Transport{a, b} {
			tr.tidy(time.Now().Add(2 * time.Hour)) // the certificates' hour is over
		}
	}
	for i, s := range kept {
		_ = s.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(s, "still"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
			t.Fatalf("flow %d: %v", i, err)
		}
		_ = s.Close()
	}
	eventually(t, "all have left", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.inboundAll == 0 && len(b.inbound) == 0
	})
}

func TestIdleTunnelsAndPeersAreForgotten(t *testing.T) {
	_, a, b, _ := two(t, Config{}, nil)
	if err := roundTrip(t.Context(), a, peers(provider, ""), "hello"); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	eventually(t, "no stream is left", func() bool { return a.Status().Tunnels[0].Streams == 0 })
	for _, later := range []time.Duration{0, 9 * time.Minute, 11 * time.Minute, 12 * time.Minute} {
		if n := len(a.Status().Tunnels); n != 1 {
			t.Fatalf("%d tunnels before %v", n, later)
		}
		a.tidy(now.Add(later))
	}
	eventually(t, "the tunnel is closed, on both sides", func() bool { return len(a.Status().Tunnels)+len(b.Status().Tunnels) == 0 })
	eventually(t, "the peer is forgotten", func() bool {
		a.tidy(now.Add(20 * time.Minute))
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.peers) == 0
	})
}

func TestOpenGivesUpWithItsCaller(t *testing.T) {
	w := newWorld(t)
	hole, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	a, _ := w.agent(consumer, Config{DirectTimeout: time.Minute, OpenTimeout: time.Minute}, clock.System{}, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := a.Open(ctx, peers(provider, hole.Addr().String()), flow)
		done <- err
	}()
	c, err := hole.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if err := <-done; fault.KindOf(err) != fault.Timeout {
		t.Fatalf("got %v", err)
	}
}

func TestADirectWayReplacesTheRelay(t *testing.T) {
	w := newWorld(t)
	r := w.relay(relay.Config{})
	a, _ := w.agent(consumer, Config{}, clock.System{}, r.plan(), nil)
	b, _ := w.agent(provider, Config{Direct: "127.0.0.1:0"}, clock.System{}, r.plan(), nil)
	eventually(t, "both connected", func() bool { return connected(a) && connected(b) && direct(b) != "" })
	ways := func() (relayed, directly int) {
		for _, tu := range a.Status().Tunnels {
			if tu.Via == viaDirect {
				directly++
			} else {
				relayed++
			}
		}
		return relayed, directly
	}
	greet := func(to []plan.Peer) {
		t.Helper()
		if err := roundTrip(t.Context(), a, to, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	nowhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nowhere.Close()
	for range 10 { // an address where nobody answers costs no flow and no tunnel
		greet(peers(provider, ""))
		greet(peers(provider, nowhere.Addr().String()))
	}
	if relayed, directly := ways(); relayed != 1 || directly != 0 {
		t.Fatalf("%d tunnels through the relay, %d direct", relayed, directly)
	}
	p := a.peer(provider)
	eventually(t, "the attempt is over", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.attempt == nil })
	p.mu.Lock()
	p.directFailed = time.Time{} // half a minute later
	p.mu.Unlock()
	eventually(t, "a direct tunnel", func() bool {
		greet(peers(provider, direct(b)))
		_, directly := ways()
		return directly == 1
	})
	r.stop()
	greet(peers(provider, direct(b)))
}
