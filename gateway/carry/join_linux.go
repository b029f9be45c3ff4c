package carry

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/fault"
)

// join tries targets until the attempt at one is under way.
func (w *worker) join(l *link, to netip.AddrPort) {
	for ok := true; ok; to, ok = l.visit.Next() {
		l.goal = to
		e := w.try(l)
		if e == 0 {
			return
		}
		w.report(l, e)
	}
	w.end(l, ReasonNoTarget)
}

// try begins to connect to l.goal.
func (w *worker) try(l *link) unix.Errno {
	if !l.goal.IsValid() {
		return unix.EDESTADDRREQ
	}
	fd, e := newSocket(l.goal)
	if e != 0 {
		return e
	}
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if e := connect(fd, l.goal); e != 0 && e != unix.EINPROGRESS {
		closeFD(fd)
		return e
	}
	l.fd[target], l.watched[target], l.last = fd, false, w.now
	l.readable[target], l.writable[target], l.ending[target] = false, false, false
	if !w.watchSide(l, target) {
		closeFD(fd)
		l.fd[target] = -1
		return unix.ENOMEM
	}
	w.wheel.arm(l, l.due())
	return 0
}

// failed goes on with another target after an attempt that was under way.
func (w *worker) failed(l *link, e unix.Errno) {
	closeFD(l.fd[target])
	l.fd[target], l.watched[target] = -1, false
	w.report(l, e)
	if to, ok := l.visit.Next(); ok {
		w.join(l, to)
		return
	}
	w.end(l, ReasonNoTarget)
}

func (w *worker) report(l *link, e unix.Errno) {
	w.tally.failed.Add(1)
	err := timeout(l.goal)
	if e != unix.ETIMEDOUT {
		err = fault.Newf("carry.connect", fault.Unavailable, "%s cannot be reached: %s", l.goal, e.Error()).Because(e).
			Advise("see whether the target runs and a firewall lets the gateway through")
	}
	l.visit.Failed(l.goal, err)
}

// joined begins to pass bytes.
func (w *worker) joined(l *link) {
	l.visit.Connected(l.goal)
	w.move(l, passing)
	l.last = w.now
	w.wheel.arm(l, l.due())
	l.writable = [2]bool{true, true}
	l.readable[client] = true
	was := l.generation
	if len(l.header) > 0 {
		flags := uintptr(unix.MSG_DONTWAIT)
		if l.at.TLS {
			flags |= unix.MSG_MORE // the hello is there and goes along
		}
		w.sendHeader(l, flags)
	}
	w.pass(l)
	if l.generation == was && !w.watchSide(l, client) {
		w.end(l, ReasonReset)
	}
}

// sendHeader sends what is left of the header; an error shows again when there is more to send.
func (w *worker) sendHeader(l *link, flags uintptr) {
	if n, e := send(l.fd[target], l.header, flags); e == 0 {
		l.header = l.header[n:]
	} else if e == unix.EAGAIN {
		l.writable[target] = false
	} else {
		l.header = nil
	}
	if len(l.header) == 0 {
		l.header = nil
	}
}
