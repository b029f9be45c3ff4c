package front

import (
	"context"
	"crypto/x509"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/hub"
)

// Conn is a connection whose side is known and whose TLS is done.
type Conn struct {
	net.Conn // what the door reads and writes: TLS, or what is spoken over it
	Side     hub.Side
	Door     string
	// Certificates are those the peer showed in TLS, its own first; none of them is checked but for the key of the first.
	Certificates []*x509.Certificate

	over bool // something else is spoken over TLS
	*socket
}

// socket is what is below all that is spoken over one connection.
type socket struct {
	front   *Front
	raw     net.Conn
	crew    *crew
	vouched func() // of crowd; nil before it is counted there
	release func() // of hub.Server.Hold
	cause   atomic.Uint32
	kept    atomic.Int32 // how often
	once    sync.Once
}

// Over returns the connection as the door of a protocol has it that is spoken over this one: conn reads and writes it. Both are one
// connection, with one cause and one end. The time for the door's setup begins anew.
func (c *Conn) Over(conn net.Conn, door string) *Conn {
	_ = conn.SetDeadline(time.Now().Add(c.front.cfg.SetupTimeout)) // a closed connection tells it when read
	return &Conn{Conn: conn, Side: c.Side, Door: door, Certificates: c.Certificates, over: true, socket: c.socket}
}

// Context is that of the Serve which accepted the connection: it ends before all its connections are closed.
func (s *socket) Context() context.Context { return s.crew.ctx }

// Cut closes the connection at once, without a word to the peer; the first cause given is kept.
func (s *socket) Cut(cause hub.Cause) {
	s.cause.CompareAndSwap(0, uint32(cause))
	_ = s.raw.Close() // it may be closed already
}

// Cause returns why the connection was cut, 0 when it was not.
func (s *socket) Cause() hub.Cause { return hub.Cause(s.cause.Load()) }

// Refuse notes that the peer was turned away; who is what it called itself.
func (c *Conn) Refuse(who string, err error) { c.front.server.Refuse(c.Door, c.Side, who, err) }

// CloseWrite tells the peer that nothing more comes, where the protocol can say so.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Keep lets the connection live on after the handler it was given to has returned, until Leave.
func (s *socket) Keep() { s.kept.Add(1) }

// Hand gives a connection that is kept to somebody else, as Serve gives it to a handler: it is over when serve returns, unless that called
// Keep again.
func (s *socket) Hand(serve func()) {
	before := s.kept.Load()
	serve()
	if s.kept.Load() == before {
		s.Leave()
	}
}

// Leave ends the connection for good and gives its place free. It may be called more than once.
func (s *socket) Leave() {
	s.once.Do(func() {
		_ = s.raw.Close() // it may be closed already
		if s.release != nil {
			s.release()
		}
		if s.vouched != nil {
			s.vouched()
		}
		s.crew.leave(s)
	})
}

// crew is the connections of one Serve.
type crew struct {
	ctx context.Context //nolint:containedctx // of all of them
	all sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	at     map[*socket]struct{}
	room   int
	closed bool
}

func (c *crew) enter(s *socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.at) >= c.room {
		return false
	}
	c.at[s] = struct{}{}
	c.all.Add(1)
	return true
}

func (c *crew) leave(s *socket) {
	c.mu.Lock()
	delete(c.at, s)
	c.mu.Unlock()
	c.all.Done()
}

// close closes every connection and lets no other in.
func (c *crew) close() {
	c.mu.Lock()
	c.closed = true
	open := slices.Collect(maps.Keys(c.at))
	c.mu.Unlock()
	for _, s := range open {
		_ = s.raw.Close()
	}
}
