package gateway_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

const patient = 20 * time.Second // no test waits as long unless it fails

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await polls for what has no event of its own.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(patient); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited too long: %s", what)
		}
	}
}

type testLog struct {
	t  testing.TB
	mu sync.Mutex
	on bool
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on {
		l.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// logger logs to the test until it ends.
func logger(t testing.TB) *slog.Logger {
	l := &testLog{t: t, on: true}
	t.Cleanup(func() {
		l.mu.Lock()
		l.on = false
		l.mu.Unlock()
	})
	return slog.New(slog.NewTextHandler(l, nil))
}

// certificates are for every name the tests use.
var certificates = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"a.example", "b.example", "*.hub.example", "other.example", "default.example"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
})

// service is a TLS service that says its name and then repeats what it is told.
type service struct {
	name    string
	ln      net.Listener
	proxied bool // a PROXY header comes first
	headers chan proxyproto.Header
	wg      sync.WaitGroup
	mu      sync.Mutex
	conns   map[net.Conn]bool
}

func serve(t testing.TB, name string, proxied bool) *service {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return serveOn(t, ln, name, proxied)
}

func serveOn(t testing.TB, ln net.Listener, name string, proxied bool) *service {
	s := &service{name: name, ln: ln, proxied: proxied, headers: make(chan proxyproto.Header, 100), conns: map[net.Conn]bool{}}
	s.wg.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *service) address() string { return s.ln.Addr().String() }

func (s *service) stop() {
	_ = s.ln.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *service) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			s.talk(c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *service) talk(c net.Conn) {
	if s.proxied {
		h, err := proxyproto.Read(c)
		if err != nil {
			return
		}
		if !h.Local && h.Source.IsValid() {
			s.headers <- h
		}
	}
	cert, _ := certificates()
	talk := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if _, err := io.WriteString(talk, s.name+"\n"); err != nil {
		return
	}
	_, _ = io.Copy(talk, talk)
	_ = talk.CloseWrite()
}

// world is a gateway that runs.
type world struct {
	t    testing.TB
	g    *gateway.Gateway
	reg  *prometheus.Registry
	plan plan.Gateway
	stop func()
	done chan error
}

// front is a gateway with one listener that believes what loopback says about sources.
func front(routes ...plan.GatewayRoute) plan.Gateway {
	return plan.Gateway{
		ID: "uid", Name: "ot/cloud/front", Routes: routes,
		Listeners: []resource.GatewayListener{{
			Name: "mqtt", Address: netip.MustParseAddr("127.0.0.1"), TrustProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		}},
		Allowlists: []plan.Allowlist{{Name: "ot/cloud/fabrikam", Owner: "Fabrikam", Rules: []resource.AllowRule{
			rule("plant", "203.0.113.0/24"), rule("office", "198.51.100.0/24"),
		}}},
	}
}

func rule(name, source string) resource.AllowRule {
	return resource.AllowRule{Name: name, Sources: []netip.Prefix{netip.MustParsePrefix(source)}}
}

func group(name string, targets ...string) resource.TargetGroup {
	return resource.TargetGroup{Name: name, Targets: targets, Health: resource.Health{Check: resource.CheckNone}}
}

const (
	plant  = "203.0.113.9"
	office = "198.51.100.7"
)

func start(t testing.TB, p plan.Gateway) *world {
	t.Helper()
	return startWith(t, gateway.Config{}, nil, clock.System{}, p)
}

func startWith(t testing.TB, cfg gateway.Config, opener gateway.Opener, clk clock.Clock, p plan.Gateway) *world {
	t.Helper()
	w := &world{t: t, reg: prometheus.NewRegistry(), plan: p, done: make(chan error, 1)}
	w.g = gateway.New(cfg, opener, logger(t), clk, w.reg)
	w.g.Set([]plan.Gateway{p})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.done <- w.g.Run(ctx) })
	w.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(w.stop)
	select {
	case <-w.g.Ready():
	case err := <-w.done:
		t.Fatal("it ended:", err)
	case <-time.After(patient):
		t.Fatal("never ready")
	}
	return w
}

// set puts the plan in force.
func (w *world) set() { w.g.Set([]plan.Gateway{w.plan}) }

func (w *world) address() string {
	w.t.Helper()
	a, ok := w.g.Listening()["ot/cloud/front/mqtt"]
	if !ok {
		w.t.Fatal("not listening:", w.g.Problems())
	}
	return a.String()
}

// client is a TLS client behind the gateway.
type client struct {
	*tls.Conn
	raw *net.TCPConn
	r   *bufio.Reader
	hi  string // what the service called itself
}

// dial connects as a source, by way of a balancer in front, and asks for a name; "" sends none.
func dial(address, source, name string) (*client, error) {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(patient))
	if source != "" {
		h, err := proxyproto.Append(nil, proxyproto.New(netip.AddrPortFrom(netip.MustParseAddr(source), 4711), netip.MustParseAddrPort("192.0.2.1:8883")))
		if err == nil {
			_, err = raw.Write(h)
		}
		if err != nil {
			_ = raw.Close()
			return nil, err
		}
	}
	_, roots := certificates()
	cfg := &tls.Config{RootCAs: roots, ServerName: name}
	if name == "" {
		cfg.InsecureSkipVerify = true
	}
	c := &client{Conn: tls.Client(raw, cfg), raw: raw.(*net.TCPConn)}
	c.r = bufio.NewReader(c.Conn)
	if c.hi, err = c.r.ReadString('\n'); err != nil {
		_ = raw.Close()
		return nil, err
	}
	c.hi = strings.TrimSuffix(c.hi, "\n")
	return c, nil
}

func (w *world) dial(source, name string) *client {
	w.t.Helper()
	c, err := dial(w.address(), source, name)
	if err != nil {
		w.t.Fatalf("%s asks for %q: %v", source, name, err)
	}
	w.t.Cleanup(func() { _ = c.raw.Close() })
	return c
}

// refused has a source ask for a name and be reset.
func (w *world) refused(source, name, reason string) {
	w.t.Helper()
	c, err := dial(w.address(), source, name)
	if err == nil {
		_ = c.raw.Close()
		w.t.Fatalf("%s is let in to %s for %q", source, c.hi, name)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatal("not refused, but left alone")
	}
	await(w.t, "the reason "+reason, func() bool {
		for _, n := range w.g.Status().Refusals {
			if n.Reason == reason {
				return true
			}
		}
		return false
	})
}

// lives tells whether bytes pass both ways.
func (c *client) lives() error {
	if _, err := io.WriteString(c.Conn, "ping\n"); err != nil {
		return err
	}
	s, err := c.r.ReadString('\n')
	if err == nil && s != "ping\n" {
		err = errors.New("got " + s)
	}
	return err
}

func (c *client) wantAlive(t testing.TB) {
	t.Helper()
	if err := c.lives(); err != nil {
		t.Fatal("the connection does not live:", err)
	}
}

// wantCut waits for the reset.
func (c *client) wantCut(t testing.TB) {
	t.Helper()
	_, err := c.r.ReadByte()
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection is not reset:", err)
	}
}
