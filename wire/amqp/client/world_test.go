package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/client"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server accepts every link. What comes on one it gives to take; on others it runs send.
type server struct {
	take   func(d *engine.Delivery)
	send   func(l *engine.Link)
	attach func(l *engine.Link) bool // true: it has dealt with the link
	accept engine.Accept
	who    func(*engine.SASL) error
	conn   *engine.Conn
	busy   sync.WaitGroup
}

func (s *server) Mechanisms() []amqp.Symbol { return []amqp.Symbol{"ANONYMOUS", "MSSBCBS", "PLAIN"} }
func (s *server) Authenticate(_ context.Context, x *engine.SASL) (any, error) {
	if s.who != nil {
		return nil, s.who(x)
	}
	return nil, nil
}
func (s *server) Open(_ context.Context, c *engine.Conn) (engine.Handler, error) {
	s.conn = c
	if c.PeerOpen().Hostname == "wrong.example" {
		return nil, amqp.Errorf(amqp.ConditionNotFound, "There is no wrong.example. TrackingId: 4711")
	}
	return s, nil
}

func (s *server) Attach(l *engine.Link) {
	switch {
	case s.attach != nil && s.attach(l):
	case l.PeerReceives():
		l.Accept(s.accept)
		if s.send != nil {
			s.busy.Go(func() { s.send(l) })
		}
	default:
		a := s.accept
		a.Receive = s.take
		l.Accept(a)
	}
}
func (s *server) Ended(error) { s.busy.Wait() }

func start(t testing.TB, cfg engine.Config, s *server, near, far net.Conn) net.Conn {
	t.Helper()
	served := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(served)
		_ = engine.New(cfg, slog.New(slog.DiscardHandler), clock.System{}, nil).Serve(ctx, far, s)
	}()
	t.Cleanup(func() {
		cancel()
		_ = near.Close()
		<-served
	})
	return near
}

func connect(t testing.TB, s *server, cfg client.Config) *client.Session {
	t.Helper()
	near, far := net.Pipe()
	start(t, engine.Config{}, s, near, far)
	c, err := client.Connect(t.Context(), near, cfg, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Abort)
	session, err := c.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// loopback connects over TCP and TLS.
func loopback(t testing.TB) (near, far net.Conn) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"h.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return tls.Client(a, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: "h.example"}),
		tls.Server(b, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("got %v, want %v", err, kind)
	}
}
