package socketstream

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/isthmus-io/isthmus/fault"
)

// Subprotocol is what two peers agree on who can end one way at a time.
const Subprotocol = "isthmus.half-close"

// Stream is what New returns. Gone is closed when the connection is lost or closed after the peer had ended its way; before that, Read
// says so. Cut closes it and says why, without waiting long for the peer.
type Stream interface {
	net.Conn
	Cut(why string)
	Gone() <-chan struct{}
}

// Conn is a WebSocket that ends both ways at once.
type Conn struct {
	socket *websocket.Conn
	abort  func() // once
	half   bool
	ctx    context.Context // without an end: a WebSocket that waits for one costs more, and abort is enough
	forget func() bool     // the context's end
	gone   chan struct{}

	reading sync.Mutex // guards the fields below
	reader  io.Reader
	empty   bool // so far, of the message being read
	ended   bool

	timing sync.Mutex // guards the fields below
	timer  *time.Timer
	late   bool
}

// HalfConn can end one way at a time.
type HalfConn struct{ *Conn }

// New makes a stream of a WebSocket, which belongs to it from then on. abort closes the connection below at once; ctx's end calls it. The
// stream has CloseWrite when the two peers agreed on [Subprotocol].
func New(ctx context.Context, socket *websocket.Conn, abort func()) Stream {
	socket.SetReadLimit(-1) // a message is read as it comes, never kept whole
	c := &Conn{socket: socket, abort: sync.OnceFunc(abort), half: socket.Subprotocol() == Subprotocol, ctx: context.WithoutCancel(ctx), gone: make(chan struct{})}
	c.forget = context.AfterFunc(ctx, c.abort)
	if c.half {
		return &HalfConn{c}
	}
	return c
}

// Read reads what the peer sent. io.EOF says that it ended its way, or closed the connection in order.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	for !c.ended {
		n, err := c.read(p)
		if err != nil {
			return 0, c.words(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, io.EOF
}

func (c *Conn) read(p []byte) (int, error) {
	if c.reader == nil {
		kind, r, err := c.socket.Reader(c.ctx)
		if err != nil {
			if s := websocket.CloseStatus(err); s == websocket.StatusNormalClosure || s == websocket.StatusGoingAway {
				c.ended, err = true, nil
			}
			return 0, err
		}
		if kind != websocket.MessageBinary {
			_ = c.socket.Close(websocket.StatusUnsupportedData, "a stream is binary messages")
			return 0, fault.New("socketstream.Read", fault.Invalid, "a message of the WebSocket is text").Advise("a stream is binary messages")
		}
		c.reader, c.empty = r, true
	}
	n, err := c.reader.Read(p)
	c.empty = c.empty && n == 0
	if errors.Is(err, io.EOF) {
		c.reader, err = nil, nil
		if c.half && c.empty {
			c.ended = true
			go c.listen()
		}
	}
	return n, err
}

// listen hears what is still said by a peer that sends no more bytes: pings, and the end.
func (c *Conn) listen() {
	<-c.socket.CloseRead(c.ctx).Done()
	close(c.gone)
}

// words says in the words of net.Conn that a deadline has passed, and that the end was not in order.
func (c *Conn) words(err error) error {
	c.timing.Lock()
	defer c.timing.Unlock()
	if c.late {
		return os.ErrDeadlineExceeded
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write sends p as one message.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // an empty message has a meaning
	}
	if err := c.socket.Write(c.ctx, websocket.MessageBinary, p); err != nil {
		return 0, c.words(err)
	}
	return len(p), nil
}

// CloseWrite says that no more bytes follow. Reading goes on.
func (c *HalfConn) CloseWrite() error {
	return c.words(c.socket.Write(c.ctx, websocket.MessageBinary, nil))
}

// Gone returns a channel that is closed when the connection is over though nobody reads it any more.
func (c *Conn) Gone() <-chan struct{} { return c.gone }

// closePatience is how long a peer may take to agree that a stream is over.
const closePatience = 5 * time.Second

// Close ends both ways, and gives the peer a moment to take what was written.
func (c *Conn) Close() error { return c.close(websocket.StatusNormalClosure, "", closePatience) }

// cutPatience is how long somebody is heard who is cut off.
const cutPatience = 250 * time.Millisecond

// maxReason is what a closing frame has room for (RFC 6455, 5.5).
const maxReason = 123

// Cut ends both ways at once and tells the peer why, in at most 123 bytes, if it listens.
func (c *Conn) Cut(why string) {
	_ = c.close(websocket.StatusPolicyViolation, why[:min(len(why), maxReason)], cutPatience)
}

func (c *Conn) close(status websocket.StatusCode, why string, patience time.Duration) error {
	late := time.AfterFunc(patience, c.abort)
	err := c.socket.Close(status, why)
	late.Stop()
	_ = c.SetDeadline(time.Time{})
	c.forget()
	return err
}

// SetDeadline ends the stream at a moment; the zero time takes that back. Reading and writing have no deadlines of their own: a WebSocket
// of which half a message was written is of no use.
func (c *Conn) SetDeadline(t time.Time) error {
	c.timing.Lock()
	defer c.timing.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if t.IsZero() {
		return nil
	}
	c.timer = time.AfterFunc(time.Until(t), func() {
		c.timing.Lock()
		c.late = true
		c.timing.Unlock()
		c.abort()
	})
	return nil
}

// SetReadDeadline is SetDeadline.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// SetWriteDeadline is SetDeadline.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }

// LocalAddr is where the WebSocket begins, as far as it is known.
func (c *Conn) LocalAddr() net.Addr { return address{} }

// RemoteAddr is where the WebSocket leads to, as far as it is known.
func (c *Conn) RemoteAddr() net.Addr { return address{} }

type address struct{}

func (address) Network() string { return "websocket" }
func (address) String() string  { return "websocket" }
