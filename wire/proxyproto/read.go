package proxyproto

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Read takes exactly one header from r. [ErrNone] means that r began with something else; up to 15 bytes of it are gone then, which
// [Accept] keeps.
func Read(r io.Reader) (Header, error) {
	h, seen, err := read(r)
	if err == nil && h == nil {
		err = ended(seen, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return Header{}, err
	}
	return *h, nil
}

// Accept takes the header from the beginning of conn, which must come whole within limit. When conn begins with something else, the
// header is nil and the connection returned gives every byte of it; when it begins with a header, the connection returned is conn
// itself, with not a byte behind the header read. A connection that ends or says nothing before its first byte is an error (io.EOF,
// or a fault of kind Timeout); a header that is bad, cut short or slow is a fault. Accept does not close conn.
func Accept(conn net.Conn, limit time.Duration) (*Header, net.Conn, error) {
	// Only a connection that is closed refuses a deadline, and reading tells that better.
	_ = conn.SetReadDeadline(time.Now().Add(limit))
	h, seen, err := read(conn)
	if errors.Is(err, ErrNone) {
		err = nil
	}
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetReadDeadline(time.Time{})
	if h == nil {
		return nil, &replayed{conn, seen}, nil
	}
	return h, conn, nil
}

// read returns the header, or what it saw of something that is none. Bytes of something else which ended early are no header either.
func read(r io.Reader) (*Header, []byte, error) {
	buf := make([]byte, 0, 128)
	for {
		n, err := Need(buf)
		if err != nil {
			return nil, buf, err
		}
		if n == 0 {
			h, _, err := Decode(buf)
			if err != nil {
				return nil, buf, err
			}
			return &h, nil, nil
		}
		if cap(buf) < len(buf)+n {
			buf = append(make([]byte, 0, len(buf)+n), buf...)
		}
		m, err := r.Read(buf[len(buf) : len(buf)+n])
		buf = buf[:len(buf)+m]
		if err != nil && m == 0 {
			if len(buf) == 0 && errors.Is(err, io.EOF) {
				return nil, nil, io.EOF
			}
			return nil, buf, ended(buf, err)
		}
	}
}

func ended(seen []byte, err error) error {
	const op = "proxyproto.Read"
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fault.Newf(op, fault.Timeout, "no whole PROXY header came in time: %d bytes did", len(seen)).Because(err).
			Advise("find out what holds the sender up")
	}
	need, _ := Need(seen)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return truncated(seen, need)
	}
	return fault.Wrap(op, fault.Unavailable, err, "the connection broke before its PROXY header was whole")
}

// replayed is a connection which gives back the bytes that were looked at first.
type replayed struct {
	net.Conn
	seen []byte // touched by the one reader only
}

func (c *replayed) Read(b []byte) (int, error) {
	if len(c.seen) > 0 {
		n := copy(b, c.seen)
		c.seen = c.seen[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// NetConn returns the connection below, for options of the socket.
func (c *replayed) NetConn() net.Conn { return c.Conn }
