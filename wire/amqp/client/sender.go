package client

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// SenderConfig says where a link leads. Only Target is needed.
type SenderConfig struct {
	Target     string
	Desired    []amqp.Symbol
	Properties amqp.Map
}

// Sender is a link that messages are sent on.
type Sender struct {
	link
	turn chan struct{} // holds one: frames of two messages must not mix
}

// Sender attaches a link to a target. Faults are those of the peer, by its condition.
func (s *Session) Sender(ctx context.Context, cfg SenderConfig) (*Sender, error) {
	l := &Sender{turn: make(chan struct{}, 1), link: link{address: cfg.Target, attach: &amqp.Attach{
		Role: amqp.RoleSender, SndSettleMode: amqp.Some(amqp.SenderMixed), RcvSettleMode: amqp.Some(amqp.ReceiverFirst),
		Source: &amqp.Source{Address: cfg.Target}, Target: &amqp.Target{Address: cfg.Target}, InitialDeliveryCount: amqp.Some(uint32(0)),
		DesiredCapabilities: cfg.Desired, Properties: cfg.Properties,
	}}}
	if err := s.open(ctx, &l.link); err != nil {
		return nil, err
	}
	return l, nil
}

// MaxMessage is how many bytes a message may have; 0 when the peer has told no limit.
func (s *Sender) MaxMessage() int {
	return int(min(s.peer.MaxMessageSize.Or(0), math.MaxInt32))
}

// Err is nil while the link stands.
func (s *Sender) Err() error {
	s.s.c.mu.Lock()
	defer s.s.c.mu.Unlock()
	return s.err
}

// Close detaches the link and waits for the peer to do so, at most until ctx ends.
func (s *Sender) Close(ctx context.Context) { s.close(ctx) }

// Send sends a message and waits for its outcome: nil when the peer has accepted it.
func (s *Sender) Send(ctx context.Context, message []byte, format uint32) error {
	outcome := make(chan error, 1)
	if err := s.Start(ctx, message, format, func(err error) { outcome <- err }); err != nil {
		return err
	}
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		return s.s.c.late(ctx)
	}
}

// Start sends a message as soon as the peer gives leave, and does not wait for its outcome: done is called with it once, unless Start
// itself returns an error. message is good again when Start returns. When ctx ends while only a part of the message is out, the link is
// detached.
//
// TooLarge: the message is larger than the peer takes. Other faults are those of the link's end.
func (s *Sender) Start(ctx context.Context, message []byte, format uint32, done func(error)) error {
	if most := s.MaxMessage(); most > 0 && len(message) > most {
		return fault.Newf("amqp.Send", fault.TooLarge, "a message of %d bytes is too large for %s, which takes %d", len(message), s.address, most)
	}
	c := s.s.c
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return c.late(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.leave(ctx, true); err != nil {
		return err
	}
	// The id is taken when the first frame can go, so that those of a session's senders go in their order.
	session := s.s
	var tag [4]byte
	binary.BigEndian.PutUint32(tag[:], s.count)
	id := session.nextDelivery
	session.nextDelivery++
	session.pending[id] = delivery{&s.link, done}
	s.credit--
	s.count++
	t := amqp.Transfer{Handle: s.attach.Handle, DeliveryID: amqp.Some(id), DeliveryTag: tag[:], MessageFormat: amqp.Some(format)}
	const head = 64 // more than the fields above take
	for {
		n := min(c.frame-head, len(message))
		t.More = n < len(message)
		c.out = amqp.AppendTransfer(c.out, session.channel, &t, message[:n])
		session.nextOut++
		session.outWindow--
		c.more.ring()
		if message = message[n:]; len(message) == 0 {
			return nil
		}
		if err := s.leave(ctx, false); err != nil {
			delete(session.pending, id)
			s.detach()
			return err
		}
		t = amqp.Transfer{Handle: s.attach.Handle}
	}
}

// leave waits until a frame may be written: for credit before the first one, for the session's window, and for room.
func (s *Sender) leave(ctx context.Context, first bool) error {
	c := s.s.c
	may := func() (bool, error) {
		switch {
		case s.err != nil:
			return false, s.err
		case s.detaching || c.closing:
			return false, fault.Newf("amqp.Send", fault.Unavailable, "the link to %s is closed", s.address)
		}
		return s.s.outWindow > 0 && (!first || s.credit > 0), nil
	}
	for {
		if err := c.until(ctx, &s.changed, may); err != nil {
			return err
		}
		if len(c.out) < sendMost {
			return nil
		}
		if err := c.until(ctx, &c.room, func() (bool, error) { return len(c.out) < sendMost, s.err }); err != nil {
			return err
		}
	}
}
