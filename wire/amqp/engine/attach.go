package engine

import "github.com/isthmus-io/isthmus/wire/amqp"

// Accept is what an attach is answered with.
type Accept struct {
	Properties amqp.Map
	Offered    []amqp.Symbol
	MaxMessage uint64       // bytes, of a message the peer sends; 0: Config's
	Credit     uint32       // of a link the peer sends on; 0: Config's
	Source     *amqp.Source // nil: the peer's
	Target     *amqp.Target // nil: the peer's
	// Receive is called on the connection's goroutine with each message, one after the other, and must not wait long. nil: messages
	// are released.
	Receive func(*Delivery)
	// Drain is called on a goroutine of the connection when the peer wants the credit back that is not used at once (2.6.7), and must not wait:
	// for who does not look at Flowed. It calls Idle when there is nothing to send. nil: nobody hears of it.
	Drain func()
}

// mostAttaches is how many bytes the attaches of one connection's links may have together.
const mostAttaches = 8 << 20

// attach takes an attach (2.6.3) of so many bytes.
func (s *Session) attach(a *amqp.Attach, size int) {
	c := s.conn
	cfg := &c.engine.cfg
	switch {
	case a.Handle > cfg.HandleMax:
		c.fail(amqp.Errorf(amqp.ConditionFramingError, "Handle %d is beyond handle-max, which is %d.", a.Handle, cfg.HandleMax))
		return
	case s.links[a.Handle] != nil:
		s.fail(amqp.Errorf(amqp.ConditionHandleInUse, "There is a link with handle %d.", a.Handle))
		return
	}
	handle, ok := s.freeHandle(a.Handle)
	if !ok {
		s.fail(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "The peer's handle-max leaves no handle for the answer."))
		return
	}
	l := &Link{session: s, size: size, handle: handle, receives: a.Role == amqp.RoleReceiver, unspoken: unspoken(a.Source)}
	l.peer.Store(a)
	if l.receives {
		l.count, l.limit = c.engine.first, a.MaxMessageSize.Value
	} else {
		l.count = a.InitialDeliveryCount.Value
	}
	if s.links == nil {
		s.links = map[uint32]*Link{}
	}
	s.links[a.Handle] = l
	c.links++
	c.attaches += size
	c.engine.metrics.links.Inc()
	mostLinks, most := c.bound(cfg.MaxLinks, strangersLinks), c.bound(mostAttaches, strangersAttaches)
	switch {
	case c.links > 2*mostLinks || c.attaches > 2*most: // it does not listen
		c.fail(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "The connection has too many links, or says too much of them."))
	case c.links > mostLinks || c.attaches > most:
		l.refuse(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "The connection has too many links, or says too much of them."))
	case a.Coordinator:
		l.refuse(amqp.Errorf(amqp.ConditionNotImplemented, "There are no transactions here."))
	case a.Source != nil && a.Source.Dynamic || a.Target != nil && a.Target.Dynamic:
		l.refuse(amqp.Errorf(amqp.ConditionNotImplemented, "There are no dynamic nodes here."))
	default:
		c.kick()
		c.outside(func() { c.handler.Attach(l) })
	}
}

// freeHandle finds a handle of ours: the peer's number where possible.
func (s *Session) freeHandle(remote uint32) (uint32, bool) {
	if remote <= s.handles && !s.odd {
		return remote, true
	}
	s.odd = true
	used, taken := false, make(numbers, len(s.links)/64+1)
	for _, l := range s.links {
		used = used || l.handle == remote
		taken.add(l.handle)
	}
	if remote <= s.handles && !used {
		return remote, true
	}
	n := taken.free()
	return n, n <= s.handles
}

// Accept answers the peer's attach. The settle modes it asks for are those it gets, but for rcv-settle-mode second on a link it sends on,
// which becomes first. Credit is granted at once, and again as deliveries are settled. Of calls to Accept, Refuse and Detach only the first
// decides; Accept does nothing when the link has ended.
func (l *Link) Accept(a Accept) {
	s, c := l.session, l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.stage != undecided || l.told || c.state != opened {
		return
	}
	cfg := &c.engine.cfg
	l.maxMessage, l.grant, l.receive, l.drains = a.MaxMessage, a.Credit, a.Receive, a.Drain
	if l.maxMessage == 0 {
		l.maxMessage = cfg.MaxMessage
	}
	if l.grant == 0 {
		l.grant = cfg.Credit
	}
	peer, answer := l.Peer(), l.answer()
	answer.SndSettleMode, answer.RcvSettleMode = peer.SndSettleMode, peer.RcvSettleMode
	if !l.receives && answer.RcvSettleMode.Set {
		answer.RcvSettleMode.Value = amqp.ReceiverFirst
	}
	answer.Source, answer.Target = a.Source, a.Target
	if answer.Source == nil {
		answer.Source = peer.Source
	}
	if answer.Target == nil {
		answer.Target = peer.Target
	}
	if answer.Source == nil { // null would be a refusal
		answer.Source = &amqp.Source{}
	}
	if answer.Target == nil {
		answer.Target = &amqp.Target{}
	}
	answer.MaxMessageSize = amqp.Some(l.maxMessage)
	answer.OfferedCapabilities, answer.Properties = a.Offered, a.Properties
	if c.frameMax < mostFrame && len(answer.Append(nil))+8 > c.frameMax {
		l.refuse(amqp.Errorf(amqp.ConditionFrameSizeTooSmall, "The answer does not fit into a frame of %d bytes.", c.frameMax))
		return
	}
	l.stage = attached
	l.decided()
	c.put(s.channel, answer)
	switch {
	case !l.receives:
		l.credit = l.grant
		s.sayFlow(l)
	case l.drain && l.credit == 0:
		l.giveBack()
	case l.drain && l.drains != nil:
		c.tells.Go(l.drains)
	case l.echo:
		s.sayFlow(l)
	}
	l.echo = false
	l.wakeUp()
	c.kick()
}

func (l *Link) answer() *amqp.Attach {
	peer := l.Peer()
	a := &amqp.Attach{Name: peer.Name, Handle: l.handle, Role: !peer.Role}
	if l.receives {
		a.InitialDeliveryCount = amqp.Some(l.count)
	}
	return a
}

// Refuse answers the peer's attach with one that has neither source nor target, and a detach with the error (2.6.3). When the link is
// attached already, it is Detach.
func (l *Link) Refuse(e *amqp.Error) { l.Detach(e) }

// Detach ends the link; nil is a tidy end. Everybody is told soon, on a goroutine of the connection.
func (l *Link) Detach(e *amqp.Error) {
	c := l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == opened && !l.told {
		l.sayDetach(e)
		end := l.leave(errorOf(e))
		c.kick()
		c.tells.Go(func() { tell([]*ending{end}) })
	}
}

// refuse is Detach by the engine, on its own goroutine.
func (l *Link) refuse(e *amqp.Error) {
	if l.told {
		return
	}
	l.sayDetach(e)
	end := l.leave(e)
	l.session.conn.tells.Go(func() { tell([]*ending{end}) })
}

// sayDetach writes the detach, after an attach when there was none.
func (l *Link) sayDetach(e *amqp.Error) {
	s, c := l.session, l.session.conn
	if l.stage == undecided {
		c.putRefusal(l)
	}
	l.stage = detaching
	l.decided()
	s.flushRanges()
	c.put(s.channel, &amqp.Detach{Handle: l.handle, Closed: true, Error: c.fit(e)})
	c.engine.metrics.told(e)
}

// putRefusal writes an attach without source and target. A name that is too long for the peer's frames is cut short.
func (c *Conn) putRefusal(l *Link) {
	a := l.answer()
	if c.frameMax < mostFrame {
		a.Name = a.Name[:min(len(a.Name), c.frameMax-64)]
	}
	c.put(l.session.channel, a)
}

// detached takes a detach, and answers it (2.6.5, 2.6.6): always with closed.
func (s *Session) detached(d *amqp.Detach) {
	c := s.conn
	l := s.links[d.Handle]
	if l == nil {
		s.fail(amqp.Errorf(amqp.ConditionUnattachedHandle, "There is no link with handle %d.", d.Handle))
		return
	}
	if l.stage == undecided || l.stage == attached {
		l.sayDetach(nil)
	}
	s.forget(d.Handle, l)
	if len(s.links) == 0 {
		s.odd = false
	}
	l.stage = detached
	if end := l.leave(errorOf(d.Error)); end != nil {
		c.outside(func() { tell([]*ending{end}) })
	}
}
