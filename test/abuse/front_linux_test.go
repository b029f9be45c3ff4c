package abuse

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/gateway/gatewayclient"
)

// front is a gateway that runs.
type front struct {
	*running
	dir    string
	config string // its file
	at     string // its one listener
	port   string
	asking *gatewayclient.Client
}

// startFront runs a gateway with what is written, in which PORT stands for the port of its one listener.
func startFront(t testing.TB, config string) *front {
	t.Helper()
	d := deployment(t)
	f := &front{dir: filepath.Join(d.Dir, "gw"), config: filepath.Join(d.Dir, "front.yaml"), port: freePort(t)}
	f.at = "127.0.0.1:" + f.port
	f.write(t, config)
	f.running, _ = after(t, d, "the gateway is ready", "gateway", "gateway", "run", "--config", f.config, "--data-dir", f.dir)
	f.asking = gatewayclient.New(f.dir)
	t.Cleanup(f.asking.Close)
	await(t, "the door for people", func() error {
		_, err := f.asking.Status(t.Context())
		return err
	})
	return f
}

// write puts another configuration into the file.
func (f *front) write(t testing.TB, config string) {
	t.Helper()
	write(t, f.config, strings.ReplaceAll(config, "PORT", f.port))
}

func (f *front) status() gateway.Status {
	f.t.Helper()
	s, err := f.asking.Status(f.t.Context())
	must(f.t, err)
	return s
}

// refusals is how many there were for a reason.
func (f *front) refusals(reason string) (n uint64) {
	f.t.Helper()
	for _, c := range f.status().Refusals {
		if c.Reason == reason {
			n += c.N
		}
	}
	return n
}

var refusedMore = regexp.MustCompile(` count=(\d+) `)

// told is how many refusals for a reason the lines of the log account for, which must not be more than most.
func (f *front) told(most int, reason string) (n uint64) {
	f.t.Helper()
	f.saysOnce(most, "gateway refused", " reason="+reason+" ")
	for _, line := range f.lines("gateway refused", " reason="+reason+" ") {
		m := refusedMore.FindStringSubmatch(line)
		if m == nil {
			n++
			continue
		}
		some, err := strconv.ParseUint(m[1], 10, 64)
		must(f.t, err)
		n += some
	}
	return n
}

// manifest is a gateway with the names given, each leading to a group of targets, and more of its spec.
func manifest(spec string, groups map[string][]string) string {
	var routes, targets strings.Builder
	for name, at := range groups {
		group, _, _ := strings.Cut(name, ".")
		fmt.Fprintf(&routes, "    - {names: [%s], group: %s}\n", name, group)
		fmt.Fprintf(&targets, "    - {name: %s, targets: [%s], health: {check: none}}\n", group, `"`+strings.Join(at, `", "`)+`"`)
	}
	return "apiVersion: isthmus/v1\nkind: Gateway\nmetadata: {tenant: ot, network: front, name: front}\nspec:\n" +
		"  listeners: [{name: mqtt, address: 127.0.0.1, port: PORT}]\n  routes:\n" + routes.String() + "  groups:\n" + targets.String() + spec
}

// Names of the services behind the gateways.
const (
	served = "served.example" // a TLS service that repeats what it is told
	raw    = "raw.example"    // repeats every byte, the ClientHello's among them
)

// certificate is the service's, and who trusts it.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) { //nolint:gochecknoglobals // made once for the package
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"*.example"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
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

// target is a service behind a gateway.
type target struct {
	l    net.Listener
	talk func(net.Conn)
	all  sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
}

// serve has every connection talked to until the test ends.
func serve(t testing.TB, talk func(net.Conn)) *target {
	t.Helper()
	return serveOn(t, "127.0.0.1:0", talk)
}

func serveOn(t testing.TB, at string, talk func(net.Conn)) *target {
	t.Helper()
	l, err := net.Listen("tcp", at)
	must(t, err)
	s := &target{l: l, talk: talk, conns: map[net.Conn]bool{}}
	s.all.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *target) at() string { return s.l.Addr().String() }

func (s *target) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.all.Go(func() {
			s.talk(c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// stop ends the service with all its connections. It may be called again.
func (s *target) stop() {
	_ = s.l.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.all.Wait()
}

// repeat is a TLS service.
func repeat(c net.Conn) {
	own, _ := certificate()
	talk := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12})
	_, _ = io.Copy(talk, talk)
}

// echo repeats bytes.
func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// from dials from a source.
func from(source, at string) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: patient}
	c, err := d.Dial("tcp", at)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// session is a TLS connection through a gateway.
type session struct {
	*tls.Conn
	tcp *net.TCPConn
	r   *bufio.Reader
}

// enter makes a session with a name from a source.
func enter(source, at, name string) (*session, error) {
	c, err := from(source, at)
	if err != nil {
		return nil, err
	}
	_, roots := certificate()
	s := &session{tls.Client(c, &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}), c, nil}
	s.r = bufio.NewReader(s.Conn)
	if err := s.ping(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return s, nil
}

// ping has the service repeat something.
func (s *session) ping() error {
	_ = s.tcp.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(s.Conn, "ping\n"); err != nil {
		return err
	}
	back, err := s.r.ReadString('\n')
	if err == nil && back != "ping\n" {
		err = fmt.Errorf("got %q back", back)
	}
	return err
}

// visit makes a session, uses it and ends it.
func visit(source, at, name string) error {
	s, err := enter(source, at, name)
	if err != nil {
		return err
	}
	return s.Close()
}

// others are those who use a gateway properly: newcomers make a session each time, residents use one that they keep.
type others struct{ newcomers, residents *steady }

// besides has others use the gateway. They come from 127.0.0.1.
func (f *front) besides() others {
	f.t.Helper()
	come := func() error { return visit("127.0.0.1", f.at, served) }
	var stay []func() error
	for range 2 {
		s, err := enter("127.0.0.1", f.at, served)
		must(f.t, err)
		f.t.Cleanup(func() { _ = s.tcp.Close() })
		stay = append(stay, s.ping)
	}
	o := others{use(f.t, "newcomers", 20*time.Millisecond, come, come), use(f.t, "residents", 20*time.Millisecond, stay...)}
	o.newcomers.served(40)
	o.lap("before")
	return o
}

func (o others) lap(name string) (newcomers lap) {
	o.residents.t.Helper()
	o.residents.lap(name)
	return o.newcomers.lap(name)
}

// fine ends a lap of abuse.
func (o others) fine(name string, least int) {
	o.residents.t.Helper()
	o.newcomers.fine(name, least)
	o.residents.fine(name, least)
}

func (o others) stop() {
	o.newcomers.stop()
	o.residents.stop()
}

// ended waits until a connection is over, and tells whether it was by a reset.
func ended(c net.Conn, by time.Time) error {
	_ = c.SetReadDeadline(by)
	buf := make([]byte, 1<<10)
	for {
		_, err := c.Read(buf)
		var late net.Error
		switch {
		case err == nil:
		case errors.As(err, &late) && late.Timeout():
			return errors.New("the connection is still open")
		default:
			return nil
		}
	}
}
