package mux

import (
	"io"
	"net"
	"os"
	"time"
)

// verdict is what a stream says to a Data frame that arrives.
type verdict int

const (
	welcome  verdict = iota
	unwanted         // closed by its reader
	overrun          // beyond its credit or after its Fin
)

// admit takes n bytes from the peer's allowance.
func (st *Stream) admit(n int) verdict {
	st.rmu.Lock()
	defer st.rmu.Unlock()
	if st.fin || int64(n) > st.allowance {
		return overrun
	}
	if st.closed {
		return unwanted
	}
	if st.granted.IsZero() {
		st.granted = st.s.cfg.Clock.Now()
	}
	st.allowance -= int64(n)
	return welcome
}

// deliver hands a filled segment to the stream. It says false when there is no memory for it.
func (st *Stream) deliver(seg *segment) bool {
	var credit uint32
	st.rmu.Lock()
	defer func() {
		st.rmu.Unlock()
		st.give(credit)
	}()
	var rest []byte
	if rest, credit = st.writeNow(seg.buf[:seg.w]); len(rest) == 0 {
		seg.free()
		return true
	}
	seg.r = seg.w - len(rest)
	return st.deliverLocked(seg)
}

func (st *Stream) deliverLocked(seg *segment) bool {
	if st.recvErr != nil || st.closed {
		seg.free()
		return true
	}
	size := int64(len(seg.buf))
	if held := st.s.held.Add(size); held > st.s.limit.Load() {
		// The stream that has more than its share pays; the others stay below twice the bound in sum.
		if st.heldHere+size > st.s.limit.Load()/max(st.s.open.Load(), 1) {
			st.s.held.Add(-size)
			seg.free()
			return false
		}
	}
	st.heldHere += size
	st.in.push(seg)
	st.rcond.Signal()
	return true
}

// deliverCopy is deliver for a few bytes: they go behind those that wait, if there is space, so that many tiny frames do not each
// hold a segment.
func (st *Stream) deliverCopy(p []byte) bool {
	var credit uint32
	st.rmu.Lock()
	defer func() {
		st.rmu.Unlock()
		st.give(credit)
	}()
	if p, credit = st.writeNow(p); len(p) == 0 {
		return true
	}
	want := len(p)
	if tail := st.in.tail; tail != nil {
		if len(tail.buf)-tail.w >= len(p) {
			tail.w += copy(tail.buf[tail.w:], p)
			return true
		}
		want = min(2*len(tail.buf), mostSegment)
	}
	seg := newSegment(max(want, len(p)))
	seg.w = copy(seg.buf, p)
	return st.deliverLocked(seg)
}

// finishReading notes the peer's Fin; false if there was one before.
func (st *Stream) finishReading() bool {
	st.rmu.Lock()
	defer st.rmu.Unlock()
	if st.fin {
		return false
	}
	st.fin = true
	st.shrink()
	if st.recvErr == nil {
		st.recvErr = io.EOF
	}
	st.rcond.Broadcast()
	return true
}

// endReading is what the end of the session means to a reader: what has come may be read, and a Fin that has come stays one.
func (st *Stream) endReading(err error) {
	st.rmu.Lock()
	defer st.rmu.Unlock()
	if st.recvErr == nil {
		st.recvErr = err
	}
	st.rcond.Broadcast()
}

// closeReading drops what is unread and says whether there was any, and whether the peer has ended its side.
func (st *Stream) closeReading() (unread, ended bool) {
	st.rmu.Lock()
	defer st.rmu.Unlock()
	unread = st.in.head != nil && !st.closed
	ended = st.recvErr != nil
	st.closed = true
	st.recvErr = net.ErrClosed
	st.dropLocked()
	st.rcond.Broadcast()
	return unread, ended
}

func (st *Stream) dropLocked() {
	st.s.held.Add(-st.in.drop())
	st.heldHere = 0
	st.shrink()
}

// shrink gives back what the window has grown by, under rmu, once no more will come.
func (st *Stream) shrink() {
	first := int64(st.s.cfg.InitialWindow)
	st.s.grown.Add(first - st.window)
	st.window = first
}

// Read reads what has arrived, or waits for it. It returns io.EOF after the peer's CloseWrite, a [*ResetError] at once after a
// reset, os.ErrDeadlineExceeded, net.ErrClosed after Close, and a fault of kind Unavailable when the session has ended.
func (st *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	st.rmu.Lock()
	if err := st.waitReadable(); err != nil {
		st.rmu.Unlock()
		return 0, err
	}
	n := 0
	for n < len(p) {
		seg := st.in.head
		if seg == nil {
			break
		}
		m := copy(p[n:], seg.buf[seg.r:seg.w])
		n += m
		if seg.r += m; seg.r == seg.w {
			st.takeHead().free()
		}
	}
	grant := st.credited(n)
	st.rmu.Unlock()
	st.give(grant)
	return n, nil
}

// WriteTo writes everything that arrives to w until the peer's end, which is no error, and returns the bytes written. It hands
// received buffers to w without a copy, several in one system call when w is a TCP connection; credit goes back to the peer when w
// has taken the bytes. When w is a [TryWriter], the bytes need not wait for the goroutine that called WriteTo.
func (st *Stream) WriteTo(w io.Writer) (total int64, err error) {
	var store [4][]byte
	var bufs net.Buffers
	try, _ := w.(TryWriter)
	for {
		var taken chain
		n, k := 0, 0
		st.rmu.Lock()
		now, err := st.waitDirect(try)
		total += now
		if err != nil {
			st.rmu.Unlock()
			if err == io.EOF { //nolint:errorlint // it is ours
				err = nil
			}
			return total, err
		}
		for k < len(store) && n < takeMost && st.in.head != nil {
			seg := st.takeHead()
			store[k] = seg.buf[seg.r:seg.w]
			n += len(store[k])
			taken.push(seg)
			k++
		}
		st.rmu.Unlock()
		var m int64
		if k == 1 {
			var m1 int
			m1, err = w.Write(store[0])
			m = int64(m1)
		} else {
			bufs = store[:k]
			m, err = bufs.WriteTo(w)
		}
		total += m
		taken.drop()
		st.rmu.Lock()
		grant := st.credited(n)
		st.rmu.Unlock()
		st.give(grant)
		if err != nil {
			return total, err
		}
	}
}

// takeHead removes the first segment, under rmu; its memory is no longer the queue's.
func (st *Stream) takeHead() *segment {
	seg := st.in.pop()
	st.heldHere -= int64(len(seg.buf))
	st.s.held.Add(-int64(len(seg.buf)))
	return seg
}

// waitReadable waits, under rmu, until there is something to read.
func (st *Stream) waitReadable() error {
	for st.in.head == nil {
		if st.recvErr != nil {
			return st.recvErr
		}
		if st.rdeadline.passed() {
			return os.ErrDeadlineExceeded
		}
		st.rcond.Wait()
	}
	if st.rdeadline.passed() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// credited counts n bytes as read, under rmu, and returns the credit to give to the peer, if it is time. Credit goes out when half
// the window has been read. The window doubles when that took less than two round trips: then the peer is likely to have waited.
func (st *Stream) credited(n int) uint32 {
	st.consumed += int64(n)
	if st.consumed*2 < st.window || st.recvErr != nil {
		return 0
	}
	s := st.s
	now := s.cfg.Clock.Now()
	took := now.Sub(st.granted)
	st.granted = now
	grant := st.consumed
	st.consumed = 0
	if took < 2*max(time.Duration(s.base.Load()), leastRTT) {
		grant += s.grow(st)
	}
	st.allowance += grant
	return uint32(grant)
}

// grow doubles the stream's window as far as the bounds allow and returns by how much, under rmu.
func (s *Session) grow(st *Stream) int64 {
	more := min(st.window, int64(s.cfg.MaxWindow)-st.window)
	if more <= 0 {
		return 0
	}
	if s.grown.Add(more) > s.limit.Load()/2 {
		s.grown.Add(-more)
		return 0
	}
	st.window += more
	return more
}

// give sends credit to the peer.
func (st *Stream) give(credit uint32) {
	if credit == 0 {
		return
	}
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[st.id] != st || st.finReceived {
		return
	}
	st.grant += credit
	s.schedule(st)
}
