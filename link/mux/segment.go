package mux

import "sync"

// A segment is a pooled buffer; buf[r:w] is what it holds. A segment has one owner at a time and is handed on, never shared.
type segment struct {
	next *segment
	buf  []byte
	r, w int
}

// The classes of segments are powers of two from 512 bytes to 64 KiB, so that at most half of a segment is wasted.
const (
	leastSegment = 512
	classes      = 8
	mostSegment  = leastSegment << (classes - 1)
)

// pools hold unused segments by class. They are shared by all sessions because a session alone cannot tell how many to keep;
// the collector empties them.
var pools [classes]sync.Pool

func class(n int) int {
	c := 0
	for size := leastSegment; size < n; size <<= 1 {
		c++
	}
	return c
}

// newSegment returns an empty segment of at least n bytes, n being at most mostSegment.
func newSegment(n int) *segment {
	c := class(n)
	if s, ok := pools[c].Get().(*segment); ok {
		return s
	}
	return &segment{buf: make([]byte, leastSegment<<c)}
}

func (s *segment) free() {
	s.next, s.r, s.w = nil, 0, 0
	pools[class(len(s.buf))].Put(s)
}

// A chain is a queue of segments.
type chain struct{ head, tail *segment }

func (c *chain) push(s *segment) {
	if c.tail == nil {
		c.head = s
	} else {
		c.tail.next = s
	}
	c.tail = s
}

func (c *chain) pop() *segment {
	s := c.head
	if s == nil {
		return nil
	}
	if c.head = s.next; c.head == nil {
		c.tail = nil
	}
	s.next = nil
	return s
}

// drop frees all and returns how many bytes of memory that was.
func (c *chain) drop() (held int64) {
	for s := c.pop(); s != nil; s = c.pop() {
		held += int64(len(s.buf))
		s.free()
	}
	return held
}
