package transport

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// makeTunnel reaches a peer: directly when it has an address and that answers soon, else through each relay in turn. An address in
// doubt, because it failed a moment ago, is tried only when there is no relay.
func (tr *Transport) makeTunnel(ctx context.Context, p *peer, direct string, doubt bool) (*passage, error) {
	ctx, cancel := context.WithTimeout(ctx, tr.cfg.OpenTimeout)
	defer cancel()
	if err := tr.ownCertificate(); err != nil {
		return nil, err
	}
	var failures []error
	if direct != "" && (!doubt || !tr.hasRelays()) {
		t, err := tr.dialDirect(ctx, p.id, direct)
		if err == nil {
			return t, nil
		}
		p.directDidFail()
		failures = append(failures, err)
	}
	links := tr.connectedLinks(ctx)
	for _, l := range links {
		t, err := tr.dialRelay(ctx, p.id, l)
		if err == nil {
			return t, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(links) == 0 && (len(failures) == 0 || tr.hasRelays()) {
		failures = append(failures, tr.noRelay())
	}
	return nil, summary(p.id, failures)
}

// dialDirect dials a peer without relay or proxy.
func (tr *Transport) dialDirect(ctx context.Context, id identity.ID, address string) (*passage, error) {
	const op = "transport.dialDirect"
	ctx, cancel := context.WithTimeout(ctx, tr.cfg.DirectTimeout)
	defer cancel()
	d := net.Dialer{KeepAlive: 15 * time.Second}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, dialFault(op, err, address)
	}
	t, err := tr.secure(ctx, c, identity.Only(id), true, viaDirect)
	if err != nil {
		return nil, tr.handshakeFault(op, err, short(id)+" at "+address)
	}
	return t, nil
}

// dialRelay asks a relay for a ticket and meets the peer there.
func (tr *Transport) dialRelay(ctx context.Context, id identity.ID, l *relayLink) (*passage, error) {
	const op = "transport.dialRelay"
	ticket, err := l.ask(ctx, id)
	if r, ok := errors.AsType[refusal](err); ok {
		return nil, refusalFault(op, r, id, l.relay.Address)
	}
	if err != nil {
		return nil, err
	}
	c, err := tr.present(ctx, l.relay.Address, ticket)
	if err != nil {
		return nil, meetingFault(op, err, id, l.relay.Address)
	}
	t, err := tr.secure(ctx, c, identity.Only(id), true, l.relay.Address)
	if err != nil {
		return nil, tr.handshakeFault(op, err, short(id)+" through the relay "+l.relay.Address)
	}
	return t, nil
}

// present makes a data connection to a relay and waits there for the other agent.
func (tr *Transport) present(ctx context.Context, address string, ticket tunnel.Ticket) (net.Conn, error) {
	c, err := tr.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	preface := tunnel.Preface{Kind: tunnel.Pair, Ticket: ticket}.Encode()
	_ = c.SetDeadline(time.Now().Add(meetTimeout))
	if _, err = c.Write(preface[:]); err == nil {
		err = tunnel.ReadStatus(c)
	}
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	return c, nil
}

// meetTimeout is somewhat longer than a ticket lives.
const meetTimeout = 11 * time.Second

func refusalFault(op string, r refusal, id identity.ID, relay string) error {
	f := fault.Newf(op, r.Code.Kind(), "the relay %s refused to connect to %s: %s", relay, short(id), r.Message).Because(r)
	switch r.Code {
	case tunnel.RefuseAbsent:
		f = fault.Newf(op, r.Code.Kind(), "the agent %s is not connected to the relay %s", short(id), relay).Because(r).
			Advise("start that agent, or look into its log for why it cannot reach the relay")
	case tunnel.RefuseOverloaded:
		f = f.Advise("it is tried again by itself; if it stays so, add a relay")
	default:
	}
	return f
}

func meetingFault(op string, err error, id identity.ID, relay string) error {
	s, ok := errors.AsType[tunnel.Status](err)
	switch {
	case !ok:
		return err
	case s == tunnel.StatusDeclined:
		return fault.Newf(op, fault.Denied, "the agent %s takes no connection from this agent", short(id)).Because(err).
			Advise("its plan knows no approved connection from this network (yet): look at the connection's state, and whether that agent reaches its control plane")
	case s == tunnel.StatusTimeout:
		return fault.Newf(op, fault.Timeout, "the agent %s was called through the relay %s and did not come", short(id), relay).Because(err).
			Advise("look into that agent's log: it may be unable to open connections to the relay")
	}
	return fault.Newf(op, s.Kind(), "the relay %s did not connect us to %s: %s", relay, short(id), s.Error()).Because(err)
}

func (tr *Transport) hasRelays() bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.links) > 0
}

// noRelay says why there is no relay to try.
func (tr *Transport) noRelay() error {
	const op = "transport.Open"
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.links) == 0 {
		return fault.New(op, fault.Unavailable, "no relay is named by what the control plane said").
			Advise("give the deployment a relay, or the provider's agent a direct address that this one can reach")
	}
	var why []string
	var last error
	for _, l := range tr.links {
		words := "relay " + l.relay.Address + " is not connected"
		if err := l.lastError(); err != nil {
			last = err
			words += " (" + fault.Message(err) + ")"
		}
		why = append(why, words)
	}
	f := fault.New(op, fault.Unavailable, strings.Join(why, "; ")).Because(last)
	return f.Advise("%s", orElse(fault.Next(last), "it is tried again by itself; check that this machine may connect to that address"))
}

// summary makes one fault of all that was tried; the last one counts for kind and advice.
func summary(id identity.ID, failures []error) error {
	last := failures[len(failures)-1]
	words := make([]string, len(failures))
	for i, err := range failures {
		words[i] = fault.Message(err)
	}
	f := fault.Newf("transport.Open", fault.KindOf(last), "no tunnel to %s: %s", short(id), strings.Join(words, "; ")).Because(errors.Join(failures...))
	return f.Advise("%s", fault.Next(last))
}
