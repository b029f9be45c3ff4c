package amqpdoor

import (
	"context"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// finish marks the identity as over; false when it was already. Whoever was first goes on with leave.
func (p *peer) finish(c hub.Cause) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	p.over, p.cause = true, c
	close(p.gone)
	return true
}

// end gives the identity back, for a reason in words.
func (p *peer) end(why string) {
	if p.finish(0) {
		p.leave(why)
	}
}

// leave is the end of an identity that is over.
func (p *peer) leave(why string) {
	v := p.talk
	defer v.busy.Done()
	v.forget(p)
	p.mu.Lock()
	s, term := p.session, p.term
	p.mu.Unlock()
	if term != nil {
		v.door.expiry.Remove(term)
	}
	p.reports.close()
	if s == nil {
		return // who is connecting will see it
	}
	s.Leave(why)
	s.End()
	v.door.log.Debug("hub: disconnected", "hub", v.hub.Name(), "device", p.name.String(), "door", v.conn.Door, "why", why)
}

// cut is called by the hub when it ends the session.
func (p *peer) cut(c hub.Cause) {
	switch c {
	case hub.PublicClosed, hub.HubGone, hub.LinkClosed:
		p.talk.closes(c) // nobody of this connection may stay
	default:
	}
	p.sever(c)
}

// sever detaches the links of the identity and gives it back, which may take a while: nobody waits for that here, since the hub calls cut
// from wherever it happens to be.
func (p *peer) sever(c hub.Cause) {
	if !p.finish(c) {
		return
	}
	p.mu.Lock()
	links := make([]*engine.Link, 0, len(p.links))
	for l, open := range p.links {
		if open { // who opens one now will see
			links = append(links, l)
		}
	}
	p.mu.Unlock()
	why := p.severed(c)
	for _, l := range links {
		l.Detach(why)
	}
	p.talk.busy.Go(func() { p.leave(c.String()) })
}

// lapsed is called when the claim ends that the session stands on. Another one may hold it.
func (p *peer) lapsed() {
	p.start(func() {
		for _, c := range p.talk.claims.of(p.name) {
			if p.stand(p.talk.engine.Context(), c) == nil {
				return
			}
		}
		p.talk.door.log.Debug("hub: token ended", "hub", p.talk.hub.Name(), "device", p.name.String(), "code", code.Unauthorized.Number)
		p.sever(hub.TokenExpired)
	})
}

// renew is called when a token was put for a path.
func (p *peer) renew(ctx context.Context, path string) {
	p.mu.Lock()
	mine := p.session != nil && p.path == path && !p.over
	p.mu.Unlock()
	if !mine {
		return
	}
	for _, c := range p.talk.claims.of(p.name) {
		if c.path != path {
			continue
		}
		if err := p.stand(ctx, c); err != nil {
			p.talk.door.log.Debug("hub: a session was not renewed", "device", p.name.String(), "err", err)
		}
	}
}

// stand lets the session stand on a claim from now on.
func (p *peer) stand(ctx context.Context, c claim) error {
	ends, err := p.session.Renew(ctx, hub.Credentials{Token: c.text})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.path = c.path
	if !p.over && p.term != nil {
		p.talk.door.expiry.Move(p.term, ends)
	}
	return nil
}
