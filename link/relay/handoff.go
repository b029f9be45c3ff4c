package relay

import (
	"net"
	"sync"
)

// Handoff is a net.Listener fed by a relay: its Handle is a Config.ControlHandler, so that one process serves the control API
// (http.Server.Serve) and the relay on one port.
type Handoff struct {
	addr  net.Addr
	conns chan net.Conn
	ended chan struct{}

	mu     sync.Mutex // guards closed, and that nothing enters conns after it
	closed bool
}

var _ net.Listener = (*Handoff)(nil)

// handoffBacklog is how many connections may wait for Accept; a server that is further behind than that is better not waited for.
const handoffBacklog = 256

// NewHandoff returns a listener that reports addr as its address.
func NewHandoff(addr net.Addr) *Handoff {
	return &Handoff{addr: addr, conns: make(chan net.Conn, handoffBacklog), ended: make(chan struct{})}
}

// Handle gives a connection to Accept. It never waits: with a full backlog or after Close it closes the connection.
func (h *Handoff) Handle(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		select {
		case h.conns <- c:
			return
		default:
		}
	}
	_ = c.Close()
}

// Accept returns the next connection, or net.ErrClosed.
func (h *Handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and closes what waits for it. Connections already accepted stay open.
func (h *Handoff) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	close(h.ended)
	for {
		select {
		case c := <-h.conns:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// Addr returns the address given to NewHandoff.
func (h *Handoff) Addr() net.Addr { return h.addr }
