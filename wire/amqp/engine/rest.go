package engine

import "time"

// patience is how long a connection on which nothing is said keeps what is needed for reading at once.
const patience = 2 * time.Second

// rester is a connection that can tell that there is something to be read before a buffer is there for it. Rest returns then, or when the
// connection has ended; it is called after a read that ended with os.ErrDeadlineExceeded, so that nothing is in between.
type rester interface {
	MayRest() bool
	Rest() error
}

// drowse has a read end that would wait for long. Setting a deadline costs as much as a part of a message, so one that is far enough stays.
func (c *Conn) drowse() {
	if c.rester == nil {
		return
	}
	if now := time.Now(); c.wakeAt.Sub(now) < patience/2 {
		c.wakeAt = now.Add(patience)
		_ = c.net.SetReadDeadline(c.wakeAt)
	}
}

// doze waits for the next byte without a buffer.
func (c *Conn) doze() {
	c.reader.Rest()
	c.wakeAt = time.Time{}
	_ = c.net.SetReadDeadline(c.wakeAt)
	_ = c.rester.Rest() // whatever it is, reading tells
}

// rest gives back what a connection on which nothing is said does not need.
func (c *Conn) rest() {
	c.taken = nil
	for _, s := range c.sessions {
		s.unsettled.rest()
		if len(s.ranges) == 0 {
			s.ranges = nil
		}
	}
	if len(c.waiting) == 0 {
		c.waiting = nil
	}
}
