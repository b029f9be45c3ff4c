package resolver

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
)

// admitted is a listener that gives only connections of sources which may ask, up to Config.MaxTCP and a quarter of them to one source.
// Others are closed at once, which tells a client to try elsewhere.
type admitted struct {
	*net.TCPListener
	r    *Resolver
	most int
	done chan struct{}
	end  sync.Once

	mu  sync.Mutex // guards the fields below
	all int
	by  map[netip.Addr]int
}

func (r *Resolver) admitted(ln *net.TCPListener) *admitted {
	return &admitted{TCPListener: ln, r: r, most: r.cfg.MaxTCP, done: make(chan struct{}), by: map[netip.Addr]int{}}
}

// Accept waits for the next connection. It fails only when the listener is closed.
func (l *admitted) Accept() (net.Conn, error) {
	pause := backoff.Backoff{Base: 10 * time.Millisecond, Max: time.Second}
	for {
		conn, err := l.TCPListener.AcceptTCP()
		if err == nil {
			pause.Reset()
			if from := addrOf(conn); l.take(from) {
				return &counted{TCPConn: conn, from: from, l: l}, nil
			}
			l.r.metrics.counts[dropped].Add(1)
			_ = conn.Close()
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		fired, stop := l.r.clk.After(pause.Next()) // out of descriptors: give others time to close some
		select {
		case <-fired:
		case <-l.done:
		}
		stop()
	}
}

// Close ends Accept.
func (l *admitted) Close() error {
	l.end.Do(func() { close(l.done) })
	if err := l.TCPListener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (l *admitted) take(from netip.Addr) bool {
	if !l.r.state.Load().clients.Has(from) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.most || l.by[from] >= max(l.most/4, 1) {
		return false
	}
	l.all++
	l.by[from]++
	return true
}

func (l *admitted) give(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.by[from]--; l.by[from] == 0 {
		delete(l.by, from)
	}
}

// counted gives its place back when it is closed.
type counted struct {
	*net.TCPConn
	from netip.Addr
	l    *admitted
	once sync.Once
}

func (c *counted) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(func() { c.l.give(c.from) })
	return err
}

func addrOf(c net.Conn) netip.Addr { return clientOf(c).Addr() }

func clientOf(c net.Conn) netip.AddrPort {
	at := c.RemoteAddr().(*net.TCPAddr).AddrPort() //nolint:forcetypeassert // a TCP connection's
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
