package syslog_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/audit/syslog"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseDestination(t *testing.T) {
	for s, want := range map[string]syslog.Destination{
		"tls://logs.test":        {Network: "tls", Address: "logs.test:6514"},
		"tls://logs.test:7/":     {Network: "tls", Address: "logs.test:7"},
		"tcp://10.0.0.1:601":     {Network: "tcp", Address: "10.0.0.1:601"},
		"udp://[fd00::1]":        {Network: "udp", Address: "[fd00::1]:514"},
		"unix:/dev/log":          {Network: "unix", Address: "/dev/log"},
		"unix:///run/log.sock":   {Network: "unix", Address: "/run/log.sock"},
		"unix:run/log.sock":      {Network: "unix", Address: "run/log.sock"},
		"tcp://logs.test":        {},
		"tcp://":                 {},
		"unix:":                  {},
		"unix://host/x":          {},
		"http://x":               {},
		"audit.jsonl":            {},
		"udp://logs.test:0":      {},
		"udp://logs.test:70000":  {},
		"tls://me:x@logs.test":   {},
		"tls://logs.test/path":   {},
		"tls://logs.test?x=1":    {},
		"tls://logs.test\x00:99": {},
	} {
		got, err := syslog.ParseDestination(s)
		if got != want || (err == nil) != (want != syslog.Destination{}) || err != nil && (fault.KindOf(err) != fault.Invalid || fault.Next(err) == "") {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}

// frames reads octet-counted messages until the connection ends.
func frames(conn net.Conn) (out []string) {
	in := bufio.NewReader(conn)
	for {
		n, err := in.ReadString(' ')
		if err != nil {
			return out
		}
		size, err := strconv.Atoi(strings.TrimSuffix(n, " "))
		if err != nil {
			return append(out, "a frame without its length: "+n)
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(in, b); err != nil {
			return append(out, "a cut frame")
		}
		out = append(out, string(b))
	}
}

func TestOverTLS(t *testing.T) {
	a, cert := serving(t, "127.0.0.1")
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan []string, 2)
	go func() {
		for range 2 {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			got <- frames(conn)
			conn.Close()
		}
	}()
	roots := x509.NewCertPool()
	to := syslog.Destination{Network: "tls", Address: l.Addr().String()}
	if err := syslog.New(to, syslog.Config{Roots: roots}, clock.System{}).Send(t.Context(), []byte("secret")); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("to somebody nobody vouches for: %v", err)
	}
	if f := <-got; len(f) > 0 {
		t.Errorf("somebody nobody vouches for got %q", f)
	}
	roots.AppendCertsFromPEM(a.CertificatePEM())
	c := syslog.New(to, syslog.Config{Roots: roots}, clock.System{})
	for _, m := range []string{"one", "", "two\nlines"} {
		if err := c.Send(t.Context(), []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if f := <-got; fmt.Sprintf("%q", f) != `["one" "" "two\nlines"]` {
		t.Errorf("got %q", f)
	}
}

func serving(t *testing.T, host string) (*identity.Authority, tls.Certificate) {
	t.Helper()
	now := time.Now()
	a, _, err := identity.NewAuthority("isthmus.test", now)
	if err != nil {
		t.Fatal(err)
	}
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewRequest(key, "")
	if err != nil {
		t.Fatal(err)
	}
	certPEM, err := a.IssueServer(csr, now, time.Hour, host)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return a, cert
}

// What was written shortly before a connection broke may not have arrived, so it comes again.
func TestABrokenConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to, clk := syslog.Destination{Network: "tcp", Address: l.Addr().String()}, clock.NewFake(t0)
	c := syslog.New(to, syslog.Config{}, clk)
	send := func(m string) {
		t.Helper()
		if err := c.Send(t.Context(), []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	accepted := make(chan net.Conn)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	done := make(chan struct{})
	go func() { defer close(done); send("old") }()
	first := <-accepted
	<-done
	clk.Advance(time.Minute)
	send("fresh")
	first.Close() // unread, so by a reset
	l.Close()
	for range accepted {
	}
	// Once it is known that the connection is gone nothing more is taken until there is another.
	for err == nil {
		err = c.Send(t.Context(), []byte("lost"))
	}
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), to.Address) {
		t.Fatalf("%v", err)
	}
	if l, err = net.Listen("tcp", to.Address); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	clk.Advance(24 * time.Hour)
	got := make(chan []string)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			close(got)
			return
		}
		defer conn.Close()
		got <- frames(conn)
	}()
	send("new")
	finished := make(chan error, 1)
	go func() { finished <- c.Close() }()
	f := <-got
	if len(f) < 2 || f[0] != "fresh" || f[len(f)-1] != "new" {
		t.Errorf("got %q", f)
	}
	if err := <-finished; err != nil {
		t.Error(err)
	}
}

func TestACollectorThatDoesNotSayItsEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	clk := clock.NewFake(t0)
	c := syslog.New(syslog.Destination{Network: "tcp", Address: l.Addr().String()}, syslog.Config{}, clk)
	if err := c.Send(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	finished := make(chan error, 1)
	go func() { finished <- c.Close() }()
	for {
		select {
		case err := <-finished:
			if fault.KindOf(err) != fault.Timeout {
				t.Errorf("%v", err)
			}
			return
		default:
			clk.Advance(time.Second)
		}
	}
}

func TestDatagrams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for network, address := range map[string]string{"udp": "127.0.0.1:0", "unix": path} {
		listen := map[string]string{"udp": "udp", "unix": "unixgram"}[network]
		conn, err := net.ListenPacket(listen, address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := syslog.New(syslog.Destination{Network: network, Address: conn.LocalAddr().String()}, syslog.Config{}, clock.System{})
		if err := c.Send(t.Context(), []byte("one")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, _, err := conn.ReadFrom(b)
		if err != nil || string(b[:n]) != "one" {
			t.Errorf("%s: %q, %v", network, b[:n], err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	c := syslog.New(syslog.Destination{Network: "unix", Address: path + "x"}, syslog.Config{}, clock.System{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := c.Send(ctx, []byte("one")); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("no socket: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
