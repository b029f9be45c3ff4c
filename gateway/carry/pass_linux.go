package carry

import (
	"time"

	"golang.org/x/sys/unix"
)

// pass moves what can be moved in both directions, up to what one turn allows.
func (w *worker) pass(l *link) {
	was := l.generation
	up := w.carry(l, client)
	if l.generation != was {
		return
	}
	down := w.carry(l, target)
	if l.generation == was && (up || down) {
		w.again(l)
	}
}

// carry moves bytes from one side to the other. It tells whether there is more to do at once.
func (w *worker) carry(l *link, from int) (more bool) {
	f, to := &l.way[from], 1-from
	for left := turnBytes; ; {
		if f.buffer != nil || f.pipe != nil && f.pipe.bytes > 0 || from == client && l.header != nil {
			if !l.writable[to] {
				return false
			}
			if !w.flush(l, f, to) {
				return false
			}
			continue
		}
		if f.over {
			w.finishFlow(l, f, to)
			return false
		}
		if !l.readable[from] || !l.writable[to] || f.resting {
			return false
		}
		if left <= 0 {
			return true
		}
		want := left
		if l.meter != nil {
			if want = w.measure(l, f, from, want); want == 0 {
				return false
			}
		}
		var n int
		var ok bool
		if f.full >= spliceAfter && l.meter == nil {
			n, ok = w.throughPipe(l, f, from, want)
		} else {
			n, ok = w.copied(l, f, from, want)
		}
		if !ok {
			return false
		}
		left -= n
	}
}

// measure asks the meter about what is there; 0 means that the flow rests.
func (w *worker) measure(l *link, f *flow, from, want int) int {
	there := unread(l.fd[from])
	if there == 0 {
		if l.ending[from] {
			return want // the end of data, or an error: no byte comes any more
		}
		l.readable[from] = false
		return 0
	}
	n, wait := l.meter.Take(min(want, there))
	if n == 0 {
		f.resting = true
		w.resting.add(w.now+int64(max(wait, time.Millisecond)), l)
	}
	return n
}

// rested lets a link ask its meter again.
func (w *worker) rested(l *link) {
	if l.stage == passing {
		l.way[client].resting, l.way[target].resting = false, false
		w.again(l)
	}
}

// count notes bytes that were passed on.
func (w *worker) count(l *link, f *flow, from, n int) {
	f.total += uint64(n)
	l.last = w.now
	if from == client {
		w.tally.sent.Add(uint64(n))
	} else {
		w.tally.received.Add(uint64(n))
	}
}

// copied moves up to want bytes through the worker's buffer. ok is false when the flow waits, or the link has ended.
func (w *worker) copied(l *link, f *flow, from, want int) (n int, ok bool) {
	to := 1 - from
	b := w.scratch[:min(want, copyBytes)]
	peek := w.stores.held >= mostHeld
	flags := uintptr(unix.MSG_DONTWAIT)
	if peek {
		// No buffer is left for what the receiver will not take: what it takes is taken from the sender afterwards.
		flags |= unix.MSG_PEEK
	}
	n, e := recv(l.fd[from], b, flags)
	if !w.got(l, f, from, n, e, len(b)) {
		return 0, false
	}
	sent, e := send(l.fd[to], b[:n], unix.MSG_DONTWAIT)
	switch {
	case e == unix.EAGAIN:
		sent = 0
	case e != 0:
		w.lost(l, to)
		return 0, false
	}
	if peek && sent > 0 {
		_, _ = discard(l.fd[from], sent)
	}
	w.count(l, f, from, sent)
	if sent < n {
		l.writable[to] = false
		if peek {
			l.readable[from] = true
		} else {
			w.hold(f, sent, n)
		}
		return sent, false
	}
	return n, true
}

// got looks at what a read gave; false when there is nothing to pass on.
func (w *worker) got(l *link, f *flow, from, n int, e unix.Errno, asked int) bool {
	switch {
	case e == unix.EAGAIN:
		l.readable[from] = false
		return false
	case e != 0:
		w.end(l, ReasonReset)
		return false
	case n == 0:
		f.over = true
		l.readable[from] = false
		w.finishFlow(l, f, 1-from)
		return false
	case n < asked:
		// All there was; what comes from now on is an event. The end of data was one already.
		l.readable[from] = l.ending[from]
		f.full = 0
	case f.full < 255:
		f.full++
	}
	return true
}

// throughPipe moves up to want bytes without bringing them into this process.
func (w *worker) throughPipe(l *link, f *flow, from, want int) (n int, ok bool) {
	if f.pipe == nil {
		if f.pipe = w.borrow(); f.pipe == nil {
			return w.copied(l, f, from, want)
		}
	}
	n, e := splice(l.fd[from], f.pipe.to, want)
	switch {
	case e == unix.EAGAIN:
		l.readable[from] = false
		w.giveBack(f)
		return 0, false
	case e != 0:
		w.end(l, ReasonReset)
		return 0, false
	case n == 0:
		f.over = true
		l.readable[from] = false
		w.giveBack(f)
		w.finishFlow(l, f, 1-from)
		return 0, false
	}
	if n < spliceLeast {
		f.full--
	}
	f.pipe.bytes = n
	return n, true
}

// flush passes on what was taken before. False when the receiver takes no more for now, or the link has ended.
func (w *worker) flush(l *link, f *flow, to int) bool {
	if to == target && l.header != nil {
		w.sendHeader(l, unix.MSG_DONTWAIT)
		return l.writable[to]
	}
	if f.buffer != nil {
		n, e := send(l.fd[to], f.buffer[f.at:f.end], unix.MSG_DONTWAIT)
		if e != 0 {
			return w.refused(l, to, e)
		}
		f.at += n
		w.count(l, f, 1-to, n)
		if f.at < f.end {
			l.writable[to] = false
			return false
		}
		w.unhold(f)
		return true
	}
	n, e := splice(f.pipe.from, l.fd[to], f.pipe.bytes)
	if e != 0 {
		return w.refused(l, to, e)
	}
	f.pipe.bytes -= n
	w.count(l, f, 1-to, n)
	return true
}

// refused looks at why a side took nothing.
func (w *worker) refused(l *link, to int, e unix.Errno) bool {
	if e == unix.EAGAIN {
		l.writable[to] = false
		return false
	}
	w.lost(l, to)
	return false
}

// finishFlow passes the end of data on, and closes when it was the second.
func (w *worker) finishFlow(l *link, f *flow, to int) {
	if f.told || f.buffer != nil || f.pipe != nil && f.pipe.bytes > 0 || to == target && l.header != nil {
		return
	}
	f.told = true
	if l.way[to].told {
		w.end(l, ReasonClosed)
		return
	}
	if endData(l.fd[to]) != 0 {
		w.lost(l, to)
		return
	}
	w.wheel.arm(l, l.due())
}

// lost ends a link of which one side takes nothing any more, after what that side said before.
func (w *worker) lost(l *link, side int) {
	if !l.losing {
		l.losing = true
		was := l.generation
		l.readable[side] = true
		w.carry(l, side)
		if l.generation != was {
			return
		}
	}
	w.end(l, ReasonReset)
}
