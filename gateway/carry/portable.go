package carry

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// portable is the engine of goroutines: one for each listening socket, and one or two for each connection.
type portable struct {
	c       *Carrier
	bulk    sync.Pool // *[bulkSize]byte
	accepts sync.WaitGroup
}

// portableListener is one socket and its acceptor.
type portableListener struct {
	socket *net.TCPListener
	done   chan struct{} // nil until it is accepted from; then closed when that has ended
	queued atomic.Bool   // what is queued is accepted before the end; written before the deadline that says so
}

const (
	quietSize = 1 << 10  // bytes a direction reads into while little comes
	bulkSize  = 64 << 10 // and while much does
)

func newPortable(c *Carrier) engine {
	return &portable{c: c, bulk: sync.Pool{New: func() any { return new([bulkSize]byte) }}}
}

func (p *portable) listen(l *Listener, at netip.AddrPort, both bool) error {
	network := "tcp6"
	if at.Addr().Unmap().Is4() {
		network = "tcp4"
	}
	if both {
		network = "tcp"
	}
	socket, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	p.take(l, []*net.TCPListener{socket})
	return nil
}

func (p *portable) take(l *Listener, sockets []*net.TCPListener) {
	var all []*portableListener
	for _, s := range sockets {
		all = append(all, &portableListener{socket: s})
	}
	l.addr = sockets[0].Addr().(*net.TCPAddr).AddrPort()
	l.sockets = all
}

func (p *portable) adopt(l *Listener, files []*os.File) error {
	var sockets []*net.TCPListener
	for _, f := range files {
		s, err := net.FileListener(f)
		if err == nil {
			if tcp, ok := s.(*net.TCPListener); ok {
				sockets = append(sockets, tcp)
				continue
			}
			_ = s.Close()
			err = errors.New("it is not a TCP socket")
		}
		for _, s := range sockets {
			_ = s.Close()
		}
		return err
	}
	p.take(l, sockets)
	return nil
}

func (p *portable) files(l *Listener) ([]*os.File, error) {
	var files []*os.File
	for _, s := range l.sockets.([]*portableListener) {
		f, err := s.socket.File()
		if err != nil {
			for _, f := range files {
				_ = f.Close()
			}
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func (p *portable) open(l *Listener) {
	for _, s := range l.sockets.([]*portableListener) {
		s.done = make(chan struct{})
		p.accepts.Go(func() {
			defer close(s.done)
			p.accept(l, s)
		})
	}
}

func (p *portable) close(l *Listener, queued bool) {
	for _, s := range l.sockets.([]*portableListener) {
		if s.done != nil {
			s.queued.Store(queued)
			_ = s.socket.SetDeadline(time.Now().Add(grace))
			if !queued {
				_ = s.socket.Close()
			}
			<-s.done
		}
		_ = s.socket.Close()
	}
}

func (p *portable) run(ctx context.Context) error {
	<-ctx.Done()
	p.accepts.Wait()
	p.c.sessions.end()
	return nil
}

func (p *portable) tick(time.Time)          {}
func (p *portable) review(func(Visit) bool) {}
func (p *portable) stats(*Stats)            {}

const (
	grace  = 5 * time.Millisecond // a deadline that has passed would end even an accept that need not wait
	graces = 5                    // in a row without a connection: on a busy machine one may be over before it is used
)

func (p *portable) accept(l *Listener, s *portableListener) {
	for waited := 0; ; {
		conn, err := s.socket.AcceptTCP()
		switch {
		case err == nil:
			waited = 0
			p.arrive(l.at.Load(), conn)
		case errors.Is(err, os.ErrDeadlineExceeded) && s.queued.Load() && waited < graces-1:
			waited++
			_ = s.socket.SetDeadline(time.Now().Add(grace))
		case errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			// No file descriptors, most likely: whoever waits in the queue waits on.
			p.c.drop(&p.c.sessions.tally, l.at.Load(), netip.AddrPort{}, ReasonFull)
			again, stop := p.c.clk.After(tick)
			select {
			case <-again:
			case <-time.After(tick):
			}
			stop()
		}
	}
}

func (p *portable) arrive(at *Entrance, conn *net.TCPConn) {
	t := &p.c.sessions.tally
	t.accepted.Add(1)
	peer := plain(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
	if !p.c.admit() {
		_ = conn.SetLinger(0)
		_ = conn.Close()
		p.c.drop(t, at, peer, ReasonFull)
		return
	}
	_ = conn.SetKeepAliveConfig(keepAlive())
	p.c.sessions.start(conn, p.c.clk.Now(), nil, opening, func(s *session) { p.live(s, at, peer) })
}

func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: keepIdle, Interval: keepInterval, Count: keepCount}
}

// live is the life of one connection.
func (p *portable) live(s *session, at *Entrance, peer netip.AddrPort) {
	c, t := p.c, &p.c.sessions.tally
	s.wait(at.helloTimeout(), s.began, ReasonHelloTimeout)
	var first []byte
	source := peer
	if at.trusts(peer.Addr()) {
		var reason string
		if source, first, reason = p.proxied(s, peer); reason != "" {
			s.cut(reason)
			c.drop(t, at, peer, s.why())
			return
		}
	}
	visit, refusal := c.gate.Arrive(at, source)
	if refusal != nil {
		t.refused.Add(1)
		s.cut(ReasonRefused)
		return
	}
	s.calling.Lock()
	s.visit = visit
	s.calling.Unlock()
	hello, first, reason, detail := p.hello(s, at, first)
	if reason != "" {
		s.detail = detail
		s.end(reason)
		return
	}
	s.move(joining)
	s.limit.Store(0)
	var way Way
	s.ask(func(v Visit) { way, refusal = v.Choose(hello) })
	switch {
	case refusal != nil:
		t.refused.Add(1)
		s.end(ReasonRefused)
	case way.Hand != nil:
		s.move(handed)
		s.give(way.Hand, first)
	default:
		if reason := p.join(s, at, way, first); reason != "" {
			s.end(reason)
			return
		}
		s.end(p.pass(s, at, way.Meter, first))
	}
}

// more reads behind b, as much as the capacity has room for; it makes room when there is none.
func more(s *session, b []byte) ([]byte, error) {
	if len(b) == cap(b) {
		b = append(make([]byte, 0, max(512, 4*cap(b))), b...)
	}
	n, err := s.client.Read(b[len(b):cap(b)])
	return b[:len(b)+n], err
}

// proxied reads the PROXY header. first is what came behind it.
func (p *portable) proxied(s *session, peer netip.AddrPort) (source netip.AddrPort, first []byte, reason string) {
	var b []byte
	for {
		var err error
		if b, err = more(s, b); err != nil {
			return peer, nil, ReasonNoHello
		}
		source, n, err := readHeader(b, peer)
		if err != nil {
			return peer, nil, ReasonBadProxyHeader
		}
		if n > 0 {
			return source, b[n:], ""
		}
	}
}

// hello reads the ClientHello of which first came already.
func (p *portable) hello(s *session, at *Entrance, first []byte) (h Hello, read []byte, reason, detail string) {
	for at.TLS {
		h, need, reason, detail := at.readHello(first)
		if need == 0 {
			return h, first, reason, detail
		}
		var err error
		if first, err = more(s, first); err != nil {
			return Hello{}, nil, ReasonNoHello, ""
		}
	}
	return Hello{}, first, "", ""
}

// join connects to a target, one after the other.
func (p *portable) join(s *session, at *Entrance, way Way, first []byte) (reason string) {
	target, ok := way.Target, len(way.Header) <= MostHeader
	for ok {
		ctx, cancel := context.WithCancel(context.Background())
		s.mu.Lock()
		s.abandon = cancel
		over := s.reason
		s.mu.Unlock()
		if over != "" {
			cancel()
			return over
		}
		s.wait(or(way.Wait, at.connectTimeout()), p.c.clk.Now(), "")
		conn, err := (&net.Dialer{KeepAliveConfig: keepAlive()}).DialContext(ctx, "tcp", target.String())
		s.limit.Store(0)
		s.mu.Lock()
		s.abandon = nil
		over = s.reason
		if err == nil {
			s.target = conn.(*net.TCPConn)
		}
		s.mu.Unlock()
		if ctx.Err() != nil {
			err = timeout(target)
		}
		cancel()
		if over != "" {
			if conn != nil {
				_ = conn.Close()
			}
			return over
		}
		if err == nil {
			s.ask(func(v Visit) { v.Connected(target) })
			if len(way.Header) > 0 {
				_, _ = conn.Write(way.Header) // a target that is gone already shows when it is passed the rest
			}
			return ""
		}
		if conn != nil {
			_ = conn.Close()
		}
		p.c.sessions.tally.failed.Add(1)
		s.ask(func(v Visit) {
			v.Failed(target, err)
			target, ok = v.Next()
		})
	}
	return ReasonNoTarget
}

func timeout(target netip.AddrPort) error {
	return fault.Newf("carry.connect", fault.Timeout, "%s did not answer in time", target).Advise("see whether the target runs and a firewall lets the gateway through")
}
