package mux

import (
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// A batch is what whoever writes takes from the queues under one lock: control frames packed in head, data frames in their
// segments, in the order of items.
type batch struct {
	head  []byte
	items []item
	data  int // bytes in segments
	most  int // of data and head together; 0: see full
	pack  []byte
}

// An item is either head[from:to] or a segment with its header in place.
type item struct {
	from, to int
	seg      *segment
}

func (b *batch) full() bool {
	return b.data >= batchMost || len(b.items) >= 512 || len(b.head) >= 16<<10
}

// control appends a frame to head, growing the last item if that is head too.
func (b *batch) control(t tunnel.Type, flags uint8, stream uint32, payload func([]byte) []byte) {
	from := len(b.head)
	b.head = append(b.head, make([]byte, tunnel.HeaderLen)...)
	if payload != nil {
		b.head = payload(b.head)
	}
	n := uint32(len(b.head) - from - tunnel.HeaderLen)
	tunnel.Header{Type: t, Flags: flags, Stream: stream, Length: n}.Put(b.head[from:])
	if k := len(b.items) - 1; k >= 0 && b.items[k].seg == nil {
		b.items[k].to = len(b.head)
		return
	}
	b.items = append(b.items, item{from: from, to: len(b.head)})
}

func (b *batch) segment(seg *segment) {
	b.items = append(b.items, item{seg: seg})
	b.data += seg.w
}

func (b *batch) reset() {
	b.head, b.items, b.data = b.head[:0], b.items[:0], 0
}

// writeLoop is the writing goroutine, for all that was not sent promptly. It ends when the session is over and what may still be sent has been, and closes the
// connection.
func (s *Session) writeLoop() {
	b := &s.batch
	defer s.goodbye()
	s.mu.Lock()
	for {
		for s.writing || !s.pending() && !s.rest && s.writeErr == nil && !s.over {
			s.wake.Wait()
		}
		s.writing, s.rest = true, false
		b.most = 0
		s.gather(b)
		last := s.over && !s.pending()
		err := s.writeErr
		s.mu.Unlock()
		if err == nil {
			err = s.write(b, s.flush)
		}
		if err != nil {
			s.writeFailed(err)
			return
		}
		b.reset()
		if last {
			return
		}
		s.mu.Lock()
		s.writing = false
	}
}

// goodbye lets TLS say its own and closes the connection.
func (s *Session) goodbye() {
	if s.below != nil && s.below.uncork() != nil {
		s.hangUp()
		return
	}
	_ = s.conn.Close()
}

func (s *Session) writeFailed(err error) {
	s.hangUp()
	s.end(fault.Wrap("mux.Run", fault.Unavailable, err, "the tunnel's connection broke"), endNow)
}

// pending says whether anything is to be written, under s.mu.
func (s *Session) pending() bool {
	if s.over && !s.drain {
		return s.goAway.queued
	}
	return s.fresh.n+s.busy.n > 0 || s.ping.queued || s.goAway.queued || len(s.pongs) > 0 || len(s.refused) > 0
}

// gather fills the batch, under s.mu.
func (s *Session) gather(b *batch) {
	if !s.over || s.drain {
		s.gatherSession(b)
		for !b.full() {
			if !b.fits(s.next()) {
				break
			}
			st, fresh := s.turn()
			if st == nil {
				break
			}
			s.again(st, s.emit(b, st), fresh)
		}
	}
	if s.goAway.queued && (!s.over || !s.drain || s.fresh.n+s.busy.n == 0) { // the last word comes last
		s.goAway.queued = false
		b.control(tunnel.TypeGoAway, 0, 0, func(h []byte) []byte {
			return tunnel.AppendReason(h, s.goAway.code, s.goAway.message)
		})
	}
}

func (s *Session) gatherSession(b *batch) {
	for _, token := range s.pongs {
		b.control(tunnel.TypePing, tunnel.FlagReply, 0, func(h []byte) []byte { return appendToken(h, token) })
	}
	s.pongs = s.pongs[:0]
	if s.ping.queued {
		s.ping.queued, s.ping.await, s.ping.sent = false, true, s.cfg.Clock.Now()
		b.control(tunnel.TypePing, 0, 0, func(h []byte) []byte { return appendToken(h, s.ping.token) })
	}
	for _, r := range s.refused {
		b.control(tunnel.TypeReset, 0, r.stream, func(h []byte) []byte { return tunnel.AppendReason(h, r.code, r.message) })
	}
	s.refused = s.refused[:0]
}

// emit gives the stream its turn: its control frames and at most one segment. It says whether there is more.
func (s *Session) emit(b *batch, st *Stream) (more bool) {
	if st.resetQueued {
		st.resetQueued = false
		b.control(tunnel.TypeReset, 0, st.id, func(h []byte) []byte { return tunnel.AppendReason(h, st.reset.Code, st.reset.Message) })
		return false
	}
	if st.needOpen {
		st.needOpen = false
		b.control(tunnel.TypeOpen, 0, st.id, func(h []byte) []byte {
			h, _ = tunnel.AppendFlow(h, st.flow) // Open has checked it
			return h
		})
	}
	if st.needAccept {
		st.needAccept = false
		b.control(tunnel.TypeAccept, 0, st.id, nil)
	}
	if st.grant > 0 {
		credit := st.grant
		st.grant = 0
		b.control(tunnel.TypeWindow, 0, st.id, func(h []byte) []byte {
			h = append(h, 0, 0, 0, 0)
			tunnel.PutWindow(h[len(h)-4:], credit)
			return h
		})
	}
	if seg := st.out.pop(); seg != nil {
		n := seg.w - tunnel.HeaderLen
		tunnel.Header{Type: tunnel.TypeData, Stream: st.id, Length: uint32(n)}.Put(seg.buf)
		b.segment(seg)
		st.queued -= n
		s.sent.Add(uint64(n))
		if st.waiting > 0 {
			st.wcond.Broadcast()
		}
	}
	if st.out.head != nil {
		return true
	}
	if st.finQueued {
		st.finQueued = false
		st.finSent = true
		b.control(tunnel.TypeFin, 0, st.id, nil)
		s.forgetIfDone(st)
	}
	return false
}

// write sends the batch, by way of the carrier if there is one, and frees its segments. Small items are packed into one write, and so one TLS record; large ones are written
// from where they are, and do not hold up the small ones before them.
func (s *Session) write(b *batch, flushOut func() error) error {
	if b.pack == nil {
		b.pack = make([]byte, 0, 16<<10)
	}
	pack := b.pack[:0]
	var err error
	send := func(p []byte) {
		if err == nil && len(p) > 0 {
			_, err = s.conn.Write(p)
		}
	}
	flush := func() {
		if err == nil {
			err = flushOut()
		}
	}
	for i := range b.items {
		it := &b.items[i]
		p := b.head[it.from:it.to]
		if it.seg != nil {
			p = it.seg.buf[:it.seg.w]
		}
		if len(p) > smallFrame+tunnel.HeaderLen {
			if len(pack) > 0 {
				send(pack)
				flush()
				pack = pack[:0]
			}
			send(p)
		} else {
			if len(pack)+len(p) > cap(pack) {
				send(pack)
				pack = pack[:0]
			}
			pack = append(pack, p...)
		}
		if it.seg != nil {
			it.seg.free()
			it.seg = nil
		}
	}
	send(pack)
	flush()
	return err
}

func appendToken(b []byte, token uint64) []byte {
	return append(b, byte(token>>56), byte(token>>48), byte(token>>40), byte(token>>32), byte(token>>24), byte(token>>16), byte(token>>8), byte(token))
}
