package transport

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// passage is one tunnel to one peer: a mux session over TLS, direct or through a relay.
type passage struct {
	peer    identity.ID
	session *mux.Session
	via     string // "direct", or the relay's address
	dialled bool   // by us; we are then the TLS client
	since   time.Time
	expires time.Time // when the first of the two certificates lapses

	left      func()      // gives back an accepted tunnel's place, once; nil for a dialled one
	retired   atomic.Bool // takes no new streams; closed when the last one has ended
	idleSince time.Time   // zero while it has streams; keepHouse's own
}

// usable reports whether new streams may be opened.
func (p *passage) usable() bool {
	return !p.retired.Load() && p.session.Usable()
}

// retire lets the streams there are go on to their end, and asks the peer to open no more. They may go on for weeks, so the tunnel's
// place is free for the one that follows it. A peer cannot bring this about more often than its certificates lapse.
func (p *passage) retire() {
	if p.retired.CompareAndSwap(false, true) {
		p.session.GoAway()
		if p.left != nil {
			p.left()
		}
	}
}

// secure does the TLS handshake of a tunnel over c, as client when we dialled, and returns the tunnel, whose session has not started.
// c is closed on an error.
func (tr *Transport) secure(ctx context.Context, c net.Conn, accept identity.Accept, dialled bool, via string) (*passage, error) {
	below := mux.NewCarrier(c)
	var t *tls.Conn
	if dialled {
		t = tls.Client(below, sessionless(tr.creds.ClientTLS(accept, tunnel.ALPNTunnel)))
	} else {
		t = tls.Server(below, sessionless(tr.creds.ServerTLS(accept, tunnel.ALPNTunnel)))
	}
	ctx, cancel := context.WithTimeout(ctx, tr.cfg.HandshakeTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	cs := t.ConnectionState()
	id, err := identity.PeerID(cs)
	if err == nil && cs.NegotiatedProtocol != tunnel.ALPNTunnel {
		err = fault.New("transport.secure", fault.Unauthenticated, "it does not speak "+tunnel.ALPNTunnel)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	p := &passage{peer: id, via: via, dialled: dialled, since: tr.clk.Now(), expires: tr.creds.Leaf().NotAfter}
	if e := cs.PeerCertificates[0].NotAfter; e.Before(p.expires) {
		p.expires = e
	}
	conf := mux.Config{MaxStreams: tr.cfg.MaxStreams, MaxMemory: tr.cfg.MaxMemory, KeepAlive: tr.cfg.PingInterval, Doubt: tr.cfg.Doubt, DoubtTimeout: tr.cfg.DoubtTimeout, Clock: tr.clk}
	if dialled {
		p.session = mux.Client(t, conf)
	} else {
		p.session = mux.Server(t, conf)
	}
	return p, nil
}

// sessionless switches resumption off. Tunnels are few and last long, so a full handshake costs nothing, and each one then shows
// both certificates and has fresh keys.
func sessionless(c *tls.Config) *tls.Config {
	c.SessionTicketsDisabled = true
	return c
}

// carry runs a tunnel to its end: its session, and a goroutine for each stream the peer opens. It returns when all have ended.
func (tr *Transport) carry(ctx context.Context, p *passage) {
	tr.mu.Lock()
	tr.passages[p] = struct{}{}
	tr.shareMemory(p)
	if tr.astray(p) { // the plan has changed while it was made
		_ = p.session.Close()
	}
	tr.mu.Unlock()
	tr.metrics.tunnels.WithLabelValues(p.direction(), p.way()).Inc()
	tr.log.Info("tunnel up", "peer", p.peer, "via", p.via, "dialled", p.dialled)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			s, err := p.session.Accept(ctx)
			if err != nil {
				return
			}
			all.Go(func() { tr.handle(p.peer, s) })
		}
	})
	err := p.session.Run(ctx)
	all.Wait()
	tr.mu.Lock()
	delete(tr.passages, p)
	tr.shareMemory(p)
	tr.past.add(p.session.Stats())
	tr.mu.Unlock()
	tr.log.Info("tunnel down", "peer", p.peer, "via", p.via, "dialled", p.dialled, "lasted", tr.clk.Now().Sub(p.since), "why", err)
}

// leastMemory is what a tunnel gets however many there are: less would stop flows which do nothing wrong.
const leastMemory = 1 << 20

// shareMemory gives the tunnels that were accepted equal parts of the memory for them, after p came or went: peers who open many and
// read nothing pin that much and not as many times a tunnel's own bound. The caller holds tr.mu.
func (tr *Transport) shareMemory(p *passage) {
	if p.dialled {
		return // we decide how many of those there are
	}
	var all []*passage
	for t := range tr.passages {
		if !t.dialled {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return
	}
	part := min(tr.cfg.MaxMemory, max(tr.cfg.MaxInboundMemory/int64(len(all)), leastMemory))
	for _, t := range all {
		t.session.SetMaxMemory(part)
	}
}

func (p *passage) direction() string {
	if p.dialled {
		return "dialled"
	}
	return "accepted"
}

func (p *passage) way() string {
	if p.via == viaDirect {
		return viaDirect
	}
	return "relay"
}

const viaDirect = "direct"
