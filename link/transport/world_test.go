package transport

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/link/relay"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "isthmus.test"

// world is a deployment's authority and what runs under it; everything is stopped when the test ends.
type world struct {
	t         testing.TB
	authority *identity.Authority
}

func newWorld(t testing.TB) *world {
	t.Helper()
	a, _, err := identity.NewAuthority(domain, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, authority: a}
}

// credentials issues a certificate valid for ttl from now.
func (w *world) credentials(id identity.ID, ttl time.Duration) *identity.Credentials {
	w.t.Helper()
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		w.t.Fatal(err)
	}
	csr, err := identity.NewRequest(key, id)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := w.authority.IssueIdentity(csr, id, time.Now(), ttl)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := identity.NewCredentials(cert, keyPEM, w.authority.CertificatePEM())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func agentID(tenant, network, name string) identity.ID {
	return identity.AgentID(domain, tenant, network, name)
}

// relayHouse is a relay that can be stopped and started again on its address.
type relayHouse struct {
	w       *world
	creds   *identity.Credentials
	address string
	cfg     relay.Config
	relay   *relay.Relay
	stop    func()
}

func (w *world) relay(cfg relay.Config) *relayHouse {
	h := &relayHouse{w: w, creds: w.credentials(identity.RelayID(domain, "r1"), time.Hour), address: "127.0.0.1:0", cfg: cfg}
	h.start()
	w.t.Cleanup(func() { h.stop() })
	return h
}

func (h *relayHouse) start() {
	h.w.t.Helper()
	l, err := net.Listen("tcp", h.address)
	if err != nil {
		h.w.t.Fatal(err)
	}
	h.address = l.Addr().String()
	h.relay = relay.New(h.cfg, h.creds, logger(h.w.t), clock.System{}, nil)
	h.stop = running(h.w.t, func(ctx context.Context) error { return h.relay.Serve(ctx, l) })
}

func (h *relayHouse) plan() []plan.Relay {
	return []plan.Relay{{Address: h.address, ID: string(identity.RelayID(domain, "r1"))}}
}

// running starts f and returns what stops it and waits for it. Stopping twice is harmless.
func running(t testing.TB, f func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("stopped with %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("did not stop within 10 s")
		}
	})
}

// agent starts a transport whose flows are echoed, unless handle says otherwise.
func (w *world) agent(id identity.ID, cfg Config, clk clock.Clock, relays []plan.Relay, handle func(identity.ID, *mux.Stream)) (*Transport, func()) {
	tr := New(cfg, w.credentials(id, time.Hour), logger(w.t), clk, nil)
	if handle == nil {
		handle = echo
	}
	tr.Handle(handle)
	tr.SetRelays(relays)
	tr.SetAllowed(func(identity.ID) bool { return true })
	stop := running(w.t, tr.Run)
	w.t.Cleanup(stop)
	eventually(w.t, "the transport runs", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.running
	})
	return tr, stop
}

func echo(_ identity.ID, s *mux.Stream) {
	defer s.Close()
	if s.Accept() != nil {
		return
	}
	if _, err := io.Copy(s, s); err == nil {
		_ = s.CloseWrite()
	}
}

func logger(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	fmt.Printf("%s: %s", w.t.Name(), p)
	return len(p), nil
}

// eventually waits for a state that nothing announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it did not come to pass within 10 s: %s", what)
		}
	}
}

func connected(tr *Transport) bool {
	s := tr.Status()
	for _, r := range s.Relays {
		if !r.Connected {
			return false
		}
	}
	return len(s.Relays) > 0
}

// relayStatus is that of the first relay, empty while there is none.
func relayStatus(tr *Transport) RelayStatus {
	if s := tr.Status(); len(s.Relays) > 0 {
		return s.Relays[0]
	}
	return RelayStatus{}
}

var flow = tunnel.Flow{Endpoint: "ep-1", Port: 8883, Client: netip.MustParseAddrPort("10.7.0.9:50000")}

// roundTrip sends text through a new stream to an echoing peer.
func roundTrip(ctx context.Context, tr *Transport, peers []plan.Peer, text string) error {
	s, err := tr.Open(ctx, peers, flow)
	if err != nil {
		return err
	}
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(10 * time.Second))
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(s, text)
		if err == nil {
			err = s.CloseWrite()
		}
		wrote <- err
	}()
	got, err := io.ReadAll(s)
	if werr := <-wrote; err == nil {
		err = werr
	}
	if err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("got %d bytes back, want %d", len(got), len(text))
	}
	return nil
}

func peers(id identity.ID, direct string) []plan.Peer {
	return []plan.Peer{{ID: string(id), Direct: direct}}
}
