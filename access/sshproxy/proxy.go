package sshproxy

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/clock"
)

// Bounds, where Config does not say.
const (
	handshakeTime = 30 * time.Second // until the person and we are both logged in
	askTime       = 10 * time.Second // for the control plane to certify something
	mostChannels  = 32               // of a session at a time
)

// Recorder gives files for recordings, by the session's id. access/journal is one.
type Recorder interface {
	Recording(session string) (io.WriteCloser, error)
}

// CertifyRequest asks for a certificate that logs the person of a grant in to the machine.
type CertifyRequest struct {
	Grant     string
	Session   string // 32 hexadecimal digits; the certificate may be used for later sessions of the grant
	PublicKey string // line of an authorized_keys file
	Login     string // the account: the one principal
}

// HostCertifyRequest asks for a host certificate, under which people's programs meet a target.
type HostCertifyRequest struct {
	Target    string // uid
	PublicKey string // line of an authorized_keys file
}

// Config says what a Proxy needs. The zero value refuses everybody, with words.
type Config struct {
	// Certify asks the control plane for a certificate, which it returns as a line of an id_*-cert.pub file. The key never leaves this process.
	// The words of its fault reach the person.
	Certify func(ctx context.Context, r CertifyRequest) (certificate string, err error)
	// HostCertify asks it for a host certificate. nil, and when it fails: people's programs see the plain host key.
	HostCertify func(ctx context.Context, r HostCertifyRequest) (certificate string, err error)

	Journal      Recorder
	Dir          string // of the host key, its certificates and remembered keys of machines; made when absent; empty: they last as long as the process
	NoInput      bool   // do not record what is typed
	MaxRecording int64  // bytes of text of a recording; 0: 256 MiB
	MaxChannels  int    // of a session at a time; 0: 32. sshd has a bound of its own (MaxSessions)
}

// Proxy ends and records SSH for a gate.
type Proxy struct {
	cfg  Config
	log  *slog.Logger
	clk  clock.Clock
	host *hostKey
	keys *credentials
	seen *knownHosts
}

var _ gate.Terminator = (*Proxy)(nil)

// New returns a Proxy. It touches neither disk nor network.
func New(cfg Config, log *slog.Logger, clk clock.Clock) *Proxy {
	if cfg.MaxChannels <= 0 {
		cfg.MaxChannels = mostChannels
	}
	return &Proxy{
		cfg: cfg, log: log, clk: clk,
		host: &hostKey{cfg: &cfg, log: log, clk: clk, asked: map[string]time.Time{}},
		keys: &credentials{certify: cfg.Certify, clk: clk, kept: map[account]*credential{}},
		seen: &knownHosts{dir: cfg.Dir},
	}
}

// Serve lets the person in to the machine and records what happens, until one of the two leaves or ctx ends. Both connections are closed
// when it returns. The outcome tells what was done, also beside an error; its words are for people.
func (p *Proxy) Serve(ctx context.Context, s gate.Session, person, machine net.Conn) (gate.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	v := &visit{p: p, s: s, began: p.clk.Now(), cancel: cancel, log: p.log.With("session", s.ID, "target", s.Target.Name, "person", s.Grant.Name)}
	// Both closing by ctx and closing at the end; a connection may be closed twice.
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		person.Close()
		machine.Close()
	})
	v.run(ctx, person, machine)
	cancel()
	if stop() {
		person.Close()
		machine.Close()
	} else {
		<-closed
	}
	return v.outcome()
}

// bounded calls f, and cancel when it takes longer than d.
func bounded(clk clock.Clock, d time.Duration, cancel func(), f func()) {
	fired, stop := clk.After(d)
	defer stop()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-fired:
			cancel()
		case <-done:
		}
	})
	f()
	close(done)
	wg.Wait()
}
