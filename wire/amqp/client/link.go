package client

import (
	"context"
	"fmt"
	"math"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// link is what both kinds of links have.
type link struct {
	s         *Session
	attach    *amqp.Attach
	address   string // of the peer's end
	peer      *amqp.Attach
	handle    uint32 // the peer's
	changed   bell   // of credit, or of its state
	news      bell   // messages have come
	taken     bell   // messages were taken
	err       error
	detaching bool // our detach is written

	credit uint32
	count  uint32 // deliveries

	receiver *Receiver // nil for those we send on
}

// Peer is the peer's attach.
func (l *link) Peer() *amqp.Attach { return l.peer }

// open attaches the link and waits for the answer.
func (s *Session) open(ctx context.Context, l *link) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	l.s = s
	for s.links[l.attach.Handle] != nil {
		l.attach.Handle++
	}
	if l.attach.Handle > min(maxHandle, s.peer.HandleMax.Or(math.MaxUint32)) {
		return fault.Newf("amqp.Attach", fault.Exhausted, "a session with %s has %d links, and can have no more", c.name(), len(s.links))
	}
	c.links++
	if l.attach.Name == "" {
		l.attach.Name = fmt.Sprintf("%s-%d", c.cfg.ContainerID, c.links)
	}
	s.links[l.attach.Handle] = l
	c.put(s.channel, l.attach)
	err := c.until(ctx, &l.changed, func() (bool, error) { return l.peer != nil && l.there(), l.err })
	if err != nil {
		l.detach()
	}
	return err
}

// there tells whether the peer has made its end: a link that it refuses is attached without one, and then detached (2.6.3).
func (l *link) there() bool {
	if l.attach.Role == amqp.RoleSender {
		return l.peer.Target != nil
	}
	return l.peer.Source != nil
}

// attached is the peer's attach.
func (s *Session) attached(p *amqp.Attach) error {
	for _, l := range s.links {
		if l.peer == nil && l.attach.Name == p.Name && l.attach.Role != p.Role {
			if s.byPeer[p.Handle] != nil {
				return against(amqp.ConditionHandleInUse, "the handle %d is in use", p.Handle)
			}
			l.peer, l.handle, s.byPeer[p.Handle] = p, p.Handle, l
			if l.receiver != nil {
				l.count = p.InitialDeliveryCount.Or(0)
				if l.there() && !l.detaching {
					l.receiver.grant()
				}
			}
			l.changed.ring()
			return nil
		}
	}
	return against(amqp.ConditionErrantLink, "attach answers no link")
}

// detached is the peer's detach.
func (s *Session) detached(p *amqp.Detach) error {
	l := s.byPeer[p.Handle]
	if l == nil {
		return against(amqp.ConditionUnattachedHandle, "there is no link with handle %d", p.Handle)
	}
	delete(s.byPeer, p.Handle)
	delete(s.links, l.attach.Handle)
	l.detach()
	what := "the link to " + l.address
	l.over(s.c.told(what, p.Error))
	for id, d := range s.pending {
		if d.l == l {
			delete(s.pending, id)
			s.c.later = append(s.c.later, func() { d.done(l.err) })
		}
	}
	return nil
}

// detach says that the link is over.
func (l *link) detach() {
	if !l.detaching && l.s.err == nil {
		l.detaching = true
		l.s.c.put(l.s.channel, &amqp.Detach{Handle: l.attach.Handle, Closed: true})
		l.taken.ring()
	}
}

// over tells who waits for something of the link.
func (l *link) over(err error) {
	if l.err == nil {
		l.err = err
	}
	l.changed.ring()
	l.news.ring()
	l.taken.ring()
}

// close detaches and waits for the peer to do so.
func (l *link) close(ctx context.Context) {
	c := l.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	l.detach()
	if l.receiver != nil {
		l.receiver.forget()
	}
	_ = c.until(ctx, &l.changed, func() (bool, error) { return l.err != nil, nil })
	l.over(fault.Newf("amqp.Link", fault.Unavailable, "the link to %s is closed", l.address))
}
