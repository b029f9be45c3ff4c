package engine

import (
	"errors"
	"io"
	"os"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// errClosed is the peer's close.
var errClosed = errors.New("closed")

// read handles frames until the connection is over.
func (c *Conn) read() error {
	if r, ok := c.net.(rester); ok && r.MayRest() {
		c.rester = r
	}
	for {
		kind, channel, body, err := c.reader.Next()
		if err == nil {
			err = c.frame(kind, channel, body)
		}
		switch {
		case err == nil:
		case errors.Is(err, errClosed):
			return nil
		case errors.Is(err, amqp.ErrFraming) || errors.Is(err, amqp.ErrMalformed):
			c.mu.Lock()
			c.fail(&amqp.Error{Condition: amqp.ConditionOf(err), Description: err.Error()})
			c.mu.Unlock()
			if errors.Is(err, amqp.ErrFraming) { // what follows is not to be understood
				_, _ = io.Copy(io.Discard, c.net) // until the peer closes, or the linger is over
				return err
			}
		case c.rester != nil && errors.Is(err, os.ErrDeadlineExceeded):
			c.doze()
		default:
			return unread(err)
		}
	}
}

// frame handles one frame. Of what it is called with nothing is kept. An error is of the codec, or errClosed; what the peer has done wrong
// otherwise is told to it right here.
func (c *Conn) frame(kind byte, channel uint16, body []byte) error {
	if kind != amqp.FrameAMQP {
		return amqp.ErrFraming
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet = zeroTime
	c.framesIn++
	c.await()
	if len(body) == 0 {
		return nil
	}
	code, _ := amqp.DescriptorOf(body)
	if c.state != opened {
		if code == amqp.CodeClose {
			return errClosed
		}
		return nil // we have said close
	}
	switch code { // what comes often is decoded without an allocation
	case amqp.CodeTransfer:
		payload, err := c.transferIn.Decode(body)
		if err != nil {
			return err
		}
		if s := c.session(channel); s != nil {
			s.transfer(&c.transferIn, payload)
		}
		return nil
	case amqp.CodeDisposition:
		if err := c.dispositionIn.Decode(body); err != nil {
			return err
		}
		if s := c.session(channel); s != nil {
			s.disposed(&c.dispositionIn)
		}
		return nil
	case amqp.CodeFlow:
		if err := c.flowIn.Decode(body); err != nil {
			return err
		}
		if s := c.session(channel); s != nil {
			s.flow(&c.flowIn)
		}
		return nil
	}
	p, _, err := amqp.Decode(kind, body)
	if err != nil {
		return err
	}
	c.current = nil
	switch p := p.(type) {
	case *amqp.Begin:
		c.begin(channel, p)
	case *amqp.Attach:
		if s := c.session(channel); s != nil {
			s.attach(p, len(body))
		}
	case *amqp.Detach:
		if s := c.session(channel); s != nil {
			s.detached(p)
		}
	case *amqp.End:
		c.end(channel, p)
	case *amqp.Close:
		c.flush()
		c.put(0, &amqp.Close{})
		c.because(errorOf(p.Error))
		c.become(closing)
		return errClosed
	default: // a second open
		c.fail(amqp.Errorf(amqp.ConditionIllegalState, "A connection has one open."))
	}
	return nil
}

// outside calls f without the lock.
func (c *Conn) outside(f func()) {
	c.mu.Unlock()
	defer c.mu.Lock()
	f()
}
