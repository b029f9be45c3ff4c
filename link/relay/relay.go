package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Relay pairs outbound connections. Make it with New, start it with Serve.
type Relay struct {
	cfg     Config
	creds   *identity.Credentials
	log     *slog.Logger
	clk     clock.Clock
	metrics *metrics
	door    *admission
	tickets *tickets
	agents  *agents
	persons *persons
	strange chan struct{} // one token per visitor not yet identified

	made, moved, replaced, asksRefused, halvesRefused atomic.Uint64 // for Status

	mu    sync.Mutex // guards pairs
	pairs map[*pair]parties
}

// New returns a relay that has not started. creds say who the relay is (a relay's SPIFFE id, usually) and which authority's agents it
// serves; they may be replaced while it runs. reg may be nil.
func New(cfg Config, creds *identity.Credentials, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Relay {
	cfg = cfg.withDefaults()
	r := &Relay{
		cfg: cfg, creds: creds, log: log, clk: clk, door: newAdmission(cfg.MaxVisitors, cfg.MaxPerSource),
		tickets: newTickets(clk, cfg), agents: newAgents(), persons: newPersons(cfg.MaxPerPerson), strange: make(chan struct{}, cfg.MaxStrangers),
		pairs: map[*pair]parties{},
	}
	r.metrics = newMetrics(reg, r)
	return r
}

// Serve accepts visitors from l, which must be a TCP listener, until ctx ends or l fails. It closes l and every connection, and
// returns when all its goroutines have ended: nil after ctx, otherwise a fault. It may be called once.
func (r *Relay) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer func() {
		cancel()
		if stop() {
			_ = l.Close()
		}
		r.door.closeAll()
	}()
	pause := backoff.Backoff{Base: 10 * time.Millisecond, Max: time.Second}
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fault.Wrap("relay.Serve", fault.Unavailable, err, "the relay's listener was closed")
			}
			// Out of descriptors, most likely: visitors that leave make room.
			r.log.Warn("relay cannot accept", "err", err)
			pause.Wait(ctx, r.clk)
			continue
		}
		pause.Reset()
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			_ = c.Close()
			return fault.Newf("relay.Serve", fault.Invalid, "the relay needs a TCP listener, not one of %T", c)
		}
		if limit := r.door.enter(tcp); limit != "" {
			r.metrics.turnedAway.WithLabelValues(limit).Inc()
			_ = tcp.SetLinger(0) // keep no TIME-WAIT for a crowd
			_ = tcp.Close()
			continue
		}
		wg.Go(func() { r.visit(ctx, tcp) })
	}
}

// SetRevoked makes the agents given, and no others, ones that may not connect whatever their certificate says. Those that are connected
// are cut off when it returns; pairs that stand are the business of the agents at their ends.
func (r *Relay) SetRevoked(ids []identity.ID) {
	for _, s := range r.agents.revoke(ids) {
		r.log.Info("relay cut off an agent that was deleted", "agent", s.id, "from", s.from)
		_ = s.conn.Close()
	}
	for _, s := range r.persons.revoke(ids) {
		r.log.Info("relay cut off a person whose pass was revoked", "person", s.id, "from", s.from)
		_ = s.conn.Close()
	}
}

// visit finds out who a visitor is and serves it to the end.
func (r *Relay) visit(ctx context.Context, c *net.TCPConn) {
	left := false
	defer func() {
		if !left {
			_ = c.Close()
			r.door.leave(c)
		}
	}()
	select {
	case r.strange <- struct{}{}:
	default:
		r.metrics.turnedAway.WithLabelValues("strangers").Inc()
		return
	}
	if !r.door.meet(c, cap(r.strange)/4) {
		<-r.strange
		r.metrics.turnedAway.WithLabelValues("strangers-of-source").Inc()
		return
	}
	known := sync.OnceFunc(func() { r.door.met(c); <-r.strange })
	defer known()

	_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4})
	_ = c.SetReadDeadline(time.Now().Add(r.cfg.FirstBytesTimeout))
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		r.metrics.visits.WithLabelValues("silent").Inc()
		return
	}
	switch first[0] {
	case tunnel.Magic[0]:
		r.metrics.visits.WithLabelValues("data").Inc()
		r.serveHalf(ctx, c, first[0], known)
	case tunnel.FirstTLS:
		hello, read, err := readHello(c, first[:])
		if err != nil {
			r.metrics.visits.WithLabelValues("unreadable").Inc()
			r.log.Debug("relay cannot read a ClientHello", "from", c.RemoteAddr(), "err", err)
			return
		}
		if hello.Offers(tunnel.ALPNRelay) {
			r.metrics.visits.WithLabelValues("agent").Inc()
			r.serveAgent(ctx, newReplay(c, read), known)
			return
		}
		r.metrics.visits.WithLabelValues("control").Inc()
		known()
		left = r.passOn(ctx, c, read)
	default:
		r.metrics.visits.WithLabelValues("unreadable").Inc()
	}
}
