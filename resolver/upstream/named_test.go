package upstream_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/resolver/upstream"
)

// freePort is a port of loopback that is free for UDP and TCP.
func freePort(t testing.TB) uint16 {
	t.Helper()
	for {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := ln.Addr().(*net.TCPAddr)
		pc, err := net.ListenPacket("udp", at.String())
		ln.Close()
		if err == nil {
			pc.Close()
			return uint16(at.Port)
		}
	}
}

// named is a BIND of our own.
type named struct {
	plain, tls, https netip.AddrPort
}

const bigRecords = 100 // of one name: all that BIND takes, and more than a datagram

const namedConf = `
options {
	directory "%[1]s"; pid-file none; session-keyfile none; managed-keys-directory "%[1]s"; lock-file none;
	listen-on port %[2]d { 127.0.0.1; };
	listen-on port %[3]d tls ours { 127.0.0.1; };
	listen-on port %[4]d tls ours http default { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no; dnssec-validation no; minimal-responses yes; allow-query { any; };
	%[5]s
};
tls ours { cert-file "%[1]s/cert.pem"; key-file "%[1]s/key.pem"; };
controls { };
zone "elsewhere.example" { type primary; file "%[1]s/zone"; };
`

// startNamed starts it with more options and waits until it has loaded its zone.
func startNamed(t testing.TB, options string) (named, *x509.CertPool) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("BIND is run on Linux only")
	}
	path, err := exec.LookPath("named")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/named"); err != nil {
			t.Fatal("named is not installed: make deps, or apt-get install bind9")
		}
	}
	dir := t.TempDir()
	conf, roots := authority(t, "dns.example", "127.0.0.1")
	key, err := x509.MarshalECPrivateKey(conf.Certificates[0].PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	at := func() netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), freePort(t)) }
	n := named{at(), at(), at()}
	var zone strings.Builder
	zone.WriteString("$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\nwww CNAME cdn\ncdn A 192.0.2.1\n")
	for i := range bigRecords {
		fmt.Fprintf(&zone, "big A 192.0.2.%d\n", i)
	}
	for name, content := range map[string][]byte{
		"named.conf": fmt.Appendf(nil, namedConf, dir, n.plain.Port(), n.tls.Port(), n.https.Port(), options),
		"zone":       []byte(zone.String()),
		"cert.pem":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: conf.Certificates[0].Certificate[0]}),
		"key.pem":    pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, "-g", "-n", "1", "-c", filepath.Join(dir, "named.conf"))
	var log bytes.Buffer
	r, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	running, read := make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for told := false; ; {
			n, err := r.Read(buf)
			log.Write(buf[:n])
			if !told && bytes.Contains(log.Bytes(), []byte(" running\n")) {
				told = true
				running <- true
			}
			if err != nil {
				if !told {
					running <- false
				}
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	if !<-running {
		t.Fatal("named does not start")
	}
	return n, roots
}

func TestAgainstBIND(t *testing.T) {
	for _, c := range []struct{ name, options string }{
		{"as it is", ""},
		{"cookies demanded", "require-server-cookie yes;"},
		{"cookies not known", "answer-cookie no;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, roots := startNamed(t, c.options)
			w := start(t, patient(roots))
			for _, s := range []upstream.Server{
				{Address: n.plain},
				{Address: n.plain, Transport: upstream.TCP},
				{Address: n.tls, Transport: upstream.TLS, Name: "dns.example"},
				{Address: n.https, Transport: upstream.HTTPS, Name: "dns.example"},
			} {
				g := w.Group([]upstream.Server{s})
				for range 3 {
					w.must(g, "www.elsewhere.example", "www.elsewhere.example. CNAME cdn.elsewhere.example., cdn.elsewhere.example. A 192.0.2.1")
					if a := w.must(g, "missing.elsewhere.example", "NXDOMAIN"); a.RCode != dns.RcodeNameError {
						t.Errorf("rcode %d", a.RCode)
					}
					w.must(g, "other.example", "REFUSED")
				}
				a, err := w.Exchange(context.Background(), g, question(t, "big.elsewhere.example"))
				if err != nil || a.Truncated || strings.Count(recordsOf(t, a), "big.") != bigRecords {
					t.Errorf("%v: %v, truncated %v", s, err, a.Truncated)
				}
				st := g.Status()[0]
				if !st.Healthy || st.Failures != 0 || len(st.Notes) != 0 {
					t.Errorf("status %+v", st)
				}
				plain := s.Transport == "" || s.Transport == upstream.TCP
				if want := plain && c.name != "cookies not known"; st.Cookies != want {
					t.Errorf("%v: cookies %v, want %v", s, st.Cookies, want)
				}
			}
		})
	}
}
