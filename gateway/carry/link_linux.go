package carry

import (
	"math"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	client = 0
	target = 1
)

const alwaysHeard = 64 // bytes of a hello up to which each new one is looked at

// link is one connection: a client's socket and, later, a target's. What the client sends before it is decided waits in the kernel,
// where it is looked at without taking it, so that nothing is held here and another target can be tried.
type link struct {
	fd         [2]int32 // by side; -1: none
	readable   [2]bool  // a read may give something
	writable   [2]bool
	ending     [2]bool // the peer said end of data, or worse: it must be read until that
	watched    [2]bool // the socket is in the epoll
	stage      stage
	queued     bool  // in worker.ready
	armed      bool  // in the wheel
	tuned      bool  // the target's socket has all its options
	losing     bool  // a side is gone; what it said before is passed on
	want       int32 // bytes in the socket before looking at the hello is of use
	slot       int32
	generation uint32
	patience   int32   // milliseconds for a target to answer
	way        [2]flow // by the side that sends
	at         *Entrance
	visit      Visit
	meter      Meter
	detail     string // of the outcome
	header     []byte // what the target gets first, as far as it has not got it
	peer       netip.AddrPort
	goal       netip.AddrPort // the target tried last
	began      int64          // nanoseconds, as those below
	last       int64          // when bytes moved, or the target was tried
	wheelAt    int64
	sooner     *link
	later      *link
}

// flow is one direction of a link.
type flow struct {
	total   uint64
	buffer  []byte // bytes [at:end] were taken from the sender and not yet by the receiver; nil most of the time
	at, end int
	pipe    *pipe // while much passes
	full    uint8 // reads in a row which took all they asked for
	over    bool  // the sender's end of data was met
	told    bool  // and the receiver told
	resting bool  // until the meter gives more
}

func (w *worker) newLink() *link {
	if l := w.free; l != nil {
		w.free, l.later = l.later, nil
		return l
	}
	l := &link{slot: int32(len(w.slots)), generation: 1, stage: ended}
	w.slots = append(w.slots, l)
	return l
}

func (w *worker) move(l *link, to stage) {
	w.tally.move(l.stage, to)
	l.stage = to
}

// due is when something must have happened.
func (l *link) due() int64 {
	switch {
	case l.stage == opening:
		return l.began + int64(l.at.helloTimeout())
	case l.stage == joining:
		return l.last + int64(l.patience)*int64(time.Millisecond)
	case l.way[client].over || l.way[target].over:
		return l.last + int64(l.at.halfIdle())
	}
	return l.last + int64(l.at.idleTimeout())
}

// watchSide has the epoll tell of a socket from now on, and of what it is ready for already.
func (w *worker) watchSide(l *link, side int) bool {
	if l.watched[side] {
		return true
	}
	e := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     l.slot, Pad: int32(l.generation<<aboutBits | uint32(side)),
	}
	l.watched[side] = epollControl(w.epoll, unix.EPOLL_CTL_ADD, l.fd[side], &e) == 0
	return l.watched[side]
}

// happened is called for an event of a socket.
func (w *worker) happened(l *link, side int, events uint32) {
	const worse = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	if events&(unix.EPOLLIN|worse) != 0 {
		l.readable[side] = true
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		l.writable[side] = true
	}
	if events&worse != 0 {
		l.ending[side] = true
	}
	switch {
	case l.stage == opening:
		w.hear(l)
	case l.stage == joining && side == target:
		if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			if e := socketError(l.fd[target]); e != 0 {
				w.failed(l, e)
				return
			}
		}
		w.joined(l)
	case l.stage == joining:
		if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			w.end(l, ReasonReset)
		}
	default:
		was := l.generation
		w.pass(l)
		// A reset counts even while the other side takes nothing.
		if events&unix.EPOLLERR != 0 && l.generation == was && socketError(l.fd[side]) != 0 {
			w.end(l, ReasonReset)
		}
	}
}

// hear looks at what the client has said so far.
func (w *worker) hear(l *link) {
	fd := l.fd[client]
	if l.want > 0 && !l.ending[client] && unread(fd) < int(l.want) {
		return
	}
	n, e := recv(fd, w.scratch[:MostHeader+MostHello], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if e != 0 && e != unix.EAGAIN {
		w.end(l, ReasonNoHello)
		return
	}
	left := e == 0 && n == 0 || l.ending[client]
	b := w.scratch[:max(0, n)]
	if e != 0 {
		b = nil
	}
	if l.visit == nil && len(b) > 0 {
		source, n, err := readHeader(b, l.peer)
		if err != nil {
			w.end(l, ReasonBadProxyHeader)
			return
		}
		if n > 0 {
			if _, e := discard(fd, n); e != 0 {
				w.end(l, ReasonNoHello)
				return
			}
			b = b[n:]
			if !w.arrive(l, source) {
				return
			}
		}
	}
	if l.visit != nil && !l.at.TLS {
		w.choose(l, Hello{})
		return
	}
	if l.visit != nil {
		h, need, reason, detail := l.at.readHello(b)
		if reason != "" {
			l.detail = detail
			w.end(l, reason)
			return
		}
		if need == 0 {
			w.choose(l, h)
			return
		}
		// One byte at a time is not read over and over; but bytes that are wrong show it before all are there.
		if l.want = 0; len(b) >= alwaysHeard {
			l.want = int32(min(len(b)+need, 2*len(b)))
		}
	}
	if left || !w.watchSide(l, client) {
		w.end(l, ReasonNoHello)
	}
}

// arrive asks the gate about a source; false when that was the end.
func (w *worker) arrive(l *link, source netip.AddrPort) bool {
	visit, refusal := w.c.gate.Arrive(l.at, source)
	if refusal != nil {
		w.tally.refused.Add(1)
		w.end(l, ReasonRefused)
		return false
	}
	l.visit = visit
	return true
}

func (w *worker) choose(l *link, h Hello) {
	way, refusal := l.visit.Choose(h)
	switch {
	case refusal != nil:
		w.tally.refused.Add(1)
		w.end(l, ReasonRefused)
	case way.Hand != nil:
		w.give(l, way.Hand)
	case len(way.Header) > MostHeader:
		w.end(l, ReasonNoTarget)
	default:
		w.move(l, joining)
		l.header, l.meter = way.Header, way.Meter
		l.patience = int32(min(or(way.Wait, l.at.connectTimeout())/time.Millisecond, math.MaxInt32))
		w.join(l, way.Target)
	}
}

// give makes a connection of the net package of the client's socket and lets a session have it.
func (w *worker) give(l *link, hand func(net.Conn, []byte)) {
	fd := l.fd[client]
	if l.watched[client] {
		_ = epollControl(w.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	}
	f := os.NewFile(uintptr(fd), "")
	conn, err := net.FileConn(f) // which duplicates it
	tcp, ok := conn.(*net.TCPConn)
	if err != nil || !ok {
		w.c.log.Warn("a connection cannot be given to its endpoint", "error", err)
		reset(fd)
		l.fd[client] = -1
		w.end(l, ReasonReset)
		return
	}
	_ = f.Close()
	visit, began := l.visit, w.c.epoch.Add(time.Duration(l.began))
	l.visit, l.fd[client] = nil, -1
	w.forget(l)
	w.c.sessions.start(tcp, began, visit, handed, func(s *session) { s.give(hand, nil) })
}

// end ends a link: in order when the reason is ReasonClosed, otherwise with resets.
func (w *worker) end(l *link, reason string) {
	for _, fd := range l.fd {
		switch {
		case fd < 0:
		case reason == ReasonClosed:
			closeFD(fd)
		default:
			reset(fd)
		}
	}
	visit, at, peer := l.visit, l.at, l.peer
	o := Outcome{Reason: reason, Detail: l.detail, Sent: l.way[client].total, Received: l.way[target].total, Duration: time.Duration(w.now - l.began)}
	w.forget(l)
	if visit != nil {
		visit.Ended(o)
	} else if reason != ReasonRefused {
		w.c.drop(&w.tally, at, peer, reason)
	}
	w.c.release()
}

// forget frees a link's place and all it borrowed.
func (w *worker) forget(l *link) {
	w.wheel.disarm(l)
	for side := range l.way {
		w.unhold(&l.way[side])
		w.giveBack(&l.way[side])
	}
	w.move(l, ended)
	*l = link{slot: l.slot, generation: l.generation + 1, stage: ended, later: w.free}
	w.free = l
}
