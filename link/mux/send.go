package mux

import (
	"io"
	"os"

	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Write queues p for the peer, waiting while the peer has given no credit or too much is queued. On an error it returns how much
// of p was queued: a [*ResetError] after a reset, os.ErrDeadlineExceeded, net.ErrClosed after CloseWrite or Close, a fault of kind
// Unavailable when the session has ended.
func (st *Stream) Write(p []byte) (n int, err error) {
	st.wmu.Lock()
	defer st.wmu.Unlock()
	s := st.s
	for len(p) > 0 {
		s.mu.Lock()
		space, err := st.waitWritable()
		if err != nil {
			s.mu.Unlock()
			return n, err
		}
		m := min(len(p), space)
		if m <= smallFrame {
			st.enqueueCopy(p[:m])
			s.send()
		} else {
			s.mu.Unlock() // the copy is long; only this writer can use up the credit
			seg := newSegment(tunnel.HeaderLen + m)
			seg.w = tunnel.HeaderLen + copy(seg.buf[tunnel.HeaderLen:], p[:m])
			s.mu.Lock()
			if err := st.sendErr; err != nil {
				s.mu.Unlock()
				seg.free()
				return n, err
			}
			st.enqueue(seg)
			s.send()
		}
		n += m
		p = p[m:]
	}
	return n, nil
}

// ReadFrom writes everything r gives until its end, which is no error, and does not close the stream. Bytes are read to where the
// frame is sent from. When r is a network connection with a file descriptor, no buffer is held while it has nothing to read; r is
// then read past any Read method that a type around it may add.
func (st *Stream) ReadFrom(r io.Reader) (total int64, err error) {
	st.wmu.Lock()
	defer st.wmu.Unlock()
	s := st.s
	from := newPuller(r)
	for {
		s.mu.Lock()
		space, err := st.waitWritable()
		s.mu.Unlock()
		if err != nil {
			return total, err
		}
		seg, err := from.pull(space)
		if seg != nil {
			m := seg.w - tunnel.HeaderLen
			s.mu.Lock()
			if serr := st.sendErr; serr != nil {
				s.mu.Unlock()
				seg.free()
				return total, serr
			}
			if m <= smallFrame && len(seg.buf) > 2*smallFrame {
				st.enqueueCopy(seg.buf[tunnel.HeaderLen:seg.w])
				seg.free()
				s.send()
			} else {
				st.enqueue(seg)
				s.send()
			}
			total += int64(m)
		}
		if err == io.EOF { //nolint:errorlint // readers return io.EOF itself
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// waitWritable waits, under s.mu, until the stream may queue something, and returns how much at most.
func (st *Stream) waitWritable() (int, error) {
	s := st.s
	for {
		if st.sendErr != nil {
			return 0, st.sendErr
		}
		if st.wdeadline.passed() {
			return 0, os.ErrDeadlineExceeded
		}
		if room := s.room(); st.credit > 0 && st.queued < room {
			return min(int(st.credit), maxPayload, room), nil
		}
		st.waiting++
		st.wcond.Wait()
		st.waiting--
	}
}

// enqueue puts a segment, with headroom for its frame header, behind the others, under s.mu. The caller says send.
func (st *Stream) enqueue(seg *segment) {
	st.acceptLocked()
	n := seg.w - tunnel.HeaderLen
	st.credit -= int64(n)
	st.queued += n
	st.out.push(seg)
	st.s.line(st)
}

// enqueueCopy is enqueue for a few bytes, which join the last frame if it has not gone yet.
func (st *Stream) enqueueCopy(p []byte) {
	if tail := st.out.tail; tail != nil && len(tail.buf)-tail.w >= len(p) {
		tail.w += copy(tail.buf[tail.w:], p)
		st.credit -= int64(len(p))
		st.queued += len(p)
		return
	}
	want := tunnel.HeaderLen + len(p)
	if tail := st.out.tail; tail != nil {
		want = max(want, min(2*len(tail.buf), mostSegment))
	}
	seg := newSegment(want)
	seg.w = tunnel.HeaderLen + copy(seg.buf[tunnel.HeaderLen:], p)
	st.enqueue(seg)
}
