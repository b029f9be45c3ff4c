package client

import (
	"context"
	"math"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

const (
	window    = 5000 // transfer frames a session has on their way to us
	maxHandle = 1023
)

// Session is the frame around links; it lives as long as the connection, unless the peer ends it.
type Session struct {
	c       *Conn
	channel uint16
	changed bell
	peer    *amqp.Begin
	err     error

	nextDelivery uint32
	nextOut      uint32
	outWindow    uint32 // transfer frames the peer still takes
	nextIn       uint32
	inWindow     uint32 // transfer frames we said we still take

	links   map[uint32]*link // by our handle
	byPeer  map[uint32]*link
	pending map[uint32]delivery // ours that have no outcome, by delivery-id
}

// delivery is a message of ours that waits for its outcome.
type delivery struct {
	l    *link
	done func(error)
}

// Session begins a session.
func (c *Conn) Session(ctx context.Context) (*Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	s := &Session{c: c, inWindow: window, links: map[uint32]*link{}, byPeer: map[uint32]*link{}, pending: map[uint32]delivery{}}
	for c.sessions[s.channel] != nil {
		s.channel++
	}
	if s.channel > min(maxChannel, c.peer.ChannelMax.Or(math.MaxUint16)) {
		return nil, fault.Newf("amqp.Session", fault.Exhausted, "the connection to %s has %d sessions, and can have no more", c.name(), len(c.sessions))
	}
	c.sessions[s.channel] = s
	c.put(s.channel, &amqp.Begin{IncomingWindow: window, OutgoingWindow: window, HandleMax: amqp.Some(uint32(maxHandle))})
	err := c.until(ctx, &s.changed, func() (bool, error) { return s.peer != nil, s.err })
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *Conn) begun(channel uint16, p *amqp.Begin) error {
	s := c.sessions[p.RemoteChannel.Value]
	if !p.RemoteChannel.Set || s == nil || s.peer != nil || c.byPeer[channel] != nil {
		return against(amqp.ConditionNotAllowed, "begin on channel %d answers no session", channel)
	}
	s.peer, c.byPeer[channel] = p, s
	s.outWindow, s.nextIn = p.IncomingWindow, p.NextOutgoingID
	s.changed.ring()
	return nil
}

// ended is the peer's end.
func (s *Session) ended(channel uint16, p *amqp.End) {
	s.c.put(s.channel, &amqp.End{})
	delete(s.c.byPeer, channel)
	delete(s.c.sessions, s.channel)
	s.over(s.c.told("the session", p.Error))
}

// over tells all who wait for something of the session.
func (s *Session) over(err error) {
	s.err = err
	for _, l := range s.links {
		l.over(err)
	}
	s.links, s.byPeer = map[uint32]*link{}, map[uint32]*link{}
	for id, d := range s.pending {
		delete(s.pending, id)
		s.c.later = append(s.c.later, func() { d.done(err) })
	}
	s.changed.ring()
}

// release lets go on who is held up.
func (s *Session) release() {
	for _, l := range s.links {
		l.taken.ring()
	}
}

// flowed keeps the peer's window (2.5.6) and a link's credit (2.6.7).
func (s *Session) flowed(p *amqp.Flow) error {
	s.outWindow = less(p.IncomingWindow, s.nextOut-p.NextIncomingID.Or(0))
	var l *link
	if p.Handle.Set {
		if l = s.byPeer[p.Handle.Value]; l == nil {
			return against(amqp.ConditionUnattachedHandle, "there is no link with handle %d", p.Handle.Value)
		}
		switch {
		case l.attach.Role == amqp.RoleSender && p.LinkCredit.Set:
			l.credit = less(p.LinkCredit.Value, l.count-p.DeliveryCount.Or(0))
			if p.Drain {
				l.count += l.credit
				l.credit = 0
				s.tell(l)
			}
		case l.attach.Role == amqp.RoleReceiver && p.DeliveryCount.Set:
			if gone := p.DeliveryCount.Value - l.count; gone <= l.credit { // it gave credit back
				l.credit -= gone
				l.count = p.DeliveryCount.Value
			}
		}
		l.changed.ring()
	}
	for _, other := range s.links {
		if other.attach.Role == amqp.RoleSender { // the window may be what they wait for
			other.changed.ring()
		}
	}
	if p.Echo {
		s.tell(l)
	}
	return nil
}

// less is what is left of a window when so many are on their way.
func less(window, used uint32) uint32 {
	if used >= window {
		return 0
	}
	return window - used
}

// tell writes a flow of the session, and of a link unless it is nil.
func (s *Session) tell(l *link) {
	if s.c.closing || s.c.err != nil {
		return
	}
	f := amqp.Flow{
		NextIncomingID: amqp.Some(s.nextIn), IncomingWindow: s.inWindow, NextOutgoingID: s.nextOut, OutgoingWindow: window,
	}
	if l != nil {
		f.Handle, f.DeliveryCount, f.LinkCredit = amqp.Some(l.attach.Handle), amqp.Some(l.count), amqp.Some(l.credit)
	}
	s.c.out = amqp.AppendFlow(s.c.out, s.channel, &f)
	s.c.more.ring()
}

// disposed gives outcomes to what the peer has settled, or says it will.
func (s *Session) disposed(p *amqp.Disposition) {
	if p.Role != amqp.RoleReceiver {
		return
	}
	if _, partly := p.State.(amqp.Received); !p.Settled && (p.State == nil || partly) {
		return
	}
	last := p.Last.Or(p.First)
	if span := last - p.First; int64(span) < int64(len(s.pending)) {
		for id := p.First; ; id++ {
			s.settle(id, p.State)
			if id == last {
				break
			}
		}
	} else {
		for id := range s.pending { // its range is wider than what there is
			if id-p.First <= span {
				s.settle(id, p.State)
			}
		}
	}
	if !p.Settled {
		s.c.out = amqp.AppendDisposition(s.c.out, s.channel, &amqp.Disposition{Role: amqp.RoleSender, First: p.First, Last: amqp.Some(last), Settled: true})
		s.c.more.ring()
	}
}

func (s *Session) settle(id uint32, state amqp.State) {
	if d, ok := s.pending[id]; ok {
		delete(s.pending, id)
		err := s.c.refused(d.l.address, state)
		s.c.later = append(s.c.later, func() { d.done(err) })
	}
}
