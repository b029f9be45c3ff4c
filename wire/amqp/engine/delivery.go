package engine

import "github.com/isthmus-io/isthmus/wire/amqp"

// perDelivery is what a delivery counts for beside its message, in bytes.
const perDelivery = 256

// Delivery is a message the peer sent. It belongs to whom it was given until one of Accept, Reject, Release and Modify is called, once and
// by any goroutine; after that neither it nor its message may be looked at, since both are used again. One that is never settled keeps its
// room until the connection ends, also when its link has ended.
type Delivery struct {
	link    *Link
	message *buffer
	id      uint32
	format  uint32
	tag     [32]byte
	tagLen  uint8
	settled bool // by the peer
	done    bool
	skip    bool   // the message is too large: what is left of it is dropped
	skipped uint64 // bytes
}

// Message is the whole message.
func (d *Delivery) Message() []byte { return d.message.b }

// Format is the message-format; 0 is that of the standard.
func (d *Delivery) Format() uint32 { return d.format }

// Tag is the delivery-tag.
func (d *Delivery) Tag() []byte { return d.tag[:d.tagLen] }

// Settled tells that the peer does not want to know what becomes of the message.
func (d *Delivery) Settled() bool { return d.settled }

// Link is the link it came on.
func (d *Delivery) Link() *Link { return d.link }

// Accept settles the delivery as accepted (3.4.2). Of a settled one, as all four do, it gives the room back.
func (d *Delivery) Accept() { d.settle(amqp.Accepted{}, accepted) }

// Reject settles the delivery as rejected (3.4.3), with an error or nil.
func (d *Delivery) Reject(e *amqp.Error) { d.settle(amqp.Rejected{Error: e}, single) }

// Release settles the delivery as released (3.4.4): it may be sent again.
func (d *Delivery) Release() { d.settle(amqp.Released{}, released) }

// Modify settles the delivery as modified (3.4.5).
func (d *Delivery) Modify(m amqp.Modified) { d.settle(m, single) }

func (d *Delivery) settle(outcome amqp.State, kind outcome) {
	l := d.link
	if l == nil {
		return
	}
	c := l.session.conn
	c.mu.Lock()
	if d.done {
		c.mu.Unlock()
		return
	}
	d.done = true
	c.whole--
	later := c.current == d
	l.settle(d, outcome, kind)
	if !later {
		c.kick()
	}
	c.mu.Unlock()
	c.engine.free(d)
}

// settle writes what became of a delivery, and gives credit for another.
func (l *Link) settle(d *Delivery, state amqp.State, kind outcome) {
	s, c := l.session, l.session.conn
	c.release(d)
	l.holding--
	if l.stage != attached {
		return
	}
	if !d.settled {
		s.dispose(d.id, state, kind)
	}
	l.topUp()
}

// topUp grants credit when half of it is used up and settled.
func (l *Link) topUp() {
	out := l.holding + l.credit
	if l.stage == attached && !l.receives && out < l.grant && l.grant-out >= (l.grant+1)/2 {
		l.credit = l.grant - l.holding
		l.session.sayFlow(l)
	}
}

// hold counts a delivery's room.
func (c *Conn) hold(d *Delivery) { c.held += cap(d.message.b) + perDelivery }

// release gives it back.
func (c *Conn) release(d *Delivery) {
	c.held -= cap(d.message.b) + perDelivery
	c.room.Broadcast()
}

// delivery makes one with room for so many bytes.
func (e *Engine) delivery(l *Link, room int) *Delivery {
	d, ok := e.deliveries.Get().(*Delivery)
	if !ok {
		d = new(Delivery)
	}
	*d = Delivery{link: l, message: e.messages.get(room)}
	return d
}

// free gives a delivery to whoever wants one next.
func (e *Engine) free(d *Delivery) {
	e.messages.put(d.message)
	*d = Delivery{done: true}
	e.deliveries.Put(d)
}
