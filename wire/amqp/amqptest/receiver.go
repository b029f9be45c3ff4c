package amqptest

import (
	"context"
	"fmt"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Receiver receives messages on a link.
type Receiver struct {
	*link
}

// incoming is what has come on a link and was not taken, under the client's mutex.
type incoming struct {
	ready  []*Delivery
	partly *Delivery // its frames have not all come
	top    uint32    // credit to keep up; 0: only what Grant gives
}

// Delivery is a message that has come.
type Delivery struct {
	Message []byte
	ID      uint32
	Tag     []byte
	Format  uint32
	Settled bool // by the sender
	r       *Receiver
}

// Decode reads the message.
func (d *Delivery) Decode() (*amqp.Message, error) { return amqp.Unmarshal(d.Message) }

// Settle tells the peer an outcome, settled.
func (d *Delivery) Settle(state amqp.State) {
	c := d.r.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	p := amqp.Disposition{Role: amqp.RoleReceiver, First: d.ID, Settled: true, State: state}
	c.out = amqp.AppendDisposition(c.out, d.r.s.channel, &p)
	c.more.wake()
}

// Receiver attaches a link from a source address. credit is granted at once, and kept up as Next takes messages; with 0 only Grant gives
// credit. edit, which may be nil, changes the attach before it is sent.
func (s *Session) Receiver(ctx context.Context, address string, credit uint32, edit func(*amqp.Attach)) (*Receiver, error) {
	a := ReceiverFrom("from "+address, 0, address)
	if edit != nil {
		edit(a)
	}
	l, err := s.attachLink(ctx, a, &incoming{top: credit})
	if err != nil {
		return nil, err
	}
	r := &Receiver{link: l}
	if credit > 0 {
		r.Grant(credit, false)
	}
	return r, nil
}

// Grant adds credit. With drain the peer is to use it up or give it back at once.
func (r *Receiver) Grant(credit uint32, drain bool) {
	c := r.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	r.credit += credit
	r.s.linkFlowLocked(r.link, drain)
}

// Next waits for the next message. After the link's end those that have come are given out first, then its error.
func (r *Receiver) Next(ctx context.Context) (*Delivery, error) {
	c, in := r.s.c, r.incoming
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(in.ready) == 0 {
		err := c.until(ctx, &r.changed, func() (bool, error) { return len(in.ready) > 0, r.err })
		if len(in.ready) == 0 {
			return nil, err
		}
	}
	d := in.ready[0]
	in.ready[0] = nil
	in.ready = in.ready[1:]
	d.r = r
	if held := r.credit + uint32(len(in.ready)); in.top > 0 && r.err == nil && held <= in.top/2 {
		r.credit += in.top - held
		r.s.linkFlowLocked(r.link, false)
	}
	return d, nil
}

// Drained waits until the peer has no credit left: it has used it, or given it back.
func (r *Receiver) Drained(ctx context.Context) error {
	c := r.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until(ctx, &r.changed, func() (bool, error) { return r.credit == 0, r.err })
}

// Waiting is the number of messages that have come and were not taken.
func (r *Receiver) Waiting() int {
	r.s.c.mu.Lock()
	defer r.s.c.mu.Unlock()
	return len(r.incoming.ready)
}

// transferLocked puts a delivery's frames together, and holds the peer to what a server owes (2.6.12, 2.7.5).
func (s *Session) transferLocked(f Frame, t *amqp.Transfer) error {
	l := s.byPeer[t.Handle]
	if l == nil || l.incoming == nil {
		return fmt.Errorf("amqptest: there came %s, where no link is", f)
	}
	if s.incomingWindow == 0 {
		return fmt.Errorf("amqptest: there came %s beyond the session's window", f)
	}
	s.nextIncoming++
	s.incomingWindow--
	if s.incomingWindow <= window/2 {
		s.incomingWindow = window
		s.linkFlowLocked(nil, false)
	}
	in := l.incoming
	if in.partly == nil {
		if !t.DeliveryID.Set || t.DeliveryTag == nil || !t.MessageFormat.Set {
			return fmt.Errorf("amqptest: there came %s, which lacks what a delivery's first frame has", f)
		}
		if l.credit == 0 {
			return fmt.Errorf("amqptest: there came %s without credit", f)
		}
		l.credit--
		l.count++
		in.partly = &Delivery{ID: t.DeliveryID.Value, Tag: t.DeliveryTag, Format: t.MessageFormat.Value}
	}
	d := in.partly
	if d.Message == nil {
		d.Message = f.Payload // a copy of its own
	} else {
		d.Message = append(d.Message, f.Payload...)
	}
	d.Settled = d.Settled || t.Settled.Value
	switch {
	case t.Aborted:
		in.partly = nil
	case !t.More:
		in.partly = nil
		in.ready = append(in.ready, d)
		l.changed.wake()
	}
	return nil
}
