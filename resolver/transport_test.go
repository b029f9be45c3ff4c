package resolver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver"
)

// certified is a certificate for dns.plant.example and loopback, with who vouches for it as a pool and as a file.
func certified(t *testing.T) (give func(*tls.ClientHelloInfo) (*tls.Certificate, error), roots *x509.CertPool, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dns.plant.example"}, DNSNames: []string{"dns.plant.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(leaf)
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }, roots, file
}

// everywhere is a resolver on all transports.
func everywhere(t *testing.T, v resolver.View) (r *resolver.Resolver, roots *x509.CertPool, file string) {
	t.Helper()
	give, roots, file := certified(t)
	return start(t, resolver.Config{
		Listen: []string{"127.0.0.1:0"}, TLSListen: []string{"127.0.0.1:0"}, HTTPSListen: []string{"127.0.0.1:0"}, Certificate: give, TCPIdle: 2 * time.Second,
	}, v), roots, file
}

func TestOverTLS(t *testing.T) {
	up := upstream(t, internet(t))
	r, roots, _ := everywhere(t, forwarding(up))
	client := &tls.Config{RootCAs: roots, ServerName: "dns.plant.example", NextProtos: []string{"dot"}}
	conn, err := tls.Dial("tcp", r.TLSAddr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	if st := conn.ConnectionState(); st.NegotiatedProtocol != "dot" || st.Version != tls.VersionTLS13 {
		t.Errorf("%+v", st)
	}
	c := &dns.Conn{Conn: conn}
	want := map[uint16]string{}
	for _, name := range []string{"db.plant.example.", "www.elsewhere.example.", "contoso.azure-devices.net.", "missing.elsewhere.example."} {
		m := question(name, "A")
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, 20)}}
		want[m.Id] = name
		if err := c.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			t.Fatal(err)
		}
		packet := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, packet); err != nil {
			t.Fatal(err)
		}
		var ans dns.Msg
		if err := ans.Unpack(packet); err != nil || ans.Question[0].Name != want[ans.Id] || len(packet)%468 != 0 {
			t.Errorf("%d bytes, %v: %v", len(packet), err, &ans)
		}
		delete(want, ans.Id)
	}
	if len(want) != 0 {
		t.Errorf("no answer for %v", want)
	}
	_ = conn.Close()
	for name, bad := range map[string]*tls.Config{
		"TLS 1.1":                  {RootCAs: roots, ServerName: "dns.plant.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"a suite without secrecy":  {RootCAs: roots, ServerName: "dns.plant.example", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}},
		"another protocol by ALPN": {RootCAs: roots, ServerName: "dns.plant.example", NextProtos: []string{"h2"}},
	} {
		if conn, err := tls.Dial("tcp", r.TLSAddr().String(), bad); err == nil {
			t.Errorf("%s was taken", name)
			_ = conn.Close()
		}
	}
	if conn, err := tls.Dial("tcp", r.TLSAddr().String(), &tls.Config{RootCAs: roots, ServerName: "dns.plant.example", MaxVersion: tls.VersionTLS12}); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	} else {
		_ = conn.Close()
	}
}

func httpClient(t *testing.T, roots *x509.CertPool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "dns.plant.example"}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestOverHTTPS(t *testing.T) {
	up := upstream(t, internet(t))
	r, roots, _ := everywhere(t, forwarding(up))
	client, url := httpClient(t, roots), "https://"+r.HTTPSAddr().String()+"/dns-query"
	wire := func(name, qtype string) []byte {
		m := question(name, qtype)
		m.Id = 0
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return packet
	}
	post := func(kind string, body []byte) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		return req
	}
	get := func(method, dns string) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), method, url+dns, nil)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	b64 := base64.RawURLEncoding.EncodeToString
	const message = "application/dns-message"
	for name, c := range map[string]struct {
		req    *http.Request
		status int
		rcode  int
		age    string
	}{
		"POST":              {post(message, wire("db.plant.example", "A")), 200, dns.RcodeSuccess, "max-age=60"},
		"GET":               {get("GET", "?dns="+b64(wire("contoso.azure-devices.net", "A"))), 200, dns.RcodeSuccess, "max-age=10"},
		"forwarded":         {post(message, wire("www.elsewhere.example", "A")), 200, dns.RcodeSuccess, "max-age=300"},
		"missing":           {post(message, wire("missing.plant.example", "A")), 200, dns.RcodeNameError, "max-age=10"},
		"missing elsewhere": {post(message, wire("missing.elsewhere.example", "A")), 200, dns.RcodeNameError, "max-age=900"},
		"refused":           {post(message, wire("plant.example", "AXFR")), 200, dns.RcodeRefused, "max-age=0"},
		"malformed":         {post(message, wire("db.plant.example", "A")[:20]), 200, dns.RcodeFormatError, "max-age=0"},
		"a response":        {post(message, append([]byte{0, 0, 0x80, 0}, make([]byte, 8)...)), 400, 0, ""},
		"too short":         {post(message, []byte{1}), 400, 0, ""},
		"too long":          {post(message, make([]byte, 70000)), 413, 0, ""},
		"another kind":      {post("text/plain", wire("db.plant.example", "A")), 415, 0, ""},
		"no query":          {get("GET", ""), 400, 0, ""},
		"padded base64":     {get("GET", "?dns=AAA="), 400, 0, ""},
		"PUT":               {get("PUT", ""), 405, 0, ""},
		"another path":      {get("GET", "/other"), 404, 0, ""},
	} {
		res, err := client.Do(c.req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != c.status || res.ProtoMajor != 2 {
			t.Errorf("%s: %d %s over %s (%v), want %d", name, res.StatusCode, body, res.Proto, err, c.status)
			continue
		}
		if c.status != 200 {
			if strings.TrimSpace(string(body)) == "" {
				t.Errorf("%s: no words", name)
			}
			continue
		}
		var ans dns.Msg
		if err := ans.Unpack(body); err != nil || ans.Rcode != c.rcode || ans.Id != 0 && name != "malformed" {
			t.Errorf("%s: %v, %v", name, &ans, err)
		}
		if got := res.Header.Get("Cache-Control"); got != c.age || res.Header.Get("Content-Type") != message {
			t.Errorf("%s: %q, %q", name, got, res.Header.Get("Content-Type"))
		}
	}
	one := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "dns.plant.example", NextProtos: []string{"http/1.1"}}}}
	defer one.CloseIdleConnections()
	res, err := one.Do(post(message, wire("db.plant.example", "A")))
	if err != nil || res.StatusCode != 200 || res.ProtoMajor != 1 {
		t.Fatalf("HTTP/1.1: %v, %v", res, err)
	}
	_ = res.Body.Close()
}

func TestTLSNeedsACertificate(t *testing.T) {
	for name, cfg := range map[string]resolver.Config{
		"certificate": {TLSListen: []string{"127.0.0.1:0"}}, "secret": {CookieSecret: []byte("short")},
	} {
		err := resolver.New(cfg, quiet(), clock.System{}, nil).Run(t.Context())
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), name) || fault.Next(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneSourceHasAQuarterOfTheConnections(t *testing.T) {
	r := start(t, resolver.Config{MaxTCP: 8}, plant())
	from := func(ip string) (answers int) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		for range 4 {
			conn, err := d.Dial("tcp", r.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			c := &dns.Conn{Conn: conn}
			if err := c.WriteMsg(question("db.plant.example", "A")); err != nil {
				continue
			}
			if _, err := c.ReadMsg(); err == nil {
				answers++
			}
		}
		return answers
	}
	for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
		if got := from(ip); got != 2 {
			t.Errorf("%s has %d connections, want 2", ip, got)
		}
	}
}

func TestPipelinedQueriesAreAllAnswered(t *testing.T) {
	up := upstream(t, internet(t))
	r := start(t, resolver.Config{TCPDepth: 4}, forwarding(up))
	conn, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	want := map[uint16]bool{}
	var out []byte
	for i := range 300 {
		name := "db.plant.example"
		if i%3 == 0 {
			name = fmt.Sprintf("n%d.elsewhere.example", i)
		}
		m := question(name, "A")
		m.Id = uint16(i)
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(packet))), packet...)
		want[m.Id] = true
	}
	go func() { // in pieces that do not care for messages
		for len(out) > 0 {
			n := min(len(out), 777)
			if _, err := conn.Write(out[:n]); err != nil {
				return
			}
			out = out[n:]
		}
	}()
	c := &dns.Conn{Conn: conn}
	for len(want) > 0 {
		ans, err := c.ReadMsg()
		if err != nil || !want[ans.Id] {
			t.Fatalf("%v, %v; %d to come", ans, err, len(want))
		}
		delete(want, ans.Id)
	}
}

// run gives what a program says. The program must be there: the tests of record run where it is.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: make deps installs it", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestKdigAndDigAreContent(t *testing.T) {
	up := upstream(t, internet(t))
	r, _, file := everywhere(t, forwarding(up))
	port := func(a netip.AddrPort) string { return fmt.Sprint(a.Port()) }
	host := "@127.0.0.1"
	for name, c := range map[string]struct {
		tool string
		args []string
		want []string
	}{
		"dig, UDP":         {"dig", []string{host, "-p", port(r.Addr()), "contoso.azure-devices.net"}, []string{"status: NOERROR", "10.7.0.4", "COOKIE: ", "(good)"}},
		"dig, TCP":         {"dig", []string{host, "-p", port(r.Addr()), "+tcp", "www.elsewhere.example"}, []string{"status: NOERROR", "192.0.2.1", "(good)"}},
		"dig, HTTPS":       {"dig", []string{host, "-p", port(r.HTTPSAddr()), "+https", "db.plant.example"}, []string{"status: NOERROR", "10.7.0.9", "(HTTPS)"}},
		"dig, HTTPS, GET":  {"dig", []string{host, "-p", port(r.HTTPSAddr()), "+https-get", "db.plant.example", "AAAA"}, []string{"fd00::9", "(HTTPS-GET)"}},
		"dig, TLS":         {"dig", []string{host, "-p", port(r.TLSAddr()), "+tls", "db.plant.example"}, []string{"10.7.0.9", "(TLS)"}},
		"kdig, UDP":        {"kdig", []string{host, "-p", port(r.Addr()), "+cookie", "missing.plant.example"}, []string{"status: NXDOMAIN", "SOA", "COOKIE: "}},
		"kdig, TLS":        {"kdig", []string{host, "-p", port(r.TLSAddr()), "+tls-ca=" + file, "+tls-hostname=dns.plant.example", "+padding", "db.plant.example"}, []string{"TLS session (TLS1.3)", "10.7.0.9", "PADDING: "}},
		"kdig, HTTPS":      {"kdig", []string{host, "-p", port(r.HTTPSAddr()), "+https", "+tls-ca=" + file, "+tls-hostname=dns.plant.example", "www.elsewhere.example"}, []string{"HTTP session (HTTP/2-POST)", "192.0.2.1"}},
		"kdig, HTTPS, GET": {"kdig", []string{host, "-p", port(r.HTTPSAddr()), "+https-get", "+tls-ca=" + file, "+tls-hostname=dns.plant.example", "www.elsewhere.example"}, []string{"HTTP session (HTTP/2-GET)", "192.0.2.1"}},
	} {
		out := tool(t, c.tool, c.args...)
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("%s does not say %q:\n%s", name, w, out)
			}
		}
		if strings.Contains(strings.ToUpper(out), "WARNING") {
			t.Errorf("%s warns:\n%s", name, out)
		}
	}
}
