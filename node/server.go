package node

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/control/httpdoor"
	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/keepfile"
	"github.com/isthmus-io/isthmus/membership"
	"github.com/isthmus-io/isthmus/store"
)

// ServerConfig is one control plane. Only DataDir is needed.
type ServerConfig struct {
	DataDir     string
	Listen      string   // 127.0.0.1:7444 when empty
	Advertise   []string // host:port that members and people dial, the relays' usually; Listen when empty
	TrustDomain string   // isthmus.local when empty; fixed at first start
	Database    string   // postgres:// connection string; SQLite in DataDir when empty
	Version     string

	// KeepRecordings is how long recordings of sessions are kept, in DataDir/recordings: a year when 0, for good when negative.
	KeepRecordings time.Duration
	// PrivateWebhooks lets webhooks of tenants go to private addresses, PrivateSignIn their identity providers be there.
	PrivateWebhooks, PrivateSignIn bool

	// Relay, when set, also runs a relay in this process.
	Relay *RelayConfig
	// Ready is called once requests are answered.
	Ready func(ServerReady)
}

// ServerReady is what a person needs after the first start.
type ServerReady struct {
	Address    string // where it listens
	AdminToken string // only at the very first start; nobody can read it again
	CAFile     string // the authority's certificate, to trust
	Pin        string // its SHA-256
}

const defaultTrustDomain = "isthmus.local"

func (cfg ServerConfig) database() string {
	if cfg.Database != "" {
		return cfg.Database
	}
	return filepath.Join(cfg.DataDir, "control.db")
}

// Server runs a control plane.
func Server(ctx context.Context, cfg ServerConfig, log *slog.Logger, clk clock.Clock, reg *prometheus.Registry) error {
	op := "node.Server"
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:7444"
	}
	if cfg.TrustDomain == "" {
		cfg.TrustDomain = defaultTrustDomain
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the data directory "+cfg.DataDir+" cannot be made")
	}
	authority, err := loadAuthority(cfg.DataDir, cfg.TrustDomain, clk.Now())
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, store.Config{DSN: cfg.database()}, log)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	l, err := listen(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	defer l.Close()
	if len(cfg.Advertise) == 0 {
		cfg.Advertise = []string{l.Addr().String()}
	}
	ctl, err := control.New(control.Config{
		TrustDomain: authority.TrustDomain, Addresses: cfg.Advertise,
		Recordings: filepath.Join(cfg.DataDir, "recordings"), KeepRecordings: cfg.KeepRecordings,
		WebhookPrivate: cfg.PrivateWebhooks, SignInPrivate: cfg.PrivateSignIn,
	}, st, authority, log, clk, reg)
	if err != nil {
		return err
	}
	admin, err := ctl.Bootstrap(ctx)
	if err != nil {
		return err
	}
	cert, err := httpdoor.NewCertificate(authority, hostsOf(append(cfg.Advertise, l.Addr().String())), clk)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate())
	handler := httpdoor.New(ctl, httpdoor.Config{Version: cfg.Version, TrustDomain: authority.TrustDomain, Roots: roots}, log, clk, reg)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ctl.Run(ctx) })
	g.Go(func() error { return httpdoor.Serve(ctx, l, handler, cert, log) })
	if cfg.Relay != nil {
		g.Go(func() error {
			return embeddedRelay(ctx, *cfg.Relay, ctl, cfg.DataDir, l.Addr().String(), log, clk, reg)
		})
	}
	log.Info("the control plane is ready", "address", l.Addr().String(), "trust_domain", authority.TrustDomain)
	if cfg.Ready != nil {
		cfg.Ready(ServerReady{Address: l.Addr().String(), AdminToken: admin, CAFile: filepath.Join(cfg.DataDir, "ca.pem"), Pin: jointoken.Pin(authority.Certificate())})
	}
	return ended(g.Wait())
}

// embeddedRelay joins like any other relay, with a token of its own making, so that there is one way in and not two.
func embeddedRelay(ctx context.Context, cfg RelayConfig, ctl *control.Control, dataDir, controlAddr string, log *slog.Logger, clk clock.Clock, reg *prometheus.Registry) error {
	if cfg.DataDir == "" {
		cfg.DataDir = filepath.Join(dataDir, "relay")
	}
	cfg.Control = controlAddr
	if !membership.Joined(cfg.DataDir) {
		self := control.Principal{Name: "server", Role: control.RoleAdmin}
		t, err := ctl.CreateJoinToken(ctx, self, control.JoinTokenRequest{For: control.JoinRelay, Name: "embedded", TTL: time.Minute})
		if err != nil {
			return err
		}
		if err := JoinRelay(ctx, cfg, t.Secret, "embedded", clk); err != nil {
			return err
		}
	}
	return Relay(ctx, cfg, log, clk, reg)
}

// loadAuthority reads the deployment's authority from the data directory, or makes it there at the first start.
func loadAuthority(dir, trustDomain string, now time.Time) (*identity.Authority, error) {
	op := "node.loadAuthority"
	certFile, keyFile := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	keyPEM, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		a, keyPEM, err := identity.NewAuthority(trustDomain, now)
		if err != nil {
			return nil, err
		}
		// The certificate first: a key without one would be useless, and is taken as "made already" above.
		if err := writeSecret(certFile, a.CertificatePEM()); err != nil {
			return nil, err
		}
		return a, writeSecret(keyFile, keyPEM)
	}
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the authority's key "+keyFile+" cannot be read")
	}
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the authority's certificate "+certFile+" cannot be read")
	}
	return identity.LoadAuthority(certPEM, keyPEM)
}

// writeSecret puts a file in place whole or not at all, readable by its owner only. Words: cannot write FILE: why.
func writeSecret(path string, content []byte) error {
	if err := keepfile.Write(path, content); err != nil {
		return fault.Wrap("node.writeSecret", fault.Exhausted, err, "cannot "+err.Error())
	}
	return nil
}

// TrustFile reads PEM certificates into a pool.
func TrustFile(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap("node.TrustFile", fault.Invalid, err, "cannot read "+path)
	}
	if b, _ := pem.Decode(text); b == nil {
		return nil, fault.New("node.TrustFile", fault.Invalid, path+" holds no PEM certificate")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool, nil
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fault.Wrap("node.listen", fault.Unavailable, err, "cannot listen on "+addr+": "+err.Error())
	}
	return l, nil
}

func listenAll(ctx context.Context, addrs []string) (all []net.Listener, err error) {
	for _, a := range addrs {
		l, err := listen(ctx, a)
		if err != nil {
			return all, err
		}
		all = append(all, l)
	}
	return all, nil
}

func closeAll(all []net.Listener) {
	for _, l := range all {
		l.Close()
	}
}

func hostsOf(addrs []string) []string {
	var hosts []string
	seen := map[string]bool{}
	for _, a := range addrs {
		h, _, err := net.SplitHostPort(a)
		if err != nil {
			h = a
		}
		if ip := net.ParseIP(h); ip != nil && ip.IsUnspecified() || h == "" || seen[h] {
			continue
		}
		seen[h] = true
		hosts = append(hosts, h)
	}
	return hosts
}

// ended turns the end that was asked for into success.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
