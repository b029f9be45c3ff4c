package engine

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Outgoing is a message to be sent.
type Outgoing struct {
	Parts   [][]byte // one after the other; they are the caller's again when Send returns
	Format  uint32   // message-format; 0 is that of the standard
	Tag     []byte   // delivery-tag, at most 32 bytes; nil: made. Not used twice while a delivery is unsettled
	Settled bool     // nobody wants to know what becomes of it
	// Done is called once for a message that is not settled, with what the peer said: Accepted, Rejected, Released, Modified or another
	// state; nil when the link ended first. It may be called before Send has returned, and must not wait. It is not called when Send
	// fails. On a link whose peer asked for settled messages it is called with Accepted at once.
	Done      func(amqp.State)
	Batchable bool
}

func (m *Outgoing) size() (n int) {
	for _, p := range m.Parts {
		n += len(p)
	}
	return n
}

// Await waits until a message could be sent: there is credit, the session's window is open, and little enough waits to be written. The
// error tells that the link or ctx has ended.
func (l *Link) Await(ctx context.Context) error {
	c := l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	return l.ready(ctx, "engine.Await")
}

// Send sends a message and returns when it waits to be written as a whole, after it has waited as Await does. It uses one credit. Messages
// of one link go in the order of their calls, if those follow each other. When ctx ends in the middle of a message that has several frames,
// the delivery is aborted.
func (l *Link) Send(ctx context.Context, m Outgoing) error {
	const op = "engine.Send"
	size := m.size()
	c := l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := l.sendable(op, &m, size); err != nil {
		return err
	}
	if err := l.ready(ctx, op); err != nil {
		return err
	}
	d := l.start(&m)
	for l.more(&m, &d) {
		if whole, err := l.middle(ctx, op, &d); !whole {
			return err
		}
	}
	l.finish(&m, &d)
	return nil
}

// TrySend is Send when that need not wait; otherwise it does nothing and returns false, as it does for what cannot be sent at all.
func (l *Link) TrySend(m Outgoing) bool {
	size := m.size()
	c := l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	frames := 1 + size/(c.frameMax-mostAround)
	if l.sendable("engine.TrySend", &m, size) != nil || !l.canSend() || uint64(frames) > uint64(l.session.outgoing) {
		return false
	}
	d := l.start(&m)
	for l.more(&m, &d) { //nolint:revive // there is room for all of it
	}
	l.finish(&m, &d)
	return true
}

// mostAround is the most a frame has beside its payload.
const mostAround = 96

func (l *Link) sendable(op string, m *Outgoing, size int) error {
	switch {
	case !l.receives:
		return fault.New(op, fault.Internal, "the peer does not receive on this link")
	case len(m.Tag) > 32:
		return fault.Newf(op, fault.Internal, "a delivery-tag of %d bytes", len(m.Tag))
	case l.limit > 0 && uint64(size) > l.limit:
		return fault.Newf(op, fault.TooLarge, "the message has %d bytes, and the peer takes at most %d", size, l.limit)
	case l.told:
		return gone(op, l.cause)
	}
	return nil
}

// canSend tells whether a message could be sent now.
func (l *Link) canSend() bool {
	c := l.session.conn
	return l.stage == attached && l.credit > 0 && !l.busy && l.unsettled < c.engine.cfg.MaxUnsettled && l.canContinue()
}

// canContinue tells whether a frame could be sent now.
func (l *Link) canContinue() bool {
	c := l.session.conn
	l.inRoom = c.queued() >= sendMost
	return l.session.outgoing > 0 && !l.inRoom && c.state == opened && !c.broken && !l.told
}

// ready waits until a message can be sent.
func (l *Link) ready(ctx context.Context, op string) error {
	for {
		switch {
		case l.told:
			return gone(op, l.cause)
		case l.session.conn.state >= closing:
			return gone(op, l.session.conn.cause)
		case l.canSend():
			return nil
		}
		if err := l.sleep(ctx, op); err != nil {
			return err
		}
	}
}

// middle waits until the next frame of a message can be sent. When there will be none, the error is nil if Done tells of it.
func (l *Link) middle(ctx context.Context, op string, d *outgoing) (goOn bool, err error) {
	c := l.session.conn
	for !l.canContinue() {
		switch {
		case l.told:
			err = gone(op, l.cause)
		case c.state >= closing:
			err = gone(op, c.cause)
		default:
			if err = l.sleep(ctx, op); err != nil && !l.told {
				l.abortID = d.id
				c.aborting = append(c.aborting, l)
				c.sayAborts()
			}
		}
		if err != nil {
			if !d.settled && !l.forget(d.id) {
				err = nil
			}
			return false, err
		}
	}
	return true, nil
}

// sleep waits until something has changed.
func (l *Link) sleep(ctx context.Context, op string) error {
	c := l.session.conn
	if l.wake == nil {
		l.wake = make(chan struct{})
		c.waiting = append(c.waiting, l)
	}
	wake := l.wake
	c.kick()
	var err error
	c.outside(func() {
		select {
		case <-wake:
		case <-ctx.Done():
			err = ended(ctx, op)
		}
	})
	return err
}

// outgoing is a message of which some has been sent.
type outgoing struct {
	id         uint32
	part, from int // where the rest begins
	left       int // bytes
	begun      bool
	settled    bool
}

// start uses a credit for a message.
func (l *Link) start(m *Outgoing) outgoing {
	s, c := l.session, l.session.conn
	d := outgoing{id: s.nextDelivery, left: m.size(), settled: m.Settled || l.Peer().SndSettleMode == amqp.Some(amqp.SenderSettled)}
	s.nextDelivery++
	l.credit--
	l.count++
	l.busy = true
	c.messagesOut++
	if !d.settled {
		s.unsettled.push(entry{id: d.id, link: l, done: m.Done})
		l.unsettled++
	}
	return d
}

// more writes a frame, and tells whether there is more.
func (l *Link) more(m *Outgoing, d *outgoing) bool {
	s, c := l.session, l.session.conn
	t := &c.transfer
	*t = amqp.Transfer{Handle: l.handle}
	if !d.begun {
		d.begun = true
		t.DeliveryID, t.MessageFormat, t.Settled, t.Batchable = amqp.Some(d.id), amqp.Some(m.Format), amqp.Some(d.settled), m.Batchable
		if t.DeliveryTag = m.Tag; t.DeliveryTag == nil {
			t.DeliveryTag = binary.BigEndian.AppendUint32(c.tag[:0], d.id)
		}
	}
	out := c.buffer()
	start := len(*out)
	b := t.Append(amqp.StartFrame(*out, amqp.FrameAMQP, s.channel))
	if len(b)-start+d.left > c.frameMax {
		t.More = true
		b = t.Append(amqp.StartFrame(b[:start], amqp.FrameAMQP, s.channel))
	}
	room := c.frameMax - (len(b) - start)
	for room > 0 && d.left > 0 {
		p := m.Parts[d.part][d.from:]
		if len(p) <= room {
			d.part, d.from = d.part+1, 0
		} else {
			p = p[:room]
			d.from += room
		}
		b = append(b, p...)
		d.left -= len(p)
		room -= len(p)
	}
	amqp.FinishFrame(b, start)
	*out = b
	s.nextOutgoing++
	s.outgoing--
	return d.left > 0
}

// finish ends a message that was sent as a whole.
func (l *Link) finish(m *Outgoing, d *outgoing) {
	c := l.session.conn
	l.busy = false
	if l.drain && l.credit == 0 {
		l.giveBack()
	}
	l.wakeUp()
	c.kick()
	if d.settled && !m.Settled && m.Done != nil {
		c.outside(func() { m.Done(amqp.Accepted{}) })
	}
}

// forget takes a delivery out of those that wait to be settled; false when somebody else has.
func (l *Link) forget(id uint32) bool {
	taken := l.session.unsettled.take(nil, id, id)
	l.unsettled -= len(taken)
	return len(taken) > 0
}

// sayAborts ends deliveries somebody gave up, as soon as the windows let it.
func (c *Conn) sayAborts() {
	c.aborting = slices.DeleteFunc(c.aborting, func(l *Link) bool {
		if l.told || c.state != opened {
			return true
		}
		if !l.canContinue() {
			return false
		}
		s := l.session
		c.transfer = amqp.Transfer{Handle: l.handle, DeliveryID: amqp.Some(l.abortID), Aborted: true}
		out := c.buffer()
		*out = amqp.AppendTransfer(*out, s.channel, &c.transfer)
		s.nextOutgoing++
		s.outgoing--
		l.busy = false
		l.wakeUp()
		c.kick()
		return true
	})
}
