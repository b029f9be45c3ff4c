package engine

import "github.com/isthmus-io/isthmus/wire/amqp"

// skipMost is how many bytes of a message that is too large are dropped in order to reject it. Of one that is longer the link is detached.
const skipMost = 64 << 20

// transfer takes a transfer (2.6.12, 2.6.13).
func (s *Session) transfer(t *amqp.Transfer, payload []byte) {
	c := s.conn
	if s.incoming == 0 {
		s.fail(amqp.Errorf(amqp.ConditionWindowViolation, "The session's window was %d transfers.", c.engine.cfg.Window))
		return
	}
	s.incoming--
	s.nextIncoming++
	l := s.links[t.Handle]
	if l == nil {
		s.fail(amqp.Errorf(amqp.ConditionUnattachedHandle, "There is no link with handle %d.", t.Handle))
		return
	}
	if s.incoming <= c.engine.cfg.Window/2 && !s.narrow {
		s.narrow = true
		c.narrow = append(c.narrow, s)
	}
	if l.stage == detaching {
		return
	}
	d := l.partial
	if d == nil {
		if d = s.first(l, t, len(payload)); d == nil {
			return
		}
	} else if t.DeliveryID.Set && t.DeliveryID.Value != d.id {
		l.refuse(amqp.Errorf(amqp.ConditionInvalidField, "A delivery with id %d begins in the middle of that with id %d.", t.DeliveryID.Value, d.id))
		return
	}
	d.settled = d.settled || t.Settled.Value
	if t.Aborted {
		l.slack++
		l.dropPartial()
		l.topUp()
		return
	}
	if !l.take(d, payload, t.More) {
		return
	}
	if !t.More {
		l.complete(d)
	}
}

// first begins a delivery; nil when that is not possible, which has been told to the peer.
func (s *Session) first(l *Link, t *amqp.Transfer, size int) *Delivery {
	id := t.DeliveryID.Value
	switch {
	case l.receives:
		l.refuse(amqp.Errorf(amqp.ConditionNotAllowed, "The peer does not send on this link."))
		return nil
	case !t.DeliveryID.Set:
		l.refuse(amqp.Errorf(amqp.ConditionInvalidField, "The first transfer of a delivery has a delivery-id."))
		return nil
	case t.Resume:
		l.refuse(amqp.Errorf(amqp.ConditionNotImplemented, "Deliveries are not resumed here."))
		return nil
	case s.hasLast && !after(id, s.last):
		s.fail(amqp.Errorf(amqp.ConditionInvalidField, "The delivery-id %d does not come after %d.", id, s.last))
		return nil
	}
	s.last, s.hasLast = id, true
	if l.credit == 0 {
		if l.slack == 0 {
			l.refuse(amqp.Errorf(amqp.ConditionTransferLimitExceeded, "The link has no credit."))
			return nil
		}
		l.slack--
	} else {
		l.credit--
	}
	l.count++
	if t.More { // more will come than this
		size *= 2
	}
	size = int(min(uint64(size), l.maxMessage))
	d := s.conn.engine.delivery(l, size)
	d.id, d.format, d.settled = id, t.MessageFormat.Value, t.Settled.Value
	d.tagLen = uint8(copy(d.tag[:], t.DeliveryTag))
	l.partial = d
	l.holding++
	s.conn.hold(d)
	return d
}

// take appends to a message; false when the delivery is over with it.
func (l *Link) take(d *Delivery, payload []byte, more bool) bool {
	c := l.session.conn
	if !d.skip && uint64(len(d.message.b))+uint64(len(payload)) > l.maxMessage {
		d.skip, d.skipped = true, uint64(len(d.message.b))
		d.message.b = d.message.b[:0]
	}
	if d.skip {
		return l.skip(d, payload, more)
	}
	if free := cap(d.message.b) - len(d.message.b); free < len(payload) {
		c.held -= cap(d.message.b)
		room := min(uint64(max(2*cap(d.message.b), len(d.message.b)+len(payload))), max(l.maxMessage, 1))
		grown := c.engine.messages.get(int(room))
		grown.b = append(grown.b, d.message.b...)
		c.engine.messages.put(d.message)
		d.message = grown
		c.held += cap(grown.b)
	}
	if !c.fits() {
		switch {
		case l.partial != d: // the link has ended while we waited
		case c.state == opened:
			l.refuse(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "The connection's messages that are not complete have more than %d bytes.",
				c.bound(c.engine.cfg.MaxUnsettledBytes, strangersHeld)))
		}
		return false
	}
	if l.partial != d {
		return false
	}
	d.message.b = append(d.message.b, payload...)
	return true
}

// fits waits until what is held is within its bounds. It is false when waiting would not help, or nothing more is to be done.
func (c *Conn) fits() bool {
	full := func() bool { return c.held > c.bound(c.engine.cfg.MaxUnsettledBytes, strangersHeld) }
	c.waitWhile(func() bool { return full() && c.whole > 0 })
	return !full() && c.state == opened
}

// skip drops a part of a message that is too large. The peer is told when all of it has come.
func (l *Link) skip(d *Delivery, payload []byte, more bool) bool {
	d.skipped += uint64(len(payload))
	e := amqp.Errorf(amqp.ConditionMessageSizeExceeded, "A message has at most %d bytes here.", l.maxMessage)
	switch {
	case !more && !d.settled:
		l.partial = nil
		l.settle(d, amqp.Rejected{Error: e}, single)
		l.session.conn.engine.free(d)
	case !more || d.skipped > skipMost:
		l.refuse(e) // nobody asked what became of it, so it cannot be said more gently
	}
	return false
}

// dropPartial forgets a message that will not be completed.
func (l *Link) dropPartial() {
	d := l.partial
	if d == nil {
		return
	}
	l.partial = nil
	l.holding--
	l.session.conn.release(d)
	l.session.conn.engine.free(d)
}

// complete gives a message to the link's owner.
func (l *Link) complete(d *Delivery) {
	c := l.session.conn
	l.partial = nil
	c.whole++
	c.messagesIn++
	c.current = d
	receive := l.receive
	if receive == nil {
		receive = (*Delivery).Release
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	receive(d)
}
