package engine

import (
	"slices"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Credit is how many messages the peer still takes on a link we send on.
func (l *Link) Credit() uint32 {
	c := l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.told || l.stage != attached || !l.receives {
		return 0
	}
	return l.credit
}

// Flowed returns a channel that is closed when the peer says something about the link's credit next, or the link ends.
func (l *Link) Flowed() <-chan struct{} {
	c := l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.flowed == nil {
		l.flowed = make(chan struct{})
		if l.told {
			flowed := l.flowed
			close(flowed)
		}
	}
	return l.flowed
}

// Idle says that there is nothing to send now: a peer that drains the link gets its credit back (2.6.7). Otherwise it does nothing.
func (l *Link) Idle() {
	c := l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.drain && l.stage == attached && !l.told && !l.busy {
		l.giveBack()
		c.kick()
	}
}

// giveBack uses the credit up and says so.
func (l *Link) giveBack() {
	l.count += l.credit
	l.credit, l.drain = 0, false
	l.drained = true
	l.session.sayFlow(l)
	l.drained = false
}

// flowIn takes what a flow says of the link (2.6.7).
func (l *Link) flowIn(f *amqp.Flow) {
	s := l.session
	if l.stage == detaching {
		return
	}
	if !l.receives {
		// The peer may have used up credit without sending.
		if skipped := f.DeliveryCount.Value - l.count; f.DeliveryCount.Set && skipped <= l.credit {
			l.count += skipped
			l.credit -= skipped
			l.topUp()
		}
	} else if !l.peerCredit(f) {
		return
	}
	switch {
	case l.stage == undecided:
		l.echo = l.echo || f.Echo
	case l.receives && l.drain && l.credit == 0:
		l.giveBack()
	case f.Echo:
		s.sayFlow(l)
	}
	if l.receives {
		l.wakeUp()
		if l.flowed != nil {
			close(l.flowed)
			l.flowed = nil
		}
		if l.drain && l.drains != nil {
			s.conn.outside(l.drains)
		}
	}
}

// peerCredit takes the credit a flow gives. It is false when that made no sense.
func (l *Link) peerCredit(f *amqp.Flow) bool {
	if !f.LinkCredit.Set {
		l.refuse(amqp.Errorf(amqp.ConditionInvalidField, "A receiver's flow has link-credit."))
		return false
	}
	seen := f.DeliveryCount.Or(l.session.conn.engine.first)
	if after(seen, l.count) {
		l.refuse(amqp.Errorf(amqp.ConditionInvalidField, "The delivery-count %d of a flow is beyond what was sent: %d.", seen, l.count))
		return false
	}
	if onTheWay := l.count - seen; f.LinkCredit.Value > onTheWay {
		l.credit = f.LinkCredit.Value - onTheWay
	} else {
		l.credit = 0
	}
	l.drain = f.Drain
	return true
}

// wakeUp lets who waits to send look again.
func (l *Link) wakeUp() {
	if l.wake == nil {
		return
	}
	close(l.wake)
	l.wake = nil
	c := l.session.conn
	if i := slices.Index(c.waiting, l); i >= 0 {
		last := len(c.waiting) - 1
		c.waiting[i] = c.waiting[last]
		c.waiting[last] = nil
		c.waiting = c.waiting[:last]
	}
}

// wakeWhere wakes all who wait on such links.
func (c *Conn) wakeWhere(such func(*Link) bool) {
	kept := c.waiting[:0]
	for _, l := range c.waiting {
		if !such(l) {
			kept = append(kept, l)
			continue
		}
		close(l.wake)
		l.wake = nil
	}
	clear(c.waiting[len(kept):])
	c.waiting = kept
}

func (c *Conn) wakeAll() { c.wakeWhere(func(*Link) bool { return true }) }

func (c *Conn) wakeRoom() { c.wakeWhere(func(l *Link) bool { return l.inRoom }) }

func (c *Conn) wakeSession(s *Session) { c.wakeWhere(func(l *Link) bool { return l.session == s }) }
