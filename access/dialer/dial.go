package dialer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Conn is a connection into a target. Its CloseWrite says that no more will be written, and lets the other direction go on.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Dial opens a connection into the target of a grant and waits until it is there. A fault has the words of whoever refused: kind Denied
// when the person may not come in, Expired once the grant has ended, Unavailable or Timeout when there is no way or the target does not
// answer. It needs Run.
func (d *Dialer) Dial(ctx context.Context, grant string) (Conn, error) {
	s, err := d.open(ctx, grant, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// port is that of flows to targets, which have none.
const port = 1

// open makes a stream into a target, and tries again for as long as another attempt may find what this one did not: a relay that comes
// back, an agent that restarts, a plan that is on its way.
func (d *Dialer) open(ctx context.Context, grant string, client netip.AddrPort) (*mux.Stream, error) {
	began := d.clk.Now()
	pause := backoff.Backoff{Base: 100 * time.Millisecond, Max: time.Second}
	for {
		s, again, err := d.attempt(ctx, grant, client)
		if err == nil || ctx.Err() != nil {
			return s, err
		}
		spent := d.clk.Now().Sub(began)
		switch again {
		case noMore:
			return nil, err
		case untilSettled:
			if spent >= d.cfg.Settle {
				return nil, err
			}
		case untilReached:
			if spent >= d.cfg.Patience {
				return nil, err
			}
		}
		if !pause.Wait(ctx, d.clk) {
			return nil, err
		}
	}
}

// another is what a further attempt is good for.
type another uint8

const (
	noMore       another = iota
	untilSettled         // the grant may not have come to those who lead there
	untilReached         // the way may come back
)

func (d *Dialer) attempt(ctx context.Context, grant string, client netip.AddrPort) (*mux.Stream, another, error) {
	const op = "dialer.Dial"
	g, err := d.grant(ctx, grant)
	if err != nil {
		return nil, noMore, err
	}
	if len(g.Providers) == 0 {
		return nil, noMore, fault.Newf(op, fault.Unavailable, "nothing leads to %s: the agent that the target names has not joined", g.Target).
			Advise("whoever owns the target can see why: isthmus describe target %s", g.Target)
	}
	way, err := d.transport(ctx)
	if err != nil {
		return nil, noMore, err
	}
	s, err := way.Open(ctx, g.Providers, tunnel.Flow{Endpoint: g.ID, Port: port, Client: client})
	if err != nil {
		again, err := d.noWay(op, g, err)
		return nil, again, err
	}
	waiting, cancel := context.WithTimeout(ctx, d.cfg.AcceptTimeout)
	defer cancel()
	if err = s.WaitAccepted(waiting); err == nil {
		return s, noMore, nil
	}
	s.Reset(tunnel.ResetTimeout, "the person's program gave up")
	reset, refused := errors.AsType[*mux.ResetError](err)
	switch {
	case refused && reset.Remote:
		again := noMore
		if reset.Code == tunnel.ResetShuttingDown {
			again = untilReached
		} else if reset.Code == tunnel.ResetRefused && d.clk.Now().Sub(g.From) < youth {
			again = untilSettled
		}
		return nil, again, d.refusal(op, g, reset)
	case waiting.Err() != nil:
		return nil, noMore, fault.Newf(op, fault.Timeout, "%s has not answered in %v", g.Target, d.cfg.AcceptTimeout).Because(err)
	}
	return nil, untilReached, fault.Newf(op, fault.Unavailable, "the way to %s was lost", g.Target).Because(err)
}

// youth is how long after its beginning a grant may be unknown to those who lead to its target.
const youth = 15 * time.Second

// grant finds a grant in the pass, or in a fresh one when this one does not know it.
func (d *Dialer) grant(ctx context.Context, id string) (PassGrant, error) {
	p, err := d.Pass(ctx)
	if err != nil {
		return PassGrant{}, err
	}
	if g, ok := p.Grant(id); ok {
		return g, nil
	}
	if p, err = d.Renew(ctx); err != nil {
		return PassGrant{}, err
	}
	if g, ok := p.Grant(id); ok {
		return g, nil
	}
	return PassGrant{}, fault.New("dialer.Dial", fault.Denied, "the grant "+id+" lets nobody in: it has ended, was revoked, or is another person's").
		Advise("see what became of it: isthmus access show %s", id)
}

// refusal is what the other side said, as a fault.
func (d *Dialer) refusal(op string, g PassGrant, reset *mux.ResetError) error {
	f := reset.Fault(op)
	if reset.Message == "" {
		f.Message = g.Target + " was refused: " + reset.Code.String()
	}
	if f.Kind != fault.Denied {
		return f
	}
	if d.past(g) {
		f.Kind = fault.Expired
	}
	return f.Advise("see why: isthmus access why %s", g.Target)
}

// cut is why a connection ended before its time, as a fault; nil when that was nobody's decision.
func (d *Dialer) cut(op, grant string, reset *mux.ResetError) error {
	if reset == nil || !reset.Remote || reset.Code == tunnel.ResetPeer {
		return nil
	}
	d.mu.Lock()
	g, ok := d.pass.Grant(grant)
	d.mu.Unlock()
	if !ok {
		return reset.Fault(op)
	}
	return d.refusal(op, g, reset)
}

// noWay says why there is no tunnel to those who lead to a target.
func (d *Dialer) noWay(op string, g PassGrant, err error) (another, error) {
	if s, ok := errors.AsType[tunnel.Status](err); ok && s == tunnel.StatusDeclined {
		if d.past(g) {
			return noMore, ended(op, g, d.clk.Now()).Because(err)
		}
		return untilSettled, fault.Newf(op, fault.Denied, "nobody lets you into %s any more, or yet: the grant is not in force there", g.Target).Because(err).
			Advise("see what became of it: isthmus access show %s; if it is in force, too many of your programs may be connected there: end some", g.ID)
	}
	f := fault.Newf(op, fault.KindOf(err), "there is no way to %s: %s", g.Target, fault.Message(err)).Because(err).Advise("%s", fault.Next(err))
	switch f.Kind {
	case fault.Unavailable, fault.Timeout, fault.NotFound, fault.Exhausted:
		return untilReached, f
	default:
		return noMore, f
	}
}

// past tells whether a grant that has begun lets nobody in by this machine's clock, which decides about words and nothing else.
func (d *Dialer) past(g PassGrant) bool {
	now := d.clk.Now()
	_, open := g.Open(now)
	return !open && !now.Before(g.From)
}

func ended(op string, g PassGrant, now time.Time) *fault.Error {
	if g.Hours != nil && now.Before(g.Until) {
		return fault.Newf(op, fault.Expired, "the working hours of the grant for %s are over", g.Target).
			Advise("it opens again with them; for now, ask for another: isthmus access request %s --reason TEXT", g.Target)
	}
	return fault.Newf(op, fault.Expired, "the grant for %s ended at %s", g.Target, moment(g.Until)).
		Advise("ask for another: isthmus access request %s --reason TEXT", g.Target)
}
