package mux

// A ring is a queue of streams linked through Stream.nextInRing; a stream is in at most one.
type ring struct {
	head, tail *Stream
	n          int
}

func (r *ring) push(st *Stream) {
	if r.tail == nil {
		r.head = st
	} else {
		r.tail.nextInRing = st
	}
	r.tail = st
	r.n++
}

func (r *ring) pop() *Stream {
	st := r.head
	if st == nil {
		return nil
	}
	if r.head = st.nextInRing; r.head == nil {
		r.tail = nil
	}
	st.nextInRing = nil
	r.n--
	return st
}

// schedule puts the stream in line to send, under s.mu. A stream that had nothing to send is served before those that keep the
// line busy, once; then it queues behind them (as fq_codel does, RFC 8290 section 4.2), so that a few bytes never wait for bulk and
// bulk is never starved by many that send a few.
func (s *Session) schedule(st *Stream) {
	s.line(st)
	s.rouse()
}

// line is schedule for a caller who goes on to say send.
func (s *Session) line(st *Stream) {
	if !st.inRing {
		st.inRing = true
		s.fresh.push(st)
	}
}

// next returns the stream whose turn comes next.
func (s *Session) next() *Stream {
	if s.fresh.head != nil {
		return s.fresh.head
	}
	return s.busy.head
}

// turn returns the stream whose turn it is, and whether it came from the fresh ones.
func (s *Session) turn() (st *Stream, fresh bool) {
	if st = s.fresh.pop(); st != nil {
		return st, true
	}
	return s.busy.pop(), false
}

// again puts the stream behind the others or takes it out of line, after its turn.
func (s *Session) again(st *Stream, more, fresh bool) {
	if more || fresh {
		s.busy.push(st)
		return
	}
	st.inRing = false
}

// room is how many bytes a stream may have queued before its writer waits, under s.mu.
func (s *Session) room() int {
	return min(max(sendBudget/max(s.fresh.n+s.busy.n, 1), sendLeast), sendMost)
}
