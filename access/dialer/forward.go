package dialer

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Session is one connection of a listener that is open now.
type Session struct {
	Grant    string
	Target   string         // ot/plant-7/press-4-rdp
	Client   netip.AddrPort // who connected to the listener; the zero value when it has no such address
	Since    time.Time
	Sent     uint64 // bytes from the client
	Received uint64 // bytes to it
}

// carried is a Session as long as it is one.
type carried struct {
	session Session
	joined  *flow.Joined
}

// Sessions lists what the listeners have open, the oldest first.
func (d *Dialer) Sessions() []Session {
	d.mu.Lock()
	open := make([]*carried, 0, len(d.sessions))
	for c := range d.sessions {
		open = append(open, c)
	}
	d.mu.Unlock()
	list := make([]Session, 0, len(open))
	for _, c := range open {
		s := c.session
		s.Received, s.Sent = c.joined.Passed()
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Session) int {
		return cmp.Or(a.Since.Compare(b.Since), a.Client.Compare(b.Client))
	})
	return list
}

// Forward takes every connection that l accepts into the target of a grant, many at once, until ctx ends, which is no fault, or the grant
// does, which is one, of kind Expired or Denied. It closes l and returns when all its connections have ended. tell, which may be nil, is
// told what stands in the way of connections, once for as long as it is the same.
func (d *Dialer) Forward(ctx context.Context, l net.Listener, grant string, tell func(error)) error {
	defer l.Close()
	if _, err := d.grant(ctx, grant); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	f := &forwarding{d: d, grant: grant, tell: tell, end: end}
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { f.watch(ctx) })
	err := d.serve(ctx, l, f.connection, f.trouble)
	end(nil)
	if over, ok := errors.AsType[*grantOver](context.Cause(ctx)); ok {
		return over.why
	}
	return err
}

// grantOver ends a forwarding.
type grantOver struct{ why error }

func (g *grantOver) Error() string { return g.why.Error() }

type forwarding struct {
	d     *Dialer
	grant string
	tell  func(error)
	end   context.CancelCauseFunc

	mu    sync.Mutex // guards the fields below
	told  string     // the trouble the user knows of
	asked time.Time  // when the control plane was last asked what has become of the grant
}

// watch ends the forwarding when the grant is over, which a pass says, or its time.
func (f *forwarding) watch(ctx context.Context) {
	d := f.d
	for {
		d.mu.Lock()
		p, renewed := d.pass, d.renewed
		d.mu.Unlock()
		g, ok := p.Grant(f.grant)
		if !ok {
			f.end(&grantOver{gone(f.grant)})
			return
		}
		now := d.clk.Now()
		until, open := g.Open(now)
		if !open { // it begins later, or is over
			until = g.Until
			if now.Before(g.From) {
				until = g.From
			}
		}
		due, stop := d.clk.After(max(until.Sub(now), time.Second))
		select {
		case <-renewed:
			stop()
		case <-ctx.Done():
			stop()
			return
		case <-due:
			if why := f.lapsed(ctx, g); why != nil {
				if ctx.Err() == nil {
					f.end(&grantOver{why})
				}
				return
			}
		}
	}
}

// lapsed says why a grant whose time has come is over; nil when it was extended, or has just begun.
func (f *forwarding) lapsed(ctx context.Context, g PassGrant) error {
	const op = "dialer.Forward"
	if _, open := g.Open(f.d.clk.Now()); open {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	if p, err := f.d.Renew(ctx); err == nil {
		if now, ok := p.Grant(g.ID); ok {
			if _, open := now.Open(f.d.clk.Now()); open {
				return nil
			}
			g = now
		}
	}
	return ended(op, g, f.d.clk.Now())
}

// renewTimeout is how long a grant's end waits to hear that it was extended.
const renewTimeout = 10 * time.Second

// connection is the life of one.
func (f *forwarding) connection(ctx context.Context, c net.Conn) {
	d := f.d
	s, err := d.open(ctx, f.grant, addressOf(c))
	if err != nil {
		if ctx.Err() == nil { // told first: a program that sees its connection end may end, too
			f.trouble(err)
		}
		abort(c)
		if ctx.Err() == nil {
			f.ask(ctx, err)
		}
		return
	}
	f.mu.Lock()
	f.told = ""
	f.mu.Unlock()
	if err := d.cut("dialer.Forward", f.grant, d.carry(ctx, c, s, f.grant)); err != nil && ctx.Err() == nil {
		f.trouble(err)
		f.ask(ctx, err)
	}
}

// trouble tells what stands in the way, unless that is known.
func (f *forwarding) trouble(err error) {
	words := fault.Message(err)
	f.mu.Lock()
	known := f.told == words
	f.told = words
	f.mu.Unlock()
	if !known && f.tell != nil {
		f.tell(err)
	}
}

// askEvery keeps programs that connect again and again from asking the control plane as often.
const askEvery = 10 * time.Second

// ask looks what has become of a grant that let nobody in; watch draws the conclusion.
func (f *forwarding) ask(ctx context.Context, err error) {
	switch fault.KindOf(err) {
	case fault.Denied, fault.Expired:
	default:
		return
	}
	now := f.d.clk.Now()
	f.mu.Lock()
	early := !f.asked.IsZero() && now.Sub(f.asked) < askEvery
	if !early {
		f.asked = now
	}
	f.mu.Unlock()
	if early {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	if _, err := f.d.Renew(ctx); err != nil {
		f.d.log.Info("what became of the grant is not known", "grant", f.grant, "err", err)
	}
}

// carry passes bytes between a connection and a stream until both have ended; it returns the reset of the other side, if that was the end.
func (d *Dialer) carry(ctx context.Context, c net.Conn, s *mux.Stream, grant string) *mux.ResetError {
	session := &carried{joined: flow.Join(s, c, d.clk, nil), session: Session{Grant: grant, Client: addressOf(c), Since: d.clk.Now()}}
	d.mu.Lock()
	if g, ok := d.pass.Grant(grant); ok {
		session.session.Target = g.Target
	}
	d.sessions[session] = struct{}{}
	d.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { session.joined.Cut(tunnel.ResetShuttingDown, "the person's program has ended") })
	_, reset := session.joined.Carry()
	stop()
	d.mu.Lock()
	delete(d.sessions, session)
	d.mu.Unlock()
	return reset
}

// serve accepts until ctx ends, and returns when all connections have ended. A listener that broke is a fault.
func (d *Dialer) serve(ctx context.Context, l net.Listener, handle func(context.Context, net.Conn), trouble func(error)) error {
	const op = "dialer.serve"
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	places := make(chan struct{}, d.cfg.MaxConnections)
	pause := backoff.Backoff{Base: 10 * time.Millisecond, Max: time.Second}
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fault.Wrap(op, fault.Unavailable, err, "the listener was closed")
		case err != nil: // out of descriptors, most likely
			trouble(fault.Wrap(op, fault.Exhausted, err, "no more connections can be taken: "+err.Error()))
			pause.Wait(ctx, d.clk)
			continue
		}
		pause.Reset()
		select {
		case places <- struct{}{}:
			all.Go(func() {
				defer func() { <-places }()
				handle(ctx, c)
			})
		default:
			trouble(fault.Newf(op, fault.Exhausted, "%s has %d connections open and takes no more", l.Addr(), d.cfg.MaxConnections))
			abort(c)
		}
	}
}

func gone(grant string) error {
	return fault.New("dialer.Forward", fault.Denied, "the grant "+grant+" is over: it has ended or was revoked").
		Advise("see what became of it: isthmus access show %s", grant)
}

// addressOf is who is at the other end of a connection that a listener took.
func addressOf(c net.Conn) netip.AddrPort {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// abort closes a connection so that its peer sees a reset and not an end of data.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
