package amqptest

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Sender sends messages on a link.
type Sender struct {
	*link
	turn  chan struct{} // holds a token while a delivery is being written: their frames must not mix
	count uint64        // of tags
}

// Sender attaches a link to a target address. edit, which may be nil, changes the attach before it is sent.
func (s *Session) Sender(ctx context.Context, address string, edit func(*amqp.Attach)) (*Sender, error) {
	a := SenderTo("to "+address, 0, address)
	if edit != nil {
		edit(a)
	}
	l, err := s.attachLink(ctx, a, nil)
	if err != nil {
		return nil, err
	}
	return &Sender{link: l, turn: make(chan struct{}, 1)}, nil
}

// Send sends a message, unsettled, and waits for its outcome. When the link ends first, the error says so.
func (s *Sender) Send(ctx context.Context, message []byte, format uint32) (amqp.State, error) {
	outcome := make(chan amqp.State, 1)
	if err := s.Start(ctx, message, format, func(state amqp.State) { outcome <- state }); err != nil {
		return nil, err
	}
	select {
	case state := <-outcome:
		if state == nil {
			return nil, s.ended()
		}
		return state, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// SendAccepted is Send for those who want nothing but accepted: a rejection's error is returned as it came.
func (s *Sender) SendAccepted(ctx context.Context, message []byte, format uint32) error {
	state, err := s.Send(ctx, message, format)
	if err != nil {
		return err
	}
	switch state := state.(type) {
	case amqp.Accepted:
		return nil
	case amqp.Rejected:
		if state.Error != nil {
			return state.Error
		}
	}
	return fmt.Errorf("amqptest: the outcome is %T%+v", state, state)
}

func (s *Sender) ended() error {
	s.s.c.mu.Lock()
	defer s.s.c.mu.Unlock()
	for _, err := range []error{s.err, s.s.err, s.s.c.err} {
		if err != nil {
			return err
		}
	}
	return ErrClosed
}

// Start sends a message when there is credit and window for it, and does not wait for its outcome: done is called with it once, with nil
// when the link ended first. done nil sends the message settled. message is good again when Start returns. When ctx ends between two frames
// of a message, the link is of no use any more: detach it.
func (s *Sender) Start(ctx context.Context, message []byte, format uint32, done func(amqp.State)) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c, session := s.s.c, s.s
	c.mu.Lock()
	defer c.mu.Unlock()
	// The id is taken when the first frame can go, so that those of the session's senders go in their order.
	for {
		if err := c.until(ctx, &s.changed, func() (bool, error) { return s.credit > 0 && session.remoteWindow > 0, s.err }); err != nil {
			return err
		}
		if len(c.out) <= fullness {
			break
		}
		if err := c.until(ctx, &c.room, func() (bool, error) { return len(c.out) <= fullness, s.err }); err != nil {
			return err
		}
	}
	var tag [8]byte
	s.count++
	binary.BigEndian.PutUint64(tag[:], s.count)
	id := session.nextDelivery
	session.nextDelivery++
	t := amqp.Transfer{
		Handle: s.attach.Handle, DeliveryID: amqp.Some(id), DeliveryTag: tag[:], MessageFormat: amqp.Some(format), Settled: amqp.Some(done == nil),
	}
	if done != nil {
		session.pending[id] = delivery{l: s.link, done: done}
	}
	s.credit--
	s.link.count++
	const head = 64 // more than a transfer's fields above take
	chunk := max(c.frame-head, 1)
	for first := true; ; first = false {
		if !first {
			err := c.until(ctx, &s.changed, func() (bool, error) { return session.remoteWindow > 0, s.err })
			if err == nil && len(c.out) > fullness {
				err = c.until(ctx, &c.room, func() (bool, error) { return len(c.out) <= fullness, s.err })
			}
			if err != nil {
				delete(session.pending, id)
				return err
			}
		}
		n := min(chunk, len(message))
		t.More = n < len(message)
		c.out = amqp.AppendTransfer(c.out, session.channel, &t, message[:n])
		c.more.wake()
		session.nextOutgoing++
		session.remoteWindow--
		if message = message[n:]; len(message) == 0 {
			return nil
		}
		t = amqp.Transfer{Handle: t.Handle, Settled: t.Settled}
	}
}
