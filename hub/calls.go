package hub

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
)

// Bounds of the method calls that wait at one time.
const (
	maxCallsOfOne = 64        // of one device or module
	maxBytesOfOne = 384 << 10 // of their payloads, unless it is one call: what waits to be written to a device is bounded, too
	maxCalls      = 10_000    // of a hub
	maxCallBytes  = 64 << 20  // of their payloads
)

// calls is who waits for devices to run methods. Every call waits on its caller's goroutine.
type calls struct {
	last atomic.Uint32 // of the numbers given to calls; it begins anywhere, so that no answer meets a call of an earlier process

	mu    sync.Mutex // guards the fields below
	count int
	bytes int
	of    map[Name]*callee
}

type callee struct {
	count   int
	bytes   int
	arrived chan struct{} // closed when it begins to listen; nil while nobody waits for that
}

func (c *calls) enter(op string, n Name, size int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.of[n]
	switch {
	case e != nil && e.count >= maxCallsOfOne:
		return code.With(fault.Newf(op, fault.Exhausted, "%d method calls wait for %s already", maxCallsOfOne, n.Words()).
			Advise("wait for the answers to those"), code.Throttled)
	case e != nil && e.bytes+size > maxBytesOfOne:
		return code.With(fault.Newf(op, fault.Exhausted, "%d method calls with %d bytes of payload wait for %s already", e.count, e.bytes, n.Words()).
			Advise("wait for the answers to those"), code.Throttled)
	case c.count >= maxCalls || c.bytes+size > maxCallBytes:
		return code.With(fault.Newf(op, fault.Exhausted, "%d method calls with %d bytes of payload wait for devices of this hub already", c.count, c.bytes).
			Advise("wait for the answers to some"), code.Throttled)
	case e == nil:
		if c.of == nil {
			c.of = map[Name]*callee{}
		}
		e = &callee{}
		c.of[n] = e
	}
	e.count++
	e.bytes += size
	c.count++
	c.bytes += size
	return nil
}

func (c *calls) leave(n Name, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count--
	c.bytes -= size
	e := c.of[n]
	e.bytes -= size
	if e.count--; e.count == 0 {
		delete(c.of, n)
	}
}

// arrival returns what is closed when the identity begins to listen to methods. The caller has entered.
func (c *calls) arrival(n Name) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.of[n]
	if e.arrived == nil {
		e.arrived = make(chan struct{})
	}
	return e.arrived
}

func (c *calls) arrive(n Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.of[n]; e != nil && e.arrived != nil {
		close(e.arrived)
		e.arrived = nil
	}
}

// waiting returns how many calls wait.
func (c *calls) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// answering is the calls that a session was given and has not answered.
type answering struct {
	mu      sync.Mutex // guards the field below
	pending map[string]chan<- methodAnswer
}

type methodAnswer struct {
	MethodResponse
	err error
}

// expect makes a number for a call, and the channel that takes the one answer to it.
func (s *Session) expect() (id string, answers <-chan methodAnswer) {
	id = strconv.FormatUint(uint64(s.hub.calls.last.Add(1)&0xff_ffff), 16) // six digits: the C SDK has no room for more
	one := make(chan methodAnswer, 1)
	s.answering.mu.Lock()
	defer s.answering.mu.Unlock()
	if s.answering.pending == nil {
		s.answering.pending = map[string]chan<- methodAnswer{}
	}
	s.answering.pending[id] = one
	return id, one
}

func (s *Session) forget(id string) {
	s.answering.mu.Lock()
	defer s.answering.mu.Unlock()
	delete(s.answering.pending, id)
}

// claim finds where an answer goes; there is one to a call.
func (s *Session) claim(id string) (chan<- methodAnswer, bool) {
	s.answering.mu.Lock()
	defer s.answering.mu.Unlock()
	answers, ok := s.answering.pending[id]
	delete(s.answering.pending, id)
	return answers, ok
}
