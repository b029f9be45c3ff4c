package client

import (
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

const (
	sendMost  = 1 << 20 // bytes waiting to be written above which senders wait
	replyMost = 4 << 20 // above which a peer that asks and does not read is given up
	keptOut   = 2 << 20 // the largest buffer that is kept for the next write
	fastest   = 100 * time.Millisecond
)

// put appends a frame. Nothing follows a close. The caller holds mu.
func (c *Conn) put(channel uint16, p amqp.Performative) {
	if c.closing || c.err != nil {
		return
	}
	c.out = amqp.AppendFrame(c.out, amqp.FrameAMQP, channel, p, nil)
	c.more.ring()
}

// write writes what waits, and an empty frame when nothing was written for a third of the time that the peer wants to hear from us.
func (c *Conn) write() {
	var every time.Duration
	if ms := c.peer.IdleTimeout.Or(0); ms > 0 {
		every = max(time.Duration(ms)*time.Millisecond/3, fastest)
	}
	for {
		b := c.gathered(every)
		if len(b) == 0 {
			_ = c.net.Close()
			return
		}
		_ = c.net.SetWriteDeadline(time.Now().Add(c.cfg.WriteTimeout)) // one that is closed fails below
		if _, err := c.net.Write(b); err != nil {
			_ = c.net.Close() // the goroutine that reads says why
			<-c.done
			return
		}
		c.mu.Lock()
		if cap(b) <= keptOut {
			c.spare = b[:0]
		}
		c.room.ring()
		c.mu.Unlock()
	}
}

// gathered waits for something to write; nothing at the end.
func (c *Conn) gathered(every time.Duration) []byte {
	var idle <-chan time.Time
	if every > 0 {
		fired, stop := c.clock.After(every)
		defer stop()
		idle = fired
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) == 0 {
		if c.err != nil {
			return nil
		}
		heard := c.more.heard()
		c.mu.Unlock()
		beat := false
		select {
		case <-heard:
		case <-idle:
			beat = true
		}
		c.mu.Lock()
		if beat && len(c.out) == 0 && !c.closing {
			c.out = amqp.AppendFrame(c.out, amqp.FrameAMQP, 0, nil, nil)
		} else if beat {
			idle = nil
		}
	}
	b := c.out
	c.out, c.spare = c.spare[:0], nil
	return b
}
