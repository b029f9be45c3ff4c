package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// offered answers a relay's offer of a connection: with a connection, or a no that spares the asker the waiting. It does not block.
func (tr *Transport) offered(l *relayLink, o tunnel.Offer) {
	from := identity.ID(o.From)
	if !tr.mayCome(from) {
		tr.metrics.inbound.WithLabelValues("not-allowed").Inc()
		tr.log.Info("declined a connection: no approved connection of its network, or no grant", "from", from, "relay", l.relay.Address)
		l.decline(o.Ticket)
		return
	}
	if !tr.enter(from) {
		tr.metrics.inbound.WithLabelValues("too-many").Inc()
		tr.log.Warn("declined a connection: too many tunnels from there", "from", from)
		l.decline(o.Ticket)
		return
	}
	left := sync.OnceFunc(func() { tr.leave(from) })
	ok := tr.start(func(ctx context.Context) {
		defer left()
		t, err := tr.meet(ctx, l.relay.Address, o)
		if err != nil {
			tr.metrics.inbound.WithLabelValues("failed").Inc()
			tr.log.Info("a tunnel to here failed", "from", from, "relay", l.relay.Address, "err", err)
			return
		}
		tr.metrics.inbound.WithLabelValues("ok").Inc()
		t.left = left
		tr.carry(ctx, t)
	})
	if !ok {
		left()
	}
}

// meet goes to the relay with the ticket offered and lets the asker in: only the one the relay named.
func (tr *Transport) meet(ctx context.Context, address string, o tunnel.Offer) (*passage, error) {
	ctx, cancel := context.WithTimeout(ctx, tr.cfg.OpenTimeout)
	defer cancel()
	c, err := tr.present(ctx, address, o.Ticket)
	if err != nil {
		return nil, err
	}
	t, err := tr.secure(ctx, c, tr.guest(identity.Only(identity.ID(o.From))), false, address)
	if err != nil {
		return nil, tr.handshakeFault("transport.meet", err, short(identity.ID(o.From)))
	}
	return t, nil
}

// guest accepts agents and people of our trust domain who may come and whom also accepts.
func (tr *Transport) guest(also identity.Accept) identity.Accept {
	anyone := identity.AnyCaller(tr.creds.ID().TrustDomain())
	return func(peer identity.ID) error {
		if err := anyone(peer); err != nil {
			return err
		}
		if !tr.mayCome(peer) {
			return fault.Newf("transport.guest", fault.Denied, "%s has no approved connection here", short(peer))
		}
		return also(peer)
	}
}

// enter counts a tunnel that comes in; false when there are too many.
func (tr *Transport) enter(id identity.ID) bool {
	who, most := tr.countedAs(id)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.inboundAll >= tr.cfg.MaxInbound || tr.inbound[who] >= most {
		return false
	}
	tr.inbound[who]++
	tr.inboundAll++
	return true
}

func (tr *Transport) leave(id identity.ID) {
	who, _ := tr.countedAs(id)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.inboundAll--
	if tr.inbound[who]--; tr.inbound[who] == 0 {
		delete(tr.inbound, who)
	}
}

// countedAs says under which name a peer's tunnels are counted and how many it may have: an agent's own; a person's passes together, as
// one may have many of them, with more than an agent, as each program in use makes a tunnel of its own.
func (tr *Transport) countedAs(id identity.ID) (who string, most int) {
	if p, ok := id.Person(); ok {
		return identity.PersonPrefix(p.TrustDomain, p.Tenant, p.Name), tr.cfg.MaxInboundPerPerson
	}
	return string(id), tr.cfg.MaxInboundPerPeer
}

// maxHandshakes bounds direct connections that have not shown who they are.
const maxHandshakes = 256

// listen takes direct tunnels until ctx ends.
func (tr *Transport) listen(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	unknown := make(chan struct{}, maxHandshakes)
	pause := backoff.Backoff{Base: 10 * time.Millisecond, Max: time.Second}
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of descriptors, most likely
			pause.Wait(ctx, tr.clk)
			continue
		}
		pause.Reset()
		select {
		case unknown <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		if !tr.start(func(ctx context.Context) { tr.admit(ctx, c, func() { <-unknown }) }) { //nolint:contextcheck // attempts and tunnels belong to Run, not to the caller who happens to start them
			_ = c.Close()
		}
	}
}

// admit serves one direct connection.
func (tr *Transport) admit(ctx context.Context, c net.Conn, known func()) {
	t, err := tr.secure(ctx, c, tr.guest(func(identity.ID) error { return nil }), false, viaDirect)
	known()
	if err != nil {
		tr.metrics.inbound.WithLabelValues("failed").Inc()
		tr.log.Info("a direct tunnel failed", "from", c.RemoteAddr(), "err", err)
		return
	}
	if !tr.enter(t.peer) {
		tr.metrics.inbound.WithLabelValues("too-many").Inc()
		_ = c.Close()
		return
	}
	t.left = sync.OnceFunc(func() { tr.leave(t.peer) })
	defer t.left()
	tr.metrics.inbound.WithLabelValues("ok").Inc()
	tr.carry(ctx, t)
}
