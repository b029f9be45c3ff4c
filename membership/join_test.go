package membership

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/keepfile"
)

// retarget returns the token with other addresses.
func retarget(t *testing.T, token string, addresses ...string) string {
	t.Helper()
	tok, err := jointoken.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	tok.Addresses = addresses
	text, err := tok.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestJoin(t *testing.T) {
	w := newWorld(t)
	cfg := Config{Dir: filepath.Join(t.TempDir(), "a", "b"), Proxy: "none"}
	dead := closedPort(t)
	// The first address is dead; the second answers.
	token := retarget(t, w.token(control.JoinAgent, time.Hour), dead, w.address)
	if err := Join(t.Context(), cfg, token, JoinInfo{Name: "gw-1", Clock: w.clock}); err != nil {
		t.Fatal(err)
	}
	m, err := Open(cfg, quiet(), w.clock)
	if err != nil {
		t.Fatal(err)
	}
	if want := identity.AgentID(trustDomain, "ot", "plant-7", "gw-1"); !strings.HasPrefix(string(m.Credentials().ID()), string(want)) {
		t.Errorf("id %s", m.Credentials().ID())
	}
	if p, ok := m.Plan(); !ok || p.Self.Agent != "gw-1" {
		t.Errorf("no first plan: %+v", p.Self)
	}
	entries, err := os.ReadDir(cfg.Dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
	identityBefore, _ := os.ReadFile(filepath.Join(cfg.Dir, identityFile))

	err = Join(t.Context(), cfg, w.token(control.JoinAgent, time.Hour), JoinInfo{Name: "gw-2", Clock: w.clock})
	kindIs(t, "joining twice", err, fault.Conflict)
	if now, _ := os.ReadFile(filepath.Join(cfg.Dir, identityFile)); string(now) != string(identityBefore) {
		t.Error("the identity was overwritten")
	}
	cfg.Force = true
	if err := Join(t.Context(), cfg, w.token(control.JoinAgent, time.Hour), JoinInfo{Name: "gw-2", Clock: w.clock}); err != nil {
		t.Fatal(err)
	}
	if m, err = Open(cfg, quiet(), w.clock); err != nil || !strings.Contains(string(m.Credentials().ID()), "/gw-2") {
		t.Errorf("after force: %v", err)
	}
}

func TestJoiningRefused(t *testing.T) {
	w := newWorld(t)
	join := func(token string, clk clock.Clock) error {
		cfg := Config{Dir: filepath.Join(t.TempDir(), "m"), Proxy: "none", Timeout: 5 * time.Second}
		err := Join(t.Context(), cfg, token, JoinInfo{Clock: clk})
		if err != nil && Joined(cfg.Dir) {
			t.Error("a refused joiner has an identity")
		}
		if tok, perr := jointoken.Parse(token); err != nil && perr == nil && strings.Contains(err.Error(), tok.Secret) {
			t.Errorf("the error shows the secret: %v", err)
		}
		return err
	}
	says := func(what string, err error, kind fault.Kind, words ...string) {
		t.Helper()
		kindIs(t, what, err, kind)
		for _, w := range words {
			if !strings.Contains(fault.Message(err)+fault.Next(err), w) {
				t.Errorf("%s: %q and %q do not say %q", what, fault.Message(err), fault.Next(err), w)
			}
		}
		if fault.Next(err) == "" {
			t.Errorf("%s: no advice", what)
		}
	}

	used := w.token(control.JoinAgent, time.Hour)
	if err := join(used, w.clock); err != nil {
		t.Fatal(err)
	}
	says("used", join(used, w.clock), fault.Conflict, "used")

	short := w.token(control.JoinAgent, time.Minute)
	w.clock.Advance(2 * time.Minute)
	says("expired", join(short, w.clock), fault.Expired)

	good := w.token(control.JoinAgent, time.Hour)
	says("unreadable", join(good[:len(good)-9], w.clock), fault.Invalid, "cannot be read")

	for name, c := range map[string]struct {
		off   time.Duration
		words []string
	}{
		"five minutes behind": {-5 * time.Minute, []string{"5m0s behind", "clock"}},
		"five minutes ahead":  {5 * time.Minute, []string{"5m0s ahead", "clock"}},
		"a day behind":        {-24 * time.Hour, []string{"behind", "timedatectl"}}, // before the server's certificate
		"a year ahead":        {365 * 24 * time.Hour, []string{"ahead", "timedatectl"}},
	} {
		says(name, join(good, clock.NewFake(w.clock.Now().Add(c.off))), fault.Invalid, c.words...)
	}

	dead := closedPort(t)
	says("unreachable", join(retarget(t, good, dead, "no-such-host.invalid:443"), w.clock), fault.Unavailable,
		dead+" (connection refused)", "no-such-host.invalid:443", "proxy")

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	says("no TLS", join(retarget(t, good, plain.Listener.Addr().String()), w.clock), fault.Unavailable, "speaks no TLS")

	foreign := httptest.NewTLSServer(http.NotFoundHandler())
	defer foreign.Close()
	foreign.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	says("another server", join(retarget(t, good, foreign.Listener.Addr().String()), w.clock), fault.Unauthenticated, "fingerprint")
	says("another server, then nobody", join(retarget(t, good, foreign.Listener.Addr().String(), dead), w.clock), fault.Unauthenticated, "fingerprint")

	// A member of the deployment is not its control plane, whatever its certificate was issued by.
	says("an impostor", join(retarget(t, good, impostor(t, w)), w.clock), fault.Unauthenticated, "is spiffe://isthmus.local/tenant")

	if err := join(good, w.clock); err != nil {
		t.Errorf("the token was spent by failures: %v", err)
	}
}

// impostor is a TLS server with an agent's certificate of the same deployment.
func impostor(t *testing.T, w *world) string {
	t.Helper()
	key, keyPEM, _ := identity.NewKey()
	id := identity.AgentID(trustDomain, "ot", "plant-7", "evil")
	csr, err := identity.NewRequest(key, id)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, err := w.authority.IssueIdentity(csr, id, w.clock.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pair.Certificate = append(pair.Certificate, w.authority.Certificate().Raw)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("an impostor was told something") }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// What the server sent got lost: the same machine joins with the same token again.
func TestJoiningAgainAfterALostReply(t *testing.T) {
	w := newWorld(t)
	cfg := Config{Dir: filepath.Join(t.TempDir(), "m"), Proxy: "none", Timeout: 5 * time.Second}
	token := w.token(control.JoinAgent, time.Hour)
	full := 0
	cfg.write = func(path string, content []byte) error {
		if filepath.Base(path) == identityFile {
			if full++; full == 1 {
				return &os.PathError{Op: "write", Path: path, Err: errNoSpace}
			}
		}
		return keepfile.Write(path, content)
	}
	err := Join(t.Context(), cfg, token, JoinInfo{Name: "gw-1", Clock: w.clock})
	kindIs(t, "no room for the identity", err, fault.Exhausted)
	if !strings.Contains(fault.Next(err), "same token") {
		t.Errorf("advice %q", fault.Next(err))
	}
	if err := Join(t.Context(), cfg, token, JoinInfo{Name: "gw-1", Clock: w.clock}); err != nil {
		t.Fatal(err)
	}
	// Somebody else with the same token has another key, and is refused.
	other := Config{Dir: filepath.Join(t.TempDir(), "m"), Proxy: "none"}
	kindIs(t, "another machine", Join(t.Context(), other, token, JoinInfo{Name: "gw-1", Clock: w.clock}), fault.Conflict)
}

func TestAFullDiskSpendsNoToken(t *testing.T) {
	w := newWorld(t)
	before := w.requests.Load()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "m"), Proxy: "none", write: func(path string, _ []byte) error {
		return &os.PathError{Op: "write", Path: path, Err: errNoSpace}
	}}
	err := Join(t.Context(), cfg, w.token(control.JoinAgent, time.Hour), JoinInfo{Clock: w.clock})
	kindIs(t, "full disk", err, fault.Exhausted)
	if !strings.Contains(fault.Message(err), "no space left") || w.requests.Load() != before {
		t.Errorf("%v; %d requests", err, w.requests.Load()-before)
	}
}

func TestThroughAProxy(t *testing.T) {
	w := newWorld(t)
	var connects atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") == "" {
			http.Error(rw, "no", http.StatusProxyAuthRequired)
			return
		}
		connects.Add(1)
		there, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		// The answer comes after the connection is ours: what the client says to it must not meet the server's reader.
		here, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			t.Error(err)
		}
		splice(here, there)
	}))
	defer proxy.Close()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "m"), Proxy: strings.Replace(proxy.URL, "http://", "http://user:s3cret@", 1)}
	if err := Join(t.Context(), cfg, w.token(control.JoinAgent, time.Hour), JoinInfo{Name: "gw-1", Clock: w.clock}); err != nil {
		t.Fatal(err)
	}
	r := w.run(cfg)
	w.until(time.Second, "connected", r.Connected)
	if connects.Load() < 2 {
		t.Errorf("%d connections through the proxy", connects.Load())
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	cfg = Config{Dir: t.TempDir(), Proxy: proxy.URL}
	err := Join(t.Context(), cfg, w.token(control.JoinAgent, time.Hour), JoinInfo{Clock: w.clock})
	kindIs(t, "the proxy refuses", err, fault.Unavailable)
	if !strings.Contains(fault.Message(err), "Proxy Authentication Required") {
		t.Error(err)
	}
	cfg.Proxy = "proxy.example.net:3128:s3cret"
	err = Join(t.Context(), cfg, w.token(control.JoinAgent, time.Hour), JoinInfo{Clock: w.clock})
	kindIs(t, "an unreadable proxy", err, fault.Invalid)
	if strings.Contains(err.Error(), "s3cret") {
		t.Error("the error shows the proxy's password")
	}
}

// splice passes bytes both ways until one side ends.
func splice(here, there net.Conn) {
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(there, here)
		there.Close()
	}()
	_, _ = io.Copy(here, there)
	here.Close()
	<-up
}

// What goes over the wire is what package control means, field by field.
func TestTheWireFitsTheControlPlane(t *testing.T) {
	for name, c := range map[string]struct{ ours, theirs any }{
		"enrol":  {enrolRequest{"a", "b", "c", "d", "e", "f", time.Unix(1, 0)}, &control.EnrolRequest{}},
		"report": {Report{"a", "b", "c", []string{"d"}, []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:53")}, []BridgeReport{{ID: "u"}}}, &control.AgentReport{}},
		"renew":  {certificateReply{"a", "b"}, &control.CertificateReply{}},
	} {
		b, err := json.Marshal(c.ours)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.DisallowUnknownFields()
		if err := d.Decode(c.theirs); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
