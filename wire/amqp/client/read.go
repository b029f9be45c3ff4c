package client

import (
	"errors"
	"os"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// read handles frames until the connection is over, and returns with mu held. The mutex is held from the first frame of what came in one
// piece to the last, so that neither it nor those who wait for news cost much for each frame.
func (c *Conn) read() error {
	c.reader.Waiting = c.pause
	for {
		kind, channel, body, err := c.reader.Next()
		if !c.holding {
			c.mu.Lock()
			c.holding = true
		}
		if err == nil {
			err = c.take(kind, channel, body)
		}
		if err == nil && len(c.out) > replyMost {
			err = fault.Newf("amqp.Conn", fault.Unavailable, "%s asks and does not read the answers", c.name())
		}
		if err != nil {
			return c.why(err)
		}
	}
}

// why makes a fault of what ended the connection, and tells the peer if it is to blame.
func (c *Conn) why(err error) error {
	const op = "amqp.Conn"
	broken, isBroken := errors.AsType[*violation](err)
	_, isFault := errors.AsType[*fault.Error](err)
	switch {
	case errors.Is(err, errClosed) || isFault:
		return err
	case isBroken:
		c.shut(broken.tell)
		return fault.Newf(op, fault.Unavailable, "%s broke the rules of AMQP: %s", c.name(), broken.tell.Description).Because(err)
	case errors.Is(err, amqp.ErrFraming) || errors.Is(err, amqp.ErrMalformed):
		c.shut(&amqp.Error{Condition: amqp.ConditionOf(err), Description: err.Error()})
		return fault.Newf(op, fault.Unavailable, "%s sent what is no AMQP", c.name()).Because(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.Newf(op, fault.Timeout, "%s has said nothing for %v", c.name(), 2*c.cfg.IdleTimeout).Because(err)
	}
	return fault.Newf(op, fault.Unavailable, "the connection to %s broke", c.name()).Because(err)
}

// violation is what a peer did against the rules. It is not the peer's error, so it is no *amqp.Error in an error chain.
type violation struct{ tell *amqp.Error }

func (v *violation) Error() string { return v.tell.Error() }

func against(condition amqp.Symbol, format string, args ...any) error {
	return &violation{amqp.Errorf(condition, format, args...)}
}

// pause is called when the reader is about to wait for bytes.
func (c *Conn) pause() {
	if c.holding {
		c.release()
	}
	now := time.Now()
	if patience := 2 * c.cfg.IdleTimeout; c.hearUntil.Sub(now) < patience*7/8 { // setting a deadline is not free
		c.hearUntil = now.Add(patience)
		_ = c.net.SetReadDeadline(c.hearUntil)
	}
}

// release lets go of the mutex and tells those who wait what has come.
func (c *Conn) release() {
	for r := range c.woken {
		r.news.ring()
		delete(c.woken, r)
	}
	later := c.later
	c.later = nil
	c.holding = false
	c.mu.Unlock()
	for _, f := range later {
		f()
	}
}

// hold lets a receiver whose reader is slow hold up the connection.
func (c *Conn) hold(r *Receiver) {
	for r.held >= r.cfg.PrefetchBytes && r.err == nil && !r.detaching && !c.closing && c.err == nil {
		taken := r.taken.heard()
		c.release()
		<-taken
		c.mu.Lock()
		c.holding = true
		c.hearUntil = time.Time{} // it was we who were silent
	}
}

// take handles one frame. Nothing of body is kept.
func (c *Conn) take(kind byte, channel uint16, body []byte) error {
	if kind != amqp.FrameAMQP {
		return amqp.ErrFraming
	}
	if len(body) == 0 {
		return nil
	}
	code, _ := amqp.DescriptorOf(body)
	switch code { // what comes often is decoded without an allocation
	case amqp.CodeTransfer:
		payload, err := c.transfer.Decode(body)
		if err != nil {
			return err
		}
		s, err := c.session(channel)
		if err != nil {
			return err
		}
		return s.transferred(&c.transfer, payload)
	case amqp.CodeDisposition:
		if err := c.disposition.Decode(body); err != nil {
			return err
		}
		s, err := c.session(channel)
		if err != nil {
			return err
		}
		s.disposed(&c.disposition)
		return nil
	case amqp.CodeFlow:
		if err := c.flow.Decode(body); err != nil {
			return err
		}
		s, err := c.session(channel)
		if err != nil {
			return err
		}
		return s.flowed(&c.flow)
	}
	p, _, err := amqp.Decode(kind, body)
	if err != nil {
		return err
	}
	switch p := p.(type) {
	case *amqp.Begin:
		return c.begun(channel, p)
	case *amqp.Attach:
		s, err := c.session(channel)
		if err != nil {
			return err
		}
		return s.attached(p)
	case *amqp.Detach:
		s, err := c.session(channel)
		if err != nil {
			return err
		}
		return s.detached(p)
	case *amqp.End:
		s, err := c.session(channel)
		if err != nil {
			return err
		}
		s.ended(channel, p)
		return nil
	case *amqp.Close:
		c.put(0, &amqp.Close{})
		c.closing = true
		if p.Error == nil {
			return errClosed
		}
		return c.told("the connection", p.Error)
	}
	return against(amqp.ConditionIllegalState, "a connection has one open")
}

func (c *Conn) session(channel uint16) (*Session, error) {
	if s := c.byPeer[channel]; s != nil {
		return s, nil
	}
	return nil, against(amqp.ConditionIllegalState, "there is no session on channel %d", channel)
}
