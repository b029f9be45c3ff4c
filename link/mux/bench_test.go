package mux_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// tlsConfigs are a client's and a server's for mutual TLS 1.3, as agents use it.
func tlsConfigs(tb testing.TB) (client, server *tls.Config) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	base := tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots, ClientCAs: roots, ServerName: "test",
		Certificates:                []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}},
		DynamicRecordSizingDisabled: true,
	}
	c, s := base.Clone(), base.Clone()
	s.ClientAuth = tls.RequireAndVerifyClientCert
	return c, s
}

// tcpPair connects over loopback.
func tcpPair(tb testing.TB) (a, b net.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	got := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		got <- c
	}()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return a, <-got
}

// tlsPair is tcpPair with mutual TLS 1.3; wrap goes below TLS.
func tlsPair(tb testing.TB, wrap func(net.Conn) net.Conn) (client, server net.Conn) {
	tb.Helper()
	cc, sc := tlsConfigs(tb)
	a, b := tcpPair(tb)
	tc, ts := tls.Client(wrap(a), cc), tls.Server(wrap(b), sc)
	var wg sync.WaitGroup
	wg.Go(func() { _ = ts.Handshake() })
	if err := tc.Handshake(); err != nil {
		tb.Fatal(err)
	}
	wg.Wait()
	return tc, ts
}

func tlsClient(c net.Conn, cfg *tls.Config) net.Conn { return tls.Client(c, cfg) }
func tlsServer(c net.Conn, cfg *tls.Config) net.Conn { return tls.Server(c, cfg) }

func plain(c net.Conn) net.Conn   { return c }
func carried(c net.Conn) net.Conn { return mux.NewCarrier(c) }

var flow = tunnel.Flow{Endpoint: "0196d1f8-7d20-7f31-a6b2-6a1d3c9e4f55", Port: 8883, Client: netip.MustParseAddrPort("10.7.0.9:51234")}

// rig is a way to open streams to a peer that accepts them.
type rig struct {
	open   func() (net.Conn, error)
	accept func() (net.Conn, error)
	close  func()
}

func muxRig(tb testing.TB, cfg mux.Config) rig {
	a, b := tlsPair(tb, carried)
	return muxRigOver(a, b, cfg)
}

func muxRigOver(a, b net.Conn, cfg mux.Config) rig {
	c, s := mux.Client(a, cfg), mux.Server(b, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(ctx) })
	wg.Go(func() { _ = s.Run(ctx) })
	return rig{
		open:   func() (net.Conn, error) { return c.Open(ctx, flow) },
		accept: func() (net.Conn, error) { return s.Accept(ctx) },
		close:  func() { cancel(); wg.Wait() },
	}
}

func yamuxRig(tb testing.TB) rig {
	a, b := tlsPair(tb, plain)
	cfg := yamux.DefaultConfig()
	cfg.LogOutput = io.Discard
	cfg.MaxStreamWindowSize = 8 << 20
	cfg.AcceptBacklog = 1024
	c, err := yamux.Client(a, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := yamux.Server(b, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return rig{
		open:   func() (net.Conn, error) { return c.OpenStream() },
		accept: func() (net.Conn, error) { return s.AcceptStream() },
		close:  func() { c.Close(); s.Close() },
	}
}

// tlsRig is one TLS connection without a multiplexer: what could be had at most.
func tlsRig(tb testing.TB, wrap func(net.Conn) net.Conn) rig {
	a, b := tlsPair(tb, wrap)
	return rig{
		open:   func() (net.Conn, error) { return a, nil },
		accept: func() (net.Conn, error) { return b, nil },
		close:  func() { a.Close(); b.Close() },
	}
}

func rigs(b *testing.B, run func(b *testing.B, r rig)) {
	b.Run("mux", func(b *testing.B) { run(b, muxRig(b, mux.Config{})) })
	b.Run("yamux", func(b *testing.B) { run(b, yamuxRig(b)) })
}

// onlyReader and onlyWriter hide the fast paths.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

// BenchmarkThroughput moves 32 KiB writes through one stream to a reader with a 64 KiB buffer.
func BenchmarkThroughput(b *testing.B) {
	run := func(b *testing.B, r rig) {
		defer r.close()
		buf := make([]byte, 32<<10)
		w, err := r.open()
		if err != nil {
			b.Fatal(err)
		}
		_, _ = w.Write(buf)
		rd, err := r.accept()
		if err != nil {
			b.Fatal(err)
		}
		total := int64(b.N+1) * int64(len(buf))
		b.SetBytes(int64(len(buf)))
		b.ResetTimer()
		report := cpu(b)
		done := make(chan int64)
		go func() {
			n, _ := io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{io.LimitReader(rd, total)}, make([]byte, 64<<10))
			done <- n
		}()
		for range b.N {
			if _, err := w.Write(buf); err != nil {
				b.Fatal(err)
			}
		}
		if n := <-done; n != total {
			b.Fatalf("%d bytes of %d", n, total)
		}
		report()
	}
	rigs(b, run)
	b.Run("tls", func(b *testing.B) { run(b, tlsRig(b, plain)) })
	b.Run("tls-carrier", func(b *testing.B) { run(b, tlsRig(b, carried)) })
}
