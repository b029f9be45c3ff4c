package httpdoor_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const trustDomain = "isthmus.local"

var gateway = identity.AgentID(trustDomain, "ot", "plant-7", "gw-1")

// served is a door on loopback with a clock that is moved by hand.
type served struct {
	t         *testing.T
	clock     *clock.Fake
	authority *identity.Authority
	fake      *fake
	cert      *httpdoor.Certificate
	address   string
	stop      func() error
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{t: t, clock: clock.NewFake(time.Now()), fake: newFake()}
	var err error
	if s.authority, _, err = identity.NewAuthority(trustDomain, s.clock.Now()); err != nil {
		t.Fatal(err)
	}
	if s.cert, err = httpdoor.NewCertificate(s.authority, []string{"localhost", "127.0.0.1"}, s.clock); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = ln.Addr().String()
	roots := x509.NewCertPool()
	roots.AddCert(s.authority.Certificate())
	h := httpdoor.New(s.fake, httpdoor.Config{Roots: roots}, quiet(), s.clock, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- httpdoor.Serve(ctx, ln, h, s.cert, quiet()) }()
	stopped := false
	s.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// as returns a client with a certificate for the id that lives for ttl from now; no certificate for an empty id.
func (s *served) as(authority *identity.Authority, id identity.ID, ttl time.Duration, change ...func(*tls.Config)) *http.Client {
	s.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.authority.Certificate())
	conf := &tls.Config{RootCAs: roots, ServerName: "localhost", Time: s.clock.Now}
	if id != "" {
		key, keyPEM, err := identity.NewKey()
		if err != nil {
			s.t.Fatal(err)
		}
		csr, err := identity.NewRequest(key, id)
		if err != nil {
			s.t.Fatal(err)
		}
		certPEM, err := authority.IssueIdentity(csr, id, s.clock.Now(), ttl)
		if err != nil {
			s.t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			s.t.Fatal(err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	for _, c := range change {
		c(conf)
	}
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: len(conf.NextProtos) == 0 || conf.NextProtos[0] == "h2"}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (s *served) do(c *http.Client, method, path, body string) (reply, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "https://"+s.address+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.ProtoMajor, resp.Header}, string(b)
}

func TestMembersShowTheirCertificate(t *testing.T) {
	s := serve(t)
	other, _, err := identity.NewAuthority(trustDomain, s.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client *http.Client
		status int
		says   string
	}{
		"good":               {s.as(s.authority, gateway, time.Hour), 204, ""},
		"none":               {s.as(nil, "", 0), 401, "no client certificate"},
		"another authority":  {s.as(other, gateway, time.Hour), 401, "not issued by this deployment"},
		"an older TLS":       {s.as(s.authority, gateway, time.Hour, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), 401, "TLS 1.3"},
		"lapsed":             {s.as(s.authority, gateway, -time.Minute), 410, "lapsed"},
		"a server's, no id":  {s.as(nil, "", 0, func(c *tls.Config) { c.Certificates = []tls.Certificate{plainServer(t, s)} }), 401, ""},
		"http/1.1":           {s.as(s.authority, gateway, time.Hour, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }), 204, ""},
		"any name will do":   {s.as(s.authority, gateway, time.Hour, func(c *tls.Config) { c.ServerName = "127.0.0.1" }), 204, ""},
		"not valid yet":      {s.as(s.authority, gateway, time.Hour, early(t, s)), 401, "not valid yet"},
		"an unknown network": {s.as(s.authority, identity.RelayID(trustDomain, "r1"), time.Hour), 204, ""},
	} {
		resp, body := s.do(c.client, "POST", "/member/v1/report", `{"version":"1"}`)
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s, want %d with %q", name, resp.StatusCode, body, c.status, c.says)
		}
		if c.status >= 400 {
			problem(t, resp, body)
		}
	}
	if n := len(s.fake.reports); n != 4 {
		t.Errorf("%d reports arrived", n)
	}
}

func plainServer(t *testing.T, s *served) tls.Certificate {
	t.Helper()
	key, keyPEM, _ := identity.NewKey()
	csr, _ := identity.NewRequest(key, "")
	certPEM, err := s.authority.IssueServer(csr, s.clock.Now(), time.Hour, "hub.example.net")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// early gives a certificate that begins an hour from now.
func early(t *testing.T, s *served) func(*tls.Config) {
	t.Helper()
	key, keyPEM, _ := identity.NewKey()
	csr, _ := identity.NewRequest(key, gateway)
	certPEM, err := s.authority.IssueIdentity(csr, gateway, s.clock.Now().Add(identity.ClockAllowance+time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *tls.Config) { c.Certificates = []tls.Certificate{pair} }
}

func TestALapsedCertificateCanBeRenewedForAWhile(t *testing.T) {
	s := serve(t)
	c := s.as(s.authority, gateway, time.Hour)
	expect := func(path string, status int) {
		t.Helper()
		if resp, body := s.do(c, "POST", path, `{"csr":"x"}`); resp.StatusCode != status {
			t.Errorf("%s: %d %s, want %d", path, resp.StatusCode, body, status)
		}
	}
	expect("/member/v1/renew", 200)
	s.clock.Advance(2 * time.Hour)
	expect("/member/v1/renew", 200)
	expect("/member/v1/serving-certificate", 410)
	s.clock.Advance(31 * 24 * time.Hour)
	expect("/member/v1/renew", 410)
	s.fake.failing(fault.New("fake", fault.Unauthenticated, "deleted"))
	c = s.as(s.authority, gateway, time.Hour)
	expect("/member/v1/renew", 403)
}

// stream follows the plan; lines come over the channel, which closes at the end.
func (s *served) stream(c *http.Client) (reply, <-chan string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", "https://"+s.address+"/member/v1/plan", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := c.Do(req) //nolint:bodyclose // closed by the reader below
	if err != nil {
		s.t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		defer resp.Body.Close()
		for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
			lines <- sc.Text()
		}
	}()
	return reply{resp.StatusCode, resp.ProtoMajor, resp.Header}, lines
}

// next moves the clock by step until a line or the end comes.
func (s *served) next(lines <-chan string, step time.Duration) (string, bool) {
	s.t.Helper()
	for range 5000 {
		select {
		case l, ok := <-lines:
			return l, ok
		case <-time.After(2 * time.Millisecond):
			s.clock.Advance(step)
		}
	}
	s.t.Fatal("nothing came")
	return "", false
}

func TestPlanStream(t *testing.T) {
	for _, proto := range []string{"h2", "http/1.1"} {
		t.Run(strings.ReplaceAll(proto, "/", "-"), func(t *testing.T) {
			s := serve(t)
			c := s.as(s.authority, gateway, time.Hour, func(c *tls.Config) { c.NextProtos = []string{proto} })
			s.fake.plans <- plan.Plan{Self: plan.Self{ID: string(gateway)}}.Seal()
			resp, lines := s.stream(c)
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" || (resp.ProtoMajor == 2) != (proto == "h2") {
				t.Fatalf("%+v", resp)
			}
			if l, _ := s.next(lines, 0); !strings.Contains(l, string(gateway)) {
				t.Errorf("first line %q", l)
			}
			began := s.clock.Now()
			if l, ok := s.next(lines, time.Second); l != "" || !ok {
				t.Errorf("keep-alive %q", l)
			}
			if d := s.clock.Now().Sub(began); d < 15*time.Second || d > 40*time.Second {
				t.Errorf("keep-alive after %s", d)
			}
			s.fake.plans <- plan.Plan{Self: plan.Self{ID: string(gateway)}, Zones: []string{"example.net"}}.Seal()
			for {
				if l, ok := s.next(lines, 0); strings.Contains(l, "example.net") {
					break
				} else if !ok {
					t.Fatal("the stream ended")
				}
			}
			// Rules come in lines of their own, each once.
			rules := []resource.AllowRule{{Name: "r", Sources: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}}
			p := plan.Plan{Self: plan.Self{ID: string(gateway)}, Gateways: []plan.Gateway{{Allowlists: []plan.Allowlist{{Name: "a", Rules: rules, Parts: plan.Cut(rules, nil)}}}}}
			var got []string
			for _, zone := range []string{"one.example", "two.example"} {
				p.Zones = []string{zone}
				s.fake.plans <- p.Seal()
				for l, ok := s.next(lines, 0); ; l, ok = s.next(lines, 0) {
					if !ok {
						t.Fatal("the stream ended")
					}
					if l != "" {
						got = append(got, l)
					}
					if strings.Contains(l, zone) {
						break
					}
				}
			}
			if len(got) != 3 || !strings.HasPrefix(got[0], `{"part":"`) || strings.Contains(got[1], "203.0.113") || !strings.Contains(got[2], p.Gateways[0].Allowlists[0].Parts[0].Digest) {
				t.Errorf("lines %q", got)
			}
			// The certificate ends an hour after it was issued, and the stream with it.
			for {
				if _, ok := s.next(lines, time.Minute); !ok {
					break
				}
			}
			if d := s.clock.Now().Sub(began); d < 59*time.Minute {
				t.Errorf("the stream ended after %s", d)
			}
			if resp, body := s.do(c, "GET", "/member/v1/plan", ""); problem(t, resp, body).Kind != "expired" {
				t.Error(body)
			}
		})
	}
}

func TestARemovedMembersStreamEnds(t *testing.T) {
	s := serve(t)
	c := s.as(s.authority, gateway, time.Hour)
	s.fake.plans <- plan.Plan{}.Seal()
	_, lines := s.stream(c)
	s.next(lines, 0)
	close(s.fake.removed)
	if l, ok := s.next(lines, 0); ok {
		t.Errorf("a line after the removal: %q", l)
	}
	resp, body := s.do(c, "GET", "/member/v1/plan", "")
	if p := problem(t, resp, body); p.Status != 403 || p.Kind != "denied" || !strings.Contains(p.Detail, "deleted") {
		t.Error(body)
	}
}

func TestTheServerEndsWithStreamsOpen(t *testing.T) {
	s := serve(t)
	s.fake.plans <- plan.Plan{}.Seal()
	_, lines := s.stream(s.as(s.authority, gateway, time.Hour))
	s.next(lines, 0)
	began := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if l, ok := s.next(lines, 0); ok {
		t.Errorf("a line at the end: %q", l)
	}
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("the end took %s", d)
	}
}

func TestTheServersCertificate(t *testing.T) {
	s := serve(t)
	first, err := s.cert.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.FromCertificate(first.Leaf)
	if err != nil || id != identity.ControlID(trustDomain) {
		t.Errorf("id %s, %v", id, err)
	}
	for _, host := range []string{"localhost", "127.0.0.1"} {
		if err := first.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	ca, err := x509.ParseCertificate(first.Certificate[len(first.Certificate)-1])
	if err != nil || jointoken.Pin(ca) != jointoken.Pin(s.authority.Certificate()) {
		t.Errorf("the chain does not end with the authority: %v", err)
	}
	if again, _ := s.cert.Get(nil); again != first {
		t.Error("a new certificate without need")
	}
	s.clock.Advance(first.Leaf.NotAfter.Sub(s.clock.Now())/2 + time.Minute)
	second, err := s.cert.Get(nil)
	if err != nil || second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Errorf("not renewed half way: %v", err)
	}
}

func TestOldProtocolsAreRefused(t *testing.T) {
	s := serve(t)
	old := func(version uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, version }
	}
	if resp, body := s.do(s.as(nil, "", 0, old(tls.VersionTLS12)), "GET", "/v1/version", ""); resp.StatusCode != 200 {
		t.Errorf("TLS 1.2: %s", body)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+s.address+"/v1/version", nil)
	if resp, err := s.as(nil, "", 0, old(tls.VersionTLS11)).Do(req); err == nil {
		resp.Body.Close()
		t.Error("TLS 1.1 is served")
	}
}
