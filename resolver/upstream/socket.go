package upstream

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

var (
	errNoAnswer  = errors.New("no answer in time")
	errNoSockets = errors.New("too many sockets are open")
)

// socket is a UDP socket on a random port, connected to one server, so that the kernel drops what comes from elsewhere and tells us
// when the server's port is closed. It is used for a bounded time and number of questions.
type socket struct {
	conn   *net.UDPConn
	raw    syscall.RawConn
	server *server

	pending map[uint16]*flight // guarded by Pool.mu, as all below
	uses    int
	opened  time.Time
	retired bool // it takes no more questions, and is closed after the last answer
	taking  bool // its goroutine is taking answers, and will see itself whether that was the last
}

func (s *socket) close() { _ = s.conn.Close() }

// overUDP puts a try onto one of the server's sockets, or has one opened.
func (p *Pool) overUDP(f *flight, now time.Time, w *work) {
	s := f.try.server
	if n := len(s.current); n >= p.cfg.Sockets || n > 0 && p.sockets >= maxSockets {
		p.sendOver(f, s.current[int(p.dice.uint16())%n], now, w)
		return
	}
	if p.sockets >= maxSockets {
		p.fail(f, errNoSockets, false, now, w)
		return
	}
	p.sockets++
	w.opens = append(w.opens, opening{flight: f, server: s, gen: f.gen})
}

// sendOver sends a try's question from a socket.
func (p *Pool) sendOver(f *flight, sock *socket, now time.Time, w *work) {
	t, s := &f.try, sock.server
	t.id = p.dice.uint16()
	for sock.pending[t.id] != nil {
		t.id = p.dice.uint16()
	}
	sock.pending[t.id] = f
	t.sock, t.on = sock, true
	t.mixed = !now.Before(s.plainUntil)
	t.cookied = t.level != noEDNS
	sh := shape{level: t.level, mixed: t.mixed}
	pkt := p.packets.Get().(*packet) //nolint:forcetypeassert // its own
	if t.cookied {
		sh.cookie = s.cookies(pkt.scratch[:0])
	}
	pkt.msg = p.put(f, pkt.buf[:0], t.id, sh)
	w.sends = append(w.sends, send{sock: sock, pkt: pkt, id: t.id})
	sock.uses++
	if sock.uses >= p.cfg.SocketUses {
		sock.retire()
	}
}

// retire takes a socket out of use; it is closed after its last answer.
func (s *socket) retire() {
	s.server.current = slices.DeleteFunc(s.server.current, func(o *socket) bool { return o == s })
	s.retired = true
}

func (s *server) cookies(b []byte) []byte { return append(append(b, s.client[:]...), s.cookie...) }

// open opens a socket for a try that waits for it. If the try has ended meanwhile, the next one has the socket.
func (p *Pool) open(o opening, w *work) {
	sock, err := p.dial(o.server)
	now := p.clk.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	waits := o.flight.gen == o.gen
	if err != nil {
		p.sockets--
		switch n := len(o.server.current); {
		case waits && n > 0 && ourOwn(err):
			p.sendOver(o.flight, o.server.current[int(p.dice.uint16())%n], now, w)
		case waits:
			p.fail(o.flight, err, false, now, w)
		}
		return
	}
	if !p.running {
		p.sockets--
		_ = sock.conn.Close() // nobody reads from it yet
		return
	}
	sock.opened = now
	o.server.current = append(o.server.current, sock)
	p.sweepSoon(now)
	p.owned.Go(func() {
		sock.listen(p)
		sock.close()
		p.mu.Lock()
		p.sockets--
		p.mu.Unlock()
	})
	if waits {
		p.sendOver(o.flight, sock, now, w)
	}
}

// dial opens a socket on a random port of our choice: not every system chooses ports that cannot be foreseen.
func (p *Pool) dial(s *server) (*socket, error) {
	p.mu.Lock()
	from := p.sourceFor(s.Address.Addr())
	var ports [8]uint16
	for i := range ports {
		ports[i] = 1<<15 | p.dice.uint16()
	}
	p.mu.Unlock()
	to := net.UDPAddrFromAddrPort(s.Address)
	var err error
	for i := range ports {
		var conn *net.UDPConn
		conn, err = net.DialUDP("udp", &net.UDPAddr{IP: from.AsSlice(), Zone: from.Zone(), Port: int(ports[i])}, to)
		if err != nil {
			if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) { // taken, or kept from us: another
				continue
			}
			return nil, err
		}
		raw, err := conn.SyscallConn()
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		return &socket{conn: conn, raw: raw, server: s, pending: map[uint16]*flight{}}, nil
	}
	return nil, err
}

// sourceFor is the address a query leaves from; not valid when the kernel is to choose.
func (p *Pool) sourceFor(to netip.Addr) netip.Addr {
	var fit []netip.Addr
	for _, a := range p.cfg.SourceAddresses {
		if a.Unmap().Is4() == to.Unmap().Is4() {
			fit = append(fit, a)
		}
	}
	if len(fit) == 0 {
		return netip.Addr{}
	}
	return fit[int(p.dice.uint16())%len(fit)]
}

// retireOld takes sockets that are old out of use, and returns the others.
func (p *Pool) retireOld(current []*socket, now time.Time) []*socket {
	return slices.DeleteFunc(current, func(s *socket) bool {
		if now.Sub(s.opened) < socketAge {
			return false
		}
		s.retired = true
		p.closeEmpty(s)
		return true
	})
}

// closeEmpty closes a socket that is out of use and waits for nothing.
func (p *Pool) closeEmpty(s *socket) {
	if s.retired && !s.taking && len(s.pending) == 0 {
		p.closing = append(p.closing, s)
		p.wakeUp()
	}
}

// unsent is told that a datagram could not be sent.
func (p *Pool) unsent(s send, err error, w *work) {
	now := p.clk.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS): // as if lost on the way
	case errors.Is(err, syscall.ECONNREFUSED):
		p.unreachable(s.sock, err, now, w)
	default:
		if f := s.sock.pending[s.id]; f != nil {
			p.fail(f, err, false, now, w)
		}
	}
}

// unreachable fails all that wait on a socket, which is given up: the network said that there is nobody.
func (p *Pool) unreachable(s *socket, err error, now time.Time, w *work) {
	s.retire()
	for _, f := range slices.Collect(maps.Values(s.pending)) {
		p.fail(f, err, false, now, w)
	}
	p.closeEmpty(s)
}

// broken is told of an error of reading, after which the socket's goroutine ends.
func (p *Pool) broken(s *socket, err error, w *work) {
	now := p.clk.Now()
	p.mu.Lock()
	s.taking = true // so that nobody else closes it
	p.unreachable(s, err, now, w)
	p.mu.Unlock()
	p.do(w)
}

// dialFrom is for connections: from one of our addresses, within the time of a try.
func (p *Pool) dialFrom(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	p.mu.Lock()
	from := p.sourceFor(to.Addr())
	p.mu.Unlock()
	d := net.Dialer{Timeout: p.cfg.Timeout}
	if from.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: from.AsSlice(), Zone: from.Zone()}
	}
	return d.DialContext(ctx, "tcp", to.String())
}
