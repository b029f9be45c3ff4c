package amqptest

import (
	"context"
	"errors"
	"fmt"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Session is one session of a Client.
type Session struct {
	c       *Client
	channel uint16
	peer    *amqp.Begin
	changed signal
	err     error
	ending  bool

	nextDelivery   uint32
	nextOutgoing   uint32
	remoteWindow   uint32 // transfers the peer still takes
	nextIncoming   uint32
	incomingWindow uint32 // transfers we have said we still take

	links   map[uint32]*link // by our handle
	byPeer  map[uint32]*link
	pending map[uint32]delivery // ours that are not settled, by delivery-id
}

// delivery is one of ours that waits for its outcome.
type delivery struct {
	l    *link
	done func(amqp.State)
}

// Session begins a session and waits for the answer.
func (c *Client) Session(ctx context.Context) (*Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &Session{
		c: c, incomingWindow: window,
		links: map[uint32]*link{}, byPeer: map[uint32]*link{}, pending: map[uint32]delivery{},
	}
	for c.sessions[s.channel] != nil {
		s.channel++
	}
	if c.err != nil {
		return nil, c.err
	}
	c.sessions[s.channel] = s
	c.sendLocked(s.channel, &amqp.Begin{IncomingWindow: window, OutgoingWindow: window}, nil)
	err := c.until(ctx, &s.changed, func() (bool, error) { return s.peer != nil, s.err })
	return s, err
}

// Peer is the peer's begin.
func (s *Session) Peer() *amqp.Begin { return s.peer }

// Err is nil while the session stands.
func (s *Session) Err() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.err
}

// End ends the session and its links, and waits for the peer's end.
func (s *Session) End(ctx context.Context) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.err == nil && !s.ending {
		s.ending = true
		s.c.sendLocked(s.channel, &amqp.End{}, nil)
	}
	err := s.c.until(ctx, &s.changed, func() (bool, error) { return s.err != nil, nil })
	if err == nil && !errors.Is(s.err, ErrClosed) {
		err = s.err
	}
	return err
}

// endLocked tells all links, and those who wait for an outcome.
func (s *Session) endLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	for _, l := range s.links {
		l.endLocked(err)
	}
	s.changed.wake()
}

// takeLocked takes one frame of the peer.
func (s *Session) takeLocked(f Frame) error {
	switch p := f.Performative.(type) {
	case *amqp.Attach:
		for _, l := range s.links {
			if l.peer == nil && l.err == nil && l.attach.Name == p.Name && l.attach.Role != p.Role {
				l.peer, l.peerHandle, s.byPeer[p.Handle] = p, p.Handle, l
				l.count = p.InitialDeliveryCount.Or(0)
				if l.attach.Role == amqp.RoleSender {
					l.count = l.attach.InitialDeliveryCount.Or(0)
				}
				l.changed.wake()
				return nil
			}
		}
		return fmt.Errorf("amqptest: there came %s, which answers no link of ours", f)
	case *amqp.Detach:
		l := s.byPeer[p.Handle]
		if l == nil {
			return fmt.Errorf("amqptest: there came %s, where no link is", f)
		}
		delete(s.byPeer, p.Handle)
		delete(s.links, l.attach.Handle)
		if !l.detaching {
			l.detaching = true
			s.c.sendLocked(s.channel, &amqp.Detach{Handle: l.attach.Handle, Closed: p.Closed}, nil)
		}
		if p.Error != nil {
			l.endLocked(p.Error)
		} else {
			l.endLocked(ErrClosed)
		}
	case *amqp.Flow:
		return s.flowLocked(f, p)
	case *amqp.Disposition:
		s.dispositionLocked(p)
	case *amqp.Transfer:
		return s.transferLocked(f, p)
	case *amqp.End:
		delete(s.c.byPeer, f.Channel)
		delete(s.c.sessions, s.channel)
		if !s.ending {
			s.ending = true
			s.c.sendLocked(s.channel, &amqp.End{}, nil)
		}
		if p.Error != nil {
			s.endLocked(p.Error)
		} else {
			s.endLocked(ErrClosed)
		}
	default:
		return fmt.Errorf("amqptest: there came %s", f)
	}
	return nil
}

// flowLocked keeps the peer's window (2.5.6) and a link's credit (2.6.7).
func (s *Session) flowLocked(f Frame, p *amqp.Flow) error {
	s.remoteWindow = p.NextIncomingID.Or(0) + p.IncomingWindow - s.nextOutgoing
	if p.Handle.Set {
		l := s.byPeer[p.Handle.Value]
		if l == nil {
			return fmt.Errorf("amqptest: there came %s, where no link is", f)
		}
		switch {
		case l.attach.Role == amqp.RoleSender && p.LinkCredit.Set:
			l.credit = p.DeliveryCount.Or(l.attach.InitialDeliveryCount.Or(0)) + p.LinkCredit.Value - l.count
			if p.Drain && l.credit > 0 {
				l.count += l.credit
				l.credit = 0
				s.linkFlowLocked(l, false)
			}
		case l.attach.Role == amqp.RoleReceiver && p.DeliveryCount.Set:
			l.credit -= p.DeliveryCount.Value - l.count // a drained sender gives credit back
			l.count = p.DeliveryCount.Value
		}
		l.changed.wake()
	}
	for _, l := range s.links {
		l.changed.wake() // the window may have been what they wait for
	}
	if p.Echo {
		s.linkFlowLocked(s.byPeer[p.Handle.Value], false)
	}
	return nil
}

// linkFlowLocked writes a flow of the session, and of a link unless it is nil.
func (s *Session) linkFlowLocked(l *link, drain bool) {
	f := amqp.Flow{
		NextIncomingID: amqp.Some(s.nextIncoming), IncomingWindow: s.incomingWindow,
		NextOutgoingID: s.nextOutgoing, OutgoingWindow: window,
	}
	if l != nil {
		f.Handle, f.DeliveryCount, f.LinkCredit = amqp.Some(l.attach.Handle), amqp.Some(l.count), amqp.Some(l.credit)
		f.Drain = drain
	}
	s.c.out = amqp.AppendFlow(s.c.out, s.channel, &f)
	s.c.more.wake()
}

// dispositionLocked settles what the peer has settled or given an outcome.
func (s *Session) dispositionLocked(p *amqp.Disposition) {
	if p.Role != amqp.RoleReceiver {
		return
	}
	if _, received := p.State.(amqp.Received); !p.Settled && (p.State == nil || received) {
		return
	}
	last := p.Last.Or(p.First)
	for id := p.First; int32(last-id) >= 0; id++ {
		if d, ok := s.pending[id]; ok {
			delete(s.pending, id)
			s.c.later = append(s.c.later, func() { d.done(p.State) })
		}
	}
	if !p.Settled {
		d := amqp.Disposition{Role: amqp.RoleSender, First: p.First, Last: amqp.Some(last), Settled: true}
		s.c.out = amqp.AppendDisposition(s.c.out, s.channel, &d)
		s.c.more.wake()
	}
}
