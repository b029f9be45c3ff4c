package dialer

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/link/relay"
	"github.com/isthmus-io/isthmus/link/transport"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "isthmus.test"

var (
	press = identity.AgentID(domain, "ot", "plant-7", "press-4")
	alice = func(pass int) identity.ID { return identity.PersonID(domain, "ot", "p-alice", strconv.Itoa(pass)) }
)

// world is a relay, an agent with targets behind it, and a control plane that gives passes; all is stopped when the test ends.
type world struct {
	t         testing.TB
	authority *identity.Authority
	relayID   identity.ID
	relayAt   string
	stopRelay func()
	agent     *transport.Transport
	stopAgent func()

	mu      sync.Mutex
	grants  map[string]PassGrant // that the control plane knows
	inForce map[string]string    // that the agent knows: id to the address of the target
	open    map[*flow.Joined]string
	passes  int
	life    time.Duration
	away    error // the control plane's answer while it is not nil
	words   string
	code    tunnel.ResetCode
	hold    chan struct{} // streams wait for it before they are decided; nil: they do not
}

func newWorld(t testing.TB) *world {
	t.Helper()
	a, _, err := identity.NewAuthority(domain, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, authority: a, relayID: identity.RelayID(domain, "r1"), relayAt: "127.0.0.1:0", grants: map[string]PassGrant{}, inForce: map[string]string{},
		open: map[*flow.Joined]string{}, life: time.Hour, words: "the grant has expired at 15:40", code: tunnel.ResetRefused,
	}
	w.startRelay()
	t.Cleanup(func() { w.stopRelay() })
	w.startAgent()
	t.Cleanup(func() { w.stopAgent() })
	return w
}

func (w *world) issue(id identity.ID, life time.Duration) (cert, key []byte) {
	w.t.Helper()
	signer, key, err := identity.NewKey()
	if err != nil {
		w.t.Fatal(err)
	}
	csr, err := identity.NewRequest(signer, id)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err = w.authority.IssueIdentity(csr, id, time.Now(), life)
	if err != nil {
		w.t.Fatal(err)
	}
	return cert, key
}

func (w *world) credentials(id identity.ID) *identity.Credentials {
	w.t.Helper()
	cert, key := w.issue(id, time.Hour)
	c, err := identity.NewCredentials(cert, key, w.authority.CertificatePEM())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) startRelay() {
	w.t.Helper()
	l, err := net.Listen("tcp", w.relayAt)
	if err != nil {
		w.t.Fatal(err)
	}
	w.relayAt = l.Addr().String()
	r := relay.New(relay.Config{}, w.credentials(w.relayID), logger(w.t), clock.System{}, nil)
	w.stopRelay = running(w.t, func(ctx context.Context) error { return r.Serve(ctx, l) })
}

func (w *world) relays() []plan.Relay {
	return []plan.Relay{{Address: w.relayAt, ID: string(w.relayID)}}
}

// startAgent starts the agent that lets people in by what inForce says.
func (w *world) startAgent() {
	w.t.Helper()
	w.agent = transport.New(transport.Config{}, w.credentials(press), logger(w.t), clock.System{}, nil)
	w.agent.Handle(w.letIn)
	w.agent.SetRelays(w.relays())
	allowAll(w)
	w.stopAgent = running(w.t, w.agent.Run)
	eventually(w.t, "the agent is connected", func() bool {
		s := w.agent.Status()
		return len(s.Relays) == 1 && s.Relays[0].Connected
	})
}

func allowAll(w *world) { w.agent.SetAllowed(func(identity.ID) bool { return true }) }

// letIn is what becomes of one stream.
func (w *world) letIn(peer identity.ID, s *mux.Stream) {
	w.mu.Lock()
	address, ok := w.inForce[s.Flow().Endpoint]
	words, code, hold := w.words, w.code, w.hold
	w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if _, person := peer.Person(); !person || !ok {
		s.Reset(code, words)
		return
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		s.Reset(tunnel.ResetUnreachable, "the target does not answer")
		return
	}
	if s.Accept() != nil {
		_ = c.Close()
		return
	}
	j := flow.Join(s, c, clock.System{}, nil)
	w.mu.Lock()
	w.open[j] = s.Flow().Endpoint
	w.mu.Unlock()
	j.Carry()
	w.mu.Lock()
	delete(w.open, j)
	w.mu.Unlock()
}

// grant puts a grant into force, for an hour, everywhere.
func (w *world) grant(id, target string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.inForce[id] = target
	w.grants[id] = PassGrant{
		ID: id, Target: "ot/plant-7/" + id, Protocol: resource.ProtocolTCP, From: now.Add(-time.Minute), Until: now.Add(time.Hour),
		Providers: []plan.Peer{{ID: string(press)}},
	}
}

// change changes what the control plane says of a grant.
func (w *world) change(id string, f func(*PassGrant)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.grants[id]
	f(&g)
	w.grants[id] = g
}

// revoke takes a grant away at both ends, and cuts what is open.
func (w *world) revoke(id, words string) {
	w.mu.Lock()
	delete(w.inForce, id)
	delete(w.grants, id)
	w.words = words
	var cut []*flow.Joined
	for j, grant := range w.open {
		if grant == id {
			cut = append(cut, j)
		}
	}
	w.mu.Unlock()
	for _, j := range cut {
		j.Cut(tunnel.ResetRevoked, words)
	}
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) given() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passes
}

// pass is the control plane's.
func (w *world) pass(context.Context) (Pass, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away != nil {
		return Pass{}, w.away
	}
	w.passes++
	cert, key := w.issue(alice(w.passes), w.life)
	p := Pass{
		Certificate: string(cert), Key: string(key), Roots: string(w.authority.CertificatePEM()), Relays: w.relays(), Expires: time.Now().Add(w.life),
	}
	for _, g := range w.grants {
		p.Grants = append(p.Grants, g)
	}
	slices.SortFunc(p.Grants, func(a, b PassGrant) int { return a.From.Compare(b.From) })
	return p, nil
}

// dialer starts one.
func (w *world) dialer(cfg Config) *Dialer {
	w.t.Helper()
	d, _ := w.dialerOn(cfg, clock.System{})
	return d
}

func (w *world) dialerOn(cfg Config, clk clock.Clock) (*Dialer, func()) {
	w.t.Helper()
	if cfg.Pass == nil {
		cfg.Pass = w.pass
	}
	d, err := New(cfg, logger(w.t), clk)
	if err != nil {
		w.t.Fatal(err)
	}
	stop := running(w.t, d.Run)
	w.t.Cleanup(stop)
	return d, stop
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

// machine is a target: a TCP server that handles each connection with f.
func machine(t testing.TB, f func(*net.TCPConn)) string {
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
			all.Go(func() {
				defer c.Close()
				stop := context.AfterFunc(t.Context(), func() { _ = c.Close() })
				defer stop()
				f(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l.Addr().String()
}

// echo answers what it is told and then ends its side.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// listen returns a listener of this machine.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// talk sends text and returns what comes back until the end.
func talk(c net.Conn, text string) (string, error) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, text)
		if err == nil {
			err = c.(interface{ CloseWrite() error }).CloseWrite()
		}
		wrote <- err
	}()
	got, err := io.ReadAll(c)
	if werr := <-wrote; err == nil {
		err = werr
	}
	return string(got), err
}

func talkTo(address, text string) (string, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	return talk(c, text)
}

func kind(t testing.TB, err error, want fault.Kind, words string) {
	t.Helper()
	if fault.KindOf(err) != want || fault.Message(err) != words {
		t.Errorf("got %v, want %v: %s", err, want, words)
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
