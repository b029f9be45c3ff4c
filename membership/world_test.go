package membership

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const trustDomain = "isthmus.local"

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// world is a real control plane behind its real door on loopback, with a clock that is moved by hand and shared with the members.
type world struct {
	t         *testing.T
	clock     *clock.Fake
	authority *identity.Authority
	control   *control.Control
	admin     control.Principal
	address   string
	requests  atomic.Int64
	stop      func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewFake(time.Now()), admin: control.Principal{Name: "root", Role: control.RoleAdmin}}
	var err error
	if w.authority, _, err = identity.NewAuthority(trustDomain, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{DSN: filepath.Join(t.TempDir(), "control.db")}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = ln.Addr().String()
	w.control, err = control.New(control.Config{Addresses: []string{w.address}, CertificateTTL: 24 * time.Hour, ServingTTL: 24 * time.Hour}, st, w.authority, quiet(), w.clock, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.serve(ln)
	w.apply(`{"kind":"Tenant","metadata":{"name":"ot"}}`)
	w.network("10.7.0.0/24")
	return w
}

// serve starts the door; stop ends it, and start begins again on the same address.
func (w *world) serve(ln net.Listener) {
	w.t.Helper()
	cert, err := httpdoor.NewCertificate(w.authority, nil, w.clock)
	if err != nil {
		w.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.authority.Certificate())
	door := httpdoor.New(w.control, httpdoor.Config{TrustDomain: trustDomain, Roots: roots}, quiet(), w.clock, nil)
	counted := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		door.ServeHTTP(rw, r)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- httpdoor.Serve(ctx, ln, counted, cert, quiet()) }()
	w.stop = func() {
		cancel()
		if err, ok := <-done; ok && err != nil {
			w.t.Error(err)
		}
		close(done)
		w.stop = func() {}
	}
	w.t.Cleanup(func() { w.stop() })
}

func (w *world) start() {
	w.t.Helper()
	ln, err := net.Listen("tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.serve(ln)
}

func (w *world) apply(objects ...string) {
	w.t.Helper()
	var all []resource.Object
	for _, text := range objects {
		all = append(all, noun(w.t, text))
	}
	if _, err := w.control.Apply(w.t.Context(), w.admin, all, control.ApplyOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// network changes something that every plan of plant-7 shows.
func (w *world) network(ranges string, upstreams ...string) {
	w.t.Helper()
	n := noun(w.t, `{"kind":"Network","metadata":{"tenant":"ot","name":"plant-7"},"spec":{"addressRanges":["`+ranges+`"]}}`).(*resource.Network)
	n.Spec.DNS.Upstreams = upstreams
	if _, err := w.control.Apply(w.t.Context(), w.admin, []resource.Object{n}, control.ApplyOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) token(j control.Joiner, ttl time.Duration) string {
	w.t.Helper()
	t, err := w.control.CreateJoinToken(w.t.Context(), w.admin, control.JoinTokenRequest{For: j, Tenant: "ot", Network: "plant-7", TTL: ttl})
	if err != nil {
		w.t.Fatal(err)
	}
	return t.Secret
}

// joined is a directory in which gw-1 (or hub-1) joined.
func (w *world) joined(j control.Joiner) Config {
	w.t.Helper()
	cfg := Config{Dir: filepath.Join(w.t.TempDir(), "member"), Proxy: "none", Version: "1.0", Timeout: 10 * time.Second}
	name := map[control.Joiner]string{control.JoinAgent: "gw-1", control.JoinHub: "hub-1"}[j] // a gateway is given its name
	if err := Join(w.t.Context(), cfg, w.token(j, time.Hour), JoinInfo{Name: name, Clock: w.clock}); err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

// running is a member whose Run is under way.
type running struct {
	*Member
	w    *world
	done chan error
	stop func() error
}

func (w *world) run(cfg Config) *running {
	w.t.Helper()
	m, err := Open(cfg, quiet(), w.clock)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Member: m, w: w, done: make(chan error, 1)}
	go func() {
		r.done <- m.Run(ctx)
		close(r.done)
	}()
	r.stop = func() error {
		cancel()
		return <-r.done
	}
	w.t.Cleanup(func() { _ = r.stop() })
	return r
}

// plan waits for the next plan for which good holds, moving the clock by step now and then.
func (r *running) plan(step time.Duration, good func(plan.Plan) bool) plan.Plan {
	r.w.t.Helper()
	for range 10000 {
		select {
		case p := <-r.Updates():
			if good == nil || good(p) {
				return p
			}
		case <-time.After(2 * time.Millisecond):
			r.w.clock.Advance(step)
		}
	}
	r.w.t.Fatal("no such plan was announced")
	return plan.Plan{}
}

// until moves the clock by step until cond holds.
func (w *world) until(step time.Duration, what string, cond func() bool) {
	w.t.Helper()
	for range 10000 {
		if cond() {
			return
		}
		<-time.After(time.Millisecond)
		w.clock.Advance(step)
	}
	w.t.Fatalf("never: %s", what)
}

func upstream(address string) func(plan.Plan) bool {
	return func(p plan.Plan) bool { return len(p.Upstreams) == 1 && p.Upstreams[0].String() == address+":53" }
}

func (w *world) agent() *resource.Agent {
	w.t.Helper()
	o, err := w.control.Get(w.t.Context(), w.admin, resource.Key{Kind: resource.KindAgent, Tenant: "ot", Scope: "plant-7", Name: "gw-1"})
	if err != nil {
		w.t.Fatal(err)
	}
	return o.(*resource.Agent)
}

var errNoSpace = errors.New("no space left on device")

func kindIs(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != kind || err == nil {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}
