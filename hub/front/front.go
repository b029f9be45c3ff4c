package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

// Config bounds what peers can make us hold. The zero value works.
type Config struct {
	MaxConnections int           // of one Serve; 20,000
	MaxPerSource   int           // from one address (IPv6: one /64) for whom nobody vouches by a PROXY header; half of MaxConnections
	HeaderTimeout  time.Duration // for the first byte, and the whole PROXY header; 10 s
	SetupTimeout   time.Duration // for header, TLS and what the door wants to hear first; 60 s, as IoT Hub gives a CONNECT
	ProofSkew      time.Duration // how far clocks of agents and hub may be apart; proxyproto.DefaultSkew
}

// Certificate returns what to show for a host name of one of the hubs.
type Certificate func(host string) (*tls.Certificate, error)

// Front is shared by all doors of a process, so that a PROXY header works at one of them and once.
type Front struct {
	cfg         Config
	server      *hub.Server
	certificate Certificate
	log         *slog.Logger
	clock       clock.Clock
	window      *proxyproto.ReplayWindow
	crowd       *crowd
	tls         *tls.Config
}

// New returns a front for the hubs of the server. It remembers which PROXY headers were used; those made before now are refused,
// since a process before this one may have seen them.
func New(cfg Config, server *hub.Server, certificate Certificate, log *slog.Logger, clk clock.Clock) *Front {
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = 20_000
	}
	if cfg.MaxPerSource <= 0 {
		cfg.MaxPerSource = max(cfg.MaxConnections/2, 1)
	}
	if cfg.HeaderTimeout <= 0 {
		cfg.HeaderTimeout = 10 * time.Second
	}
	if cfg.SetupTimeout <= 0 {
		cfg.SetupTimeout = time.Minute
	}
	if cfg.ProofSkew <= 0 {
		cfg.ProofSkew = proxyproto.DefaultSkew
	}
	f := &Front{
		cfg: cfg, server: server, certificate: certificate, log: log, clock: clk,
		window: proxyproto.NewReplayWindow(cfg.ProofSkew, 0), crowd: newCrowd(cfg.MaxPerSource),
	}
	f.window.RefuseBefore(clk.Now())
	f.tls = &tls.Config{
		MinVersion: tls.VersionTLS12,
		// For TLS 1.2 only: forward secrecy and AEAD. Those of 1.3 are all good.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: f.choose,
		// Devices prove themselves with certificates that the registry names, or that an authority of the hub signed: the hub looks at them
		// when it knows which device it is. TLS checks only that the peer has the key.
		ClientAuth:       tls.RequestClientCert,
		VerifyConnection: bounded,
	}
	return f
}

// bound is the connection under TLS, where choose finds the side again.
type bound struct {
	net.Conn
	hub string
}

// Serve accepts connections until ctx ends, then closes ln and all of them and returns nil once they have ended. door is the name for
// logs. handle gets each connection with its setup deadline still running; when it returns the connection is over, unless it called
// Conn.Keep. Either way that has to be soon after the connection is closed.
func (f *Front) Serve(ctx context.Context, ln net.Listener, door string, handle func(context.Context, *Conn)) error {
	return f.accept(ctx, ln, door, f.secure, handle)
}

// ServePlain is Serve without TLS, for a developer's machine: whoever can listen on the way hears everything.
func (f *Front) ServePlain(ctx context.Context, ln net.Listener, door string, handle func(context.Context, *Conn)) error {
	return f.accept(ctx, ln, door, nil, handle)
}

// wrap makes what is spoken on a connection of its bytes; it may refuse the peer, and then returns false.
type wrap func(ctx context.Context, c *Conn, plain net.Conn) bool

func (f *Front) accept(ctx context.Context, ln net.Listener, door string, with wrap, handle func(context.Context, *Conn)) error {
	open := &crew{ctx: ctx, at: map[*socket]struct{}{}, room: f.cfg.MaxConnections}
	defer open.all.Wait()
	stop := context.AfterFunc(ctx, func() {
		_ = ln.Close()
		open.close()
	})
	defer stop()
	pause := backoff.Backoff{Base: 10 * time.Millisecond, Max: time.Second}
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fault.Wrap("front.Serve", fault.Unavailable, err, "the listener of the "+door+" door was closed")
			}
			// Out of file descriptors, most likely: waiting is all that helps.
			f.log.Error("hub: cannot accept a connection", "door", door, "err", err)
			pause.Wait(ctx, f.clock)
			continue
		}
		pause.Reset()
		s := &socket{front: f, raw: conn, crew: open}
		if !open.enter(s) {
			_ = conn.Close()
			if ctx.Err() == nil {
				f.server.Refuse(door, hub.Side{Via: addrPort(conn.RemoteAddr())}, "", fault.Newf("front.Serve", fault.Exhausted,
					"the %s door has %d connections, which is its limit", door, f.cfg.MaxConnections).Advise("add a hub process, or raise the limit"))
			}
			continue
		}
		go f.serve(ctx, s, door, with, handle)
	}
}

func (f *Front) serve(ctx context.Context, s *socket, door string, with wrap, handle func(context.Context, *Conn)) {
	defer func() {
		if s.kept.Load() == 0 {
			s.Leave()
		}
	}()
	raw := s.raw
	deadline := time.Now().Add(f.cfg.SetupTimeout)
	via := addrPort(raw.RemoteAddr())
	var ok bool
	if s.vouched, ok = f.crowd.enter(via.Addr()); !ok {
		f.server.Refuse(door, hub.Side{Via: via}, "", fault.Newf("front.Serve", fault.Exhausted,
			"%s has %d connections for which no agent vouches, which is the limit for one address", via.Addr(), f.cfg.MaxPerSource).
			Advise("find out what this machine does; devices behind an agent are not counted"))
		return
	}
	side, plain, err := f.side(raw, via)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, io.EOF) { // a probe connects and goes
			// Whoever dialled is to be found; what an unproved header says of a device is only what it says.
			who := ""
			if side.Peer.IsValid() {
				who = side.Peer.String()
			}
			f.server.Refuse(door, hub.Side{Via: via, Link: side.Link}, who, err)
		}
		return
	}
	if !side.IsPublic() {
		s.vouched()
	}
	c := &Conn{Conn: plain, Side: side, Door: door, socket: s}
	if s.release, err = f.server.Hold(side, c.Cut); err != nil {
		c.Refuse("", err)
		return
	}
	_ = raw.SetDeadline(deadline) // a closed connection tells it when read
	if with == nil || with(ctx, c, plain) {
		handle(ctx, c)
	}
}

// secure does the handshake of TLS.
func (f *Front) secure(ctx context.Context, c *Conn, plain net.Conn) bool {
	secure := tls.Server(&bound{plain, c.Side.Hub}, f.tls)
	c.Conn = secure
	if err := secure.HandshakeContext(ctx); err != nil {
		if ctx.Err() == nil && c.Cause() == 0 {
			if words := handshakeWords(err); words != nil {
				c.Refuse("", words)
			}
		}
		return false
	}
	state := secure.ConnectionState()
	c.Side.ServerName, c.Certificates = lower(state.ServerName), state.PeerCertificates
	return true
}

// side reads the PROXY header, if there is one, and finds the hub whose link key proves it. On an error the side holds what the
// header said, for the log only.
func (f *Front) side(raw net.Conn, via netip.AddrPort) (hub.Side, net.Conn, error) {
	h, plain, err := proxyproto.Accept(raw, f.cfg.HeaderTimeout)
	if err != nil {
		return hub.Side{}, nil, err
	}
	if h == nil || h.Local { // LOCAL: the proxy speaks for itself and vouches for nobody (proxy-protocol.txt 2.2)
		return hub.Side{Peer: via, Via: via}, plain, nil
	}
	link, ok := h.LinkID()
	side := hub.Side{Link: link, Peer: h.Source, Via: via}
	if !ok {
		return side, nil, fault.New("front.side", fault.Unauthenticated, "the PROXY header names no link").
			Advise("only an agent of this deployment may put a header before a connection to a hub")
	}
	now := f.clock.Now()
	err = fault.Newf("front.side", fault.Unauthenticated, "the PROXY header is of link %d, which no hub here has approved", link).
		Advise("approve the endpoint's connection; if it is approved, wait for the plan to arrive here")
	for _, k := range f.server.LinkKeys(link) {
		proof, verr := proxyproto.Verify(k.Key, h, now, f.cfg.ProofSkew)
		if verr != nil {
			err = verr
			continue
		}
		side.Hub = k.Hub
		return side, plain, f.window.Use(proof, now)
	}
	return side, nil, err
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}
