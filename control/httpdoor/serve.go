package httpdoor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

const (
	serverLife     = 48 * time.Hour // of the server's certificate; a new one is made half way
	endLimit       = 10 * time.Second
	maxConnections = 32768
)

// Certificate is the server's own: issued by the deployment's authority for host names and for the control plane's SPIFFE id, made
// anew in memory when it is half through its life. Safe for concurrent use.
type Certificate struct {
	authority *identity.Authority
	hosts     []string
	clock     clock.Clock

	mu      sync.Mutex // guards the field below
	current *tls.Certificate
}

// NewCertificate makes the first certificate, so that what would fail later fails now. hosts are DNS names and IP addresses under
// which people reach the server; members do not look at them.
func NewCertificate(authority *identity.Authority, hosts []string, clk clock.Clock) (*Certificate, error) {
	c := &Certificate{authority: authority, hosts: hosts, clock: clk}
	if _, err := c.Get(nil); err != nil {
		return nil, err
	}
	return c, nil
}

// Get is for tls.Config.GetCertificate.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	if c.current != nil {
		leaf := c.current.Leaf
		if !now.Before(leaf.NotBefore) && leaf.NotAfter.Sub(now) > serverLife/2 {
			return c.current, nil
		}
	}
	fresh, err := c.make(now)
	if err != nil {
		return nil, err
	}
	c.current = fresh
	return fresh, nil
}

func (c *Certificate) make(now time.Time) (*tls.Certificate, error) {
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	csr, err := identity.NewRequest(key, "")
	if err != nil {
		return nil, err
	}
	leaf, err := c.authority.IssueIdentity(csr, identity.ControlID(c.authority.TrustDomain), now, serverLife, c.hosts...)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(leaf, keyPEM)
	if err != nil {
		return nil, fault.Wrap("httpdoor.Certificate", fault.Internal, err, "")
	}
	pair.Certificate = append(pair.Certificate, c.authority.Certificate().Raw) // joiners compare it with the pin of their token
	return &pair, nil
}

// TLS returns the server's configuration. Client certificates are asked for and verified request by request, so that a refusal has
// words; TLS 1.2 is for people's clients only.
func (c *Certificate) TLS() *tls.Config {
	hint := x509.NewCertPool()
	hint.AddCert(c.authority.Certificate())
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are not configurable
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.Get,
		ClientAuth:     tls.RequestClientCert,
		ClientCAs:      hint, // so that browsers offer no foreign certificates
	}
}

// Serve answers on the listener until the context ends, then lets requests under way finish for at most ten seconds, ends plan
// streams at once, and returns nil when every connection is closed. The listener is closed in any case.
func Serve(ctx context.Context, ln net.Listener, handler http.Handler, cert *Certificate, log *slog.Logger) error {
	drain := make(chan struct{})
	srv := &http.Server{
		Handler: handler, TLSConfig: cert.TLS(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), keyDraining, drain)
		},
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(netutil.LimitListener(ln, maxConnections), "", "") }()
	select {
	case err := <-served:
		return fault.Wrap("httpdoor.Serve", fault.Unavailable, err, "the API's listener failed")
	case <-ctx.Done():
	}
	close(drain)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	err := srv.Shutdown(end)
	if err != nil {
		err = srv.Close()
	}
	if s := <-served; !errors.Is(s, http.ErrServerClosed) {
		err = errors.Join(err, s)
	}
	return fault.Wrap("httpdoor.Serve", fault.Internal, err, "")
}
