package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// session is the signalling connection of one agent, or of one program of a person. The visitor's goroutine reads, a second one writes what is queued.
type session struct {
	id    identity.ID
	from  string
	since time.Time
	conn  net.Conn
	out   chan tunnel.Signal
}

// send queues a frame; false when the agent takes too long to read those before it.
func (s *session) send(f tunnel.Signal) bool {
	select {
	case s.out <- f:
		return true
	default:
		return false
	}
}

// serveAgent ends the TLS of an agent or a person and answers what is asked until it leaves, is replaced, falls silent, or its certificate
// lapses.
func (r *Relay) serveAgent(ctx context.Context, c *replay, known func()) {
	_ = c.SetDeadline(time.Now().Add(r.cfg.HandshakeTimeout))
	conf := r.creds.ServerTLS(identity.AnyCaller(r.creds.ID().TrustDomain()), tunnel.ALPNRelay)
	conf.SessionTicketsDisabled = true // every connection shows its certificate
	conn := tls.Server(c, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		r.metrics.handshakes.WithLabelValues("refused").Inc()
		r.log.Info("relay refused an agent", "from", c.RemoteAddr(), "err", err)
		return
	}
	cs := conn.ConnectionState()
	id, err := identity.PeerID(cs)
	if err != nil {
		return
	}
	known()
	r.metrics.handshakes.WithLabelValues("ok").Inc()
	_ = conn.SetDeadline(time.Time{})

	s := &session{id: id, from: c.RemoteAddr().String(), since: r.clk.Now(), conn: c.Conn, out: make(chan tunnel.Signal, r.cfg.MaxAgentQueue)}
	what := "agent"
	asks, leave := r.register(s)
	if asks == nil {
		return
	}
	if _, ok := id.Person(); ok {
		what = "person"
	}
	r.log.Info(what+" connected", what, id, "from", s.from)
	gone := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { s.write(conn, gone) })
	err = r.answer(s, conn, asks, cs.PeerCertificates[0].NotAfter)
	leave()
	close(gone)
	_ = c.Close()
	writer.Wait()
	r.log.Info(what+" left", what, id, "from", s.from, "why", err)
}

// allowance bounds what somebody may ask.
type allowance interface{ take(now time.Time) bool }

// register enters a connection among those of agents or of people. It returns what it may ask, nil when it may not stay, and what takes
// it out again.
func (r *Relay) register(s *session) (asks allowance, leave func()) {
	fresh := func() *bucket { return newBucket(r.cfg.AsksPerSecond, r.cfg.AskBurst, r.clk.Now()) }
	if who, ok := s.id.Person(); ok {
		p, why := r.persons.put(s, who, fresh)
		if p == nil {
			r.metrics.handshakes.WithLabelValues(why).Inc()
			r.log.Info("relay refused a person", "person", s.id, "from", s.from, "why", why)
			return nil, nil
		}
		return p, func() { r.persons.remove(s, who) }
	}
	old, ok := r.agents.put(s)
	if !ok {
		r.metrics.handshakes.WithLabelValues("revoked").Inc()
		r.log.Info("relay refused an agent that was deleted", "agent", s.id, "from", s.from)
		return nil, nil
	}
	if old != nil {
		r.replaced.Add(1)
		r.log.Info("relay replaced an agent's connection by a newer one", "agent", s.id, "from", s.from, "was", old.from)
		_ = old.conn.Close()
	}
	return fresh(), func() { r.agents.remove(s) }
}

// write sends what is queued, several frames in one record when several wait. It closes the connection when it cannot.
func (s *session) write(conn *tls.Conn, gone <-chan struct{}) {
	var buf []byte
	for {
		buf = buf[:0]
		select {
		case f := <-s.out:
			buf, _ = tunnel.AppendSignal(buf, f) // ids came from certificates and cannot fail
		case <-gone:
			return
		}
		for more := true; more && len(buf) < 8<<10; {
			select {
			case f := <-s.out:
				buf, _ = tunnel.AppendSignal(buf, f)
			default:
				more = false
			}
		}
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write(buf); err != nil {
			_ = s.conn.Close()
			return
		}
	}
}

// answer reads an agent's frames and returns why it stopped.
func (r *Relay) answer(s *session, conn *tls.Conn, asks allowance, lapses time.Time) error {
	const op = "relay.answer"
	in := bufio.NewReaderSize(conn, 4<<10)
	for {
		deadline := time.Now().Add(r.cfg.SilenceTimeout)
		if lapses.Before(deadline) {
			deadline = lapses
		}
		_ = conn.SetReadDeadline(deadline)
		f, err := tunnel.ReadSignal(in)
		if err != nil {
			ne, timeout := errors.AsType[net.Error](err)
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case !timeout || !ne.Timeout():
				return err
			case deadline.Equal(lapses):
				return fault.New(op, fault.Expired, "the agent's certificate has lapsed")
			}
			return fault.New(op, fault.Timeout, "the agent has fallen silent")
		}
		var reply tunnel.Signal
		switch f := f.(type) {
		case tunnel.Ask:
			reply = r.ask(s, asks, f)
		case tunnel.Ping:
			reply = tunnel.Pong(f)
		case tunnel.Pong:
		case tunnel.Decline:
			r.tickets.decline(f.Ticket, s.id)
		default:
			return fault.Newf(op, fault.Invalid, "the agent sent a frame that only relays send (%T)", f)
		}
		if reply != nil && !s.send(reply) {
			return fault.New(op, fault.Exhausted, "the agent does not read its answers")
		}
	}
}

// ask answers one question for a ticket, and offers the ticket to the agent asked for.
func (r *Relay) ask(s *session, asks allowance, a tunnel.Ask) tunnel.Signal {
	refuse := func(code tunnel.RefuseCode, message string) tunnel.Signal {
		r.asksRefused.Add(1)
		r.metrics.asks.WithLabelValues(code.String()).Inc()
		return tunnel.Refuse{Request: a.Request, Code: code, Message: message}
	}
	if !asks.take(r.clk.Now()) {
		return refuse(tunnel.RefuseOverloaded, "this agent asks too often")
	}
	target := r.agents.find(identity.ID(a.Target)) // people are not among them: nobody dials a person
	if target == nil || (r.cfg.Allow != nil && !r.cfg.Allow(s.id, target.id)) {
		return refuse(tunnel.RefuseAbsent, "the agent is not connected to this relay")
	}
	t, ok := r.tickets.issue(s.id, target.id)
	if !ok {
		return refuse(tunnel.RefuseOverloaded, "too many tickets are out")
	}
	if !target.send(tunnel.Offer{Ticket: t, From: string(s.id)}) {
		r.tickets.decline(t, target.id)
		return refuse(tunnel.RefuseOverloaded, "the agent has too many offers waiting")
	}
	r.metrics.asks.WithLabelValues("issued").Inc()
	return tunnel.Issued{Request: a.Request, Ticket: t}
}
