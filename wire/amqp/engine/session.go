package engine

import (
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

var zeroTime time.Time

// Session is one session of a connection. The connection's lock guards it.
type Session struct {
	conn    *Conn
	id      uint64
	remote  uint16           // the peer's channel
	channel uint16           // ours
	ended   bool             // our end is on its way; whatever comes is dropped, until the peer's
	links   map[uint32]*Link // by the peer's handle
	odd     bool             // some have another handle of ours
	handles uint32           // the highest the peer takes

	// What the peer sends.
	nextIncoming uint32 // transfer-id
	incoming     uint32 // transfers it may send before the next flow
	narrow       bool   // it is in the connection's list of those whose window is to be opened
	last         uint32 // delivery-id
	hasLast      bool

	// What we send.
	nextOutgoing  uint32
	outgoing      uint32 // transfers it takes before its next flow
	firstOutgoing uint32
	nextDelivery  uint32
	unsettled     ledger

	ranges    []span // dispositions to be written
	unflushed bool   // it is in the connection's list of those that have some
}

// ID tells sessions of one connection apart. It is never used again.
func (s *Session) ID() uint64 { return s.id }

// Conn is the session's connection.
func (s *Session) Conn() *Conn { return s.conn }

// session finds the session of a channel; nil when there is none, which has been told to the peer, or when it ends.
func (c *Conn) session(channel uint16) *Session {
	s := c.sessions[channel]
	if s == nil {
		c.fail(amqp.Errorf(amqp.ConditionIllegalState, "There is no session on channel %d.", channel))
		return nil
	}
	if s.ended {
		return nil
	}
	return s
}

// begin answers a begin (2.5.1).
func (c *Conn) begin(remote uint16, b *amqp.Begin) {
	cfg := &c.engine.cfg
	switch {
	case remote > cfg.ChannelMax:
		c.fail(amqp.Errorf(amqp.ConditionFramingError, "Channel %d is beyond channel-max, which is %d.", remote, cfg.ChannelMax))
		return
	case c.sessions[remote] != nil:
		c.fail(amqp.Errorf(amqp.ConditionIllegalState, "There is a session on channel %d.", remote))
		return
	case b.RemoteChannel.Set:
		c.fail(amqp.Errorf(amqp.ConditionIllegalState, "The begin answers one that was not sent."))
		return
	}
	channel, ok := c.freeChannel(remote)
	if !ok {
		c.fail(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "The peer's channel-max leaves no channel for the answer."))
		return
	}
	first := c.engine.first
	c.lastID++
	s := &Session{
		conn: c, id: c.lastID, remote: remote, channel: channel, handles: b.HandleMax.Or(1<<32 - 1),
		nextIncoming: b.NextOutgoingID, incoming: cfg.Window,
		nextOutgoing: first, firstOutgoing: first, nextDelivery: first, outgoing: b.IncomingWindow,
	}
	if c.sessions == nil {
		c.sessions = map[uint16]*Session{}
	}
	c.sessions[remote] = s
	c.engine.metrics.sessions.Inc()
	c.put(channel, &amqp.Begin{
		RemoteChannel: amqp.Some(remote), NextOutgoingID: s.nextOutgoing, IncomingWindow: cfg.Window, OutgoingWindow: cfg.Window,
		HandleMax: amqp.Some(cfg.HandleMax),
	})
	if c.live++; len(c.sessions) > 2*cfg.MaxSessions { // it does not listen
		c.fail(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "A connection has at most %d sessions.", cfg.MaxSessions))
	} else if c.live > cfg.MaxSessions {
		s.fail(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "A connection has at most %d sessions.", cfg.MaxSessions))
	}
}

// freeChannel finds a channel of ours: the peer's number where possible.
func (c *Conn) freeChannel(remote uint16) (uint16, bool) {
	if remote <= c.channelMax && !c.odd {
		return remote, true
	}
	c.odd = true
	used, taken := false, make(numbers, len(c.sessions)/64+1)
	for _, s := range c.sessions {
		used = used || s.channel == remote
		taken.add(uint32(s.channel))
	}
	if remote <= c.channelMax && !used {
		return remote, true
	}
	n := taken.free()
	return uint16(n), n <= uint32(c.channelMax)
}

// end answers an end, or takes the answer to ours.
func (c *Conn) end(remote uint16, e *amqp.End) {
	s := c.sessions[remote]
	if s == nil {
		c.fail(amqp.Errorf(amqp.ConditionIllegalState, "There is no session on channel %d.", remote))
		return
	}
	if !s.ended {
		s.flushRanges()
		c.put(s.channel, &amqp.End{})
	}
	ends := s.dismiss(errorOf(e.Error))
	delete(c.sessions, remote)
	if len(c.sessions) == 0 {
		c.odd = false
	}
	c.engine.metrics.sessions.Dec()
	c.outside(func() { tell(ends) })
}

// fail ends the session because of what the peer did. Its links are told.
func (s *Session) fail(e *amqp.Error) {
	if s.ended {
		return
	}
	c := s.conn
	s.flushRanges()
	c.put(s.channel, &amqp.End{Error: c.fit(e)})
	c.engine.metrics.told(e)
	ends := s.dismiss(e)
	c.outside(func() { tell(ends) })
}

// dismiss ends all links.
func (s *Session) dismiss(cause error) []*ending {
	if !s.ended {
		s.ended = true
		s.conn.live--
	}
	if len(s.links) == 0 {
		return nil
	}
	dones := s.unsettled.takeAll()
	var ends []*ending
	for handle, l := range s.links {
		if e := l.leave(cause); e != nil {
			ends = append(ends, e)
		}
		s.forget(handle, l)
	}
	if len(dones) > 0 {
		ends = append([]*ending{{dones: dones}}, ends...)
	}
	return ends
}

// forget lets a handle be used again.
func (s *Session) forget(handle uint32, l *Link) {
	delete(s.links, handle)
	s.conn.links--
	s.conn.attaches -= l.size
}

// flow takes a flow (2.5.6, 2.6.7).
func (s *Session) flow(f *amqp.Flow) {
	c := s.conn
	seen := f.NextIncomingID.Or(s.firstOutgoing)
	if after(seen, s.nextOutgoing) {
		s.fail(amqp.Errorf(amqp.ConditionInvalidField, "The next-incoming-id %d of a flow is beyond what was sent: %d.", seen, s.nextOutgoing))
		return
	}
	before := s.outgoing
	if onTheWay := s.nextOutgoing - seen; f.IncomingWindow > onTheWay {
		s.outgoing = f.IncomingWindow - onTheWay
	} else {
		s.outgoing = 0
	}
	if before == 0 && s.outgoing > 0 {
		c.wakeSession(s)
		c.sayAborts()
	}
	if !f.Handle.Set {
		if f.LinkCredit.Set || f.DeliveryCount.Set || f.Drain {
			s.fail(amqp.Errorf(amqp.ConditionInvalidField, "A flow without a handle gives credit."))
			return
		}
		if f.Echo {
			s.sayFlow(nil)
		}
		return
	}
	l := s.links[f.Handle.Value]
	if l == nil {
		s.fail(amqp.Errorf(amqp.ConditionUnattachedHandle, "There is no link with handle %d.", f.Handle.Value))
		return
	}
	l.flowIn(f)
}

// widen opens the windows that have become narrow, when all that came has been worked on.
func (c *Conn) widen() {
	for i, s := range c.narrow {
		if s.narrow && !s.ended {
			s.sayFlow(nil)
		}
		c.narrow[i] = nil
	}
	c.narrow = c.narrow[:0]
}

// sayFlow writes the session's state, and that of a link if there is one. Whatever came has been worked on, so the window is open again.
func (s *Session) sayFlow(l *Link) {
	c := s.conn
	f := &c.flow
	s.incoming, s.narrow = c.engine.cfg.Window, false
	*f = amqp.Flow{
		NextIncomingID: amqp.Some(s.nextIncoming), IncomingWindow: s.incoming,
		NextOutgoingID: s.nextOutgoing, OutgoingWindow: c.engine.cfg.Window,
	}
	if l != nil {
		f.Handle, f.DeliveryCount, f.LinkCredit = amqp.Some(l.handle), amqp.Some(l.count), amqp.Some(l.credit)
		f.Drain = l.drained
	}
	if c.state >= closing {
		return
	}
	out := c.buffer()
	*out = amqp.AppendFlow(*out, s.channel, f)
}
