package engine

import (
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

const (
	sendMost  = 256 << 10 // waits to be written before Send waits too
	replyMost = 512 << 10 // before the peer is not read any more
	keptOut   = 512 << 10 // the largest buffer that goes back to the pool
)

// queued is how much waits to be written.
func (c *Conn) queued() int {
	if c.out == nil {
		return c.inflight
	}
	return len(*c.out) + c.inflight
}

// buffer is where frames are appended.
func (c *Conn) buffer() *[]byte {
	if c.out == nil {
		var ok bool
		if c.out, ok = c.engine.outs.Get().(*[]byte); !ok {
			c.out = new([]byte)
		}
	}
	c.framesOut++
	return c.out
}

// put appends a frame. Nothing follows a close.
func (c *Conn) put(channel uint16, p amqp.Performative) {
	if c.state >= closing {
		return
	}
	out := c.buffer()
	*out = amqp.AppendFrame(*out, amqp.FrameAMQP, channel, p, nil)
}

// fit makes an error small enough for the peer's frames.
func (c *Conn) fit(e *amqp.Error) *amqp.Error {
	const around = 64 // the frame, and the performative without its error
	if e == nil || len((&amqp.Close{Error: e}).Append(nil))+around <= c.frameMax {
		return e
	}
	words := []rune(e.Description)
	words = words[:min(len(words), max(0, (c.frameMax-around-len(e.Condition))/4-8))]
	return &amqp.Error{Condition: e.Condition, Description: string(words)}
}

// kick sees to it that what waits is written.
func (c *Conn) kick() {
	if !c.writing && !c.broken && c.state != over && (c.out != nil || len(c.unflushed) > 0) {
		c.writing = true
		go c.write()
	}
}

// pause is called by the reader when it has nothing to work on.
func (c *Conn) pause() {
	c.drowse()
	now := c.engine.clock.Now()
	c.mu.Lock()
	c.current = nil
	if c.quiet.IsZero() {
		c.quiet = now
	}
	c.widen()
	c.kick()
	c.count()
	c.mu.Unlock()
}

// await lets the reader wait until little enough waits to be written.
func (c *Conn) await() {
	c.waitWhile(func() bool { return c.queued() > c.bound(replyMost, strangersReplies) })
}

// waitWhile lets the reader wait, while the connection is what it was. It is no way to wait for long.
func (c *Conn) waitWhile(such func() bool) {
	if !such() {
		return
	}
	c.current = nil
	c.stuck = c.engine.clock.Now()
	c.engine.watch.hurry(c, c.stuck.Add(c.engine.cfg.IdleTimeout))
	for such() && c.state == opened && !c.broken {
		c.kick()
		c.room.Wait()
	}
	c.stuck = zeroTime
}

// count adds up what was counted on the side.
func (c *Conn) count() {
	m := c.engine.metrics
	for _, n := range [...]struct {
		n  *int
		to interface{ Add(float64) }
	}{{&c.framesIn, m.framesIn}, {&c.framesOut, m.framesOut}, {&c.messagesIn, m.messagesIn}, {&c.messagesOut, m.messagesOut}} {
		if *n.n > 0 {
			n.to.Add(float64(*n.n))
			*n.n = 0
		}
	}
}

// write writes until nothing is left. It is a goroutine of its own, and kick begins it.
func (c *Conn) write() {
	timeout := c.engine.cfg.WriteTimeout
	for {
		c.mu.Lock()
		c.inflight = 0
		c.flush()
		out := c.out
		c.out = nil
		if c.broken {
			out = nil
		}
		if out == nil {
			c.writing = false
		} else {
			c.inflight = len(*out)
			c.sentAt = c.engine.clock.Now()
		}
		c.room.Broadcast()
		if c.queued() < sendMost/2 || c.broken {
			c.wakeRoom()
			c.sayAborts()
		}
		if out != nil && c.state != over { // the last write has finish's deadline
			if now := time.Now(); c.deadline.Sub(now) < timeout/2 { // setting it costs as much as a part of a message
				c.deadline = now.Add(timeout)
				_ = c.net.SetWriteDeadline(c.deadline)
			}
		}
		c.mu.Unlock()
		if out == nil {
			return
		}
		_, err := c.net.Write(*out)
		if cap(*out) <= keptOut {
			*out = (*out)[:0]
			c.engine.outs.Put(out)
		}
		if err != nil {
			c.mu.Lock()
			c.because(unwritten(err))
			c.cut()
			c.mu.Unlock()
		}
	}
}
