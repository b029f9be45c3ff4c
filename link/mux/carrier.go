package mux

import (
	"net"
	"sync"
)

// Carrier goes between a TCP connection and the TLS on top of it, so that TLS records, of at most 16 KiB, do not cost a system call
// each: it reads ahead, and while a session uses it, it gathers written records until the session has no more to say. Before and
// after, writes pass straight through, so handshakes work.
//
//	conn := tls.Client(mux.NewCarrier(tcp), cfg)
//	session := mux.Client(conn, mux.Config{})
type Carrier struct {
	net.Conn

	in   []byte // read ahead; for one reader at a time, as tls.Conn is
	r, w int

	mu     sync.Mutex // guards the rest
	out    []byte     // gathered; out[:gone] has been written
	gone   int
	corked bool
	err    error
	now    rawSink // nil when the connection cannot be written without waiting
}

const (
	carrierIn  = 64 << 10
	carrierOut = 70 << 10 // a prompt batch as TLS records
)

// NewCarrier wraps a connection.
func NewCarrier(conn net.Conn) *Carrier { return &Carrier{Conn: conn, now: newRawSink(conn)} }

// carrierOf finds the carrier at or directly below conn.
func carrierOf(conn net.Conn) *Carrier {
	if c, ok := conn.(*Carrier); ok {
		return c
	}
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		if c, ok := t.NetConn().(*Carrier); ok {
			return c
		}
	}
	return nil
}

// NetConn returns the connection below.
func (c *Carrier) NetConn() net.Conn { return c.Conn }

// Read reads from the buffer, and fills it by one read when it is empty.
func (c *Carrier) Read(p []byte) (int, error) {
	if c.r == c.w {
		if c.in == nil {
			c.in = make([]byte, carrierIn)
		}
		if len(p) >= len(c.in) {
			return c.Conn.Read(p)
		}
		n, err := c.Conn.Read(c.in)
		c.r, c.w = 0, max(n, 0)
		if c.w == 0 {
			return 0, err
		}
	}
	n := copy(p, c.in[c.r:c.w])
	c.r += n
	return n, nil
}

// Write writes through, or gathers while a session uses the carrier.
func (c *Carrier) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.corked {
		return c.Conn.Write(p)
	}
	if len(c.out)+len(p) > cap(c.out) {
		if err := c.flushLocked(); err != nil {
			return 0, err
		}
		if len(p) > cap(c.out) {
			return c.Conn.Write(p)
		}
	}
	if c.err != nil {
		return 0, c.err
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

// Flush writes what was gathered.
func (c *Carrier) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushLocked()
}

func (c *Carrier) flushLocked() error {
	if c.err == nil && len(c.out) > c.gone {
		_, c.err = c.Conn.Write(c.out[c.gone:])
	}
	c.out, c.gone = c.out[:0], 0
	return c.err
}

// flushNow writes what the connection takes without waiting, and says whether that was all. Errors are left to Flush.
func (c *Carrier) flushNow() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	if len(c.out) > c.gone {
		if c.gone += c.now.write(c.out[c.gone:]); c.gone < len(c.out) {
			return false
		}
	}
	c.out, c.gone = c.out[:0], 0
	return true
}

func (c *Carrier) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
	if c.out == nil {
		c.out = make([]byte, 0, carrierOut)
	}
}

func (c *Carrier) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	return c.flushLocked()
}
