package mux

// Waking a goroutine costs more than writing a few bytes, and on busy processors more than writing many. So who has data to send
// writes it, when nobody else is writing, the batch is sure to fit the carrier, and the connection can be written without waiting;
// what the connection does not take is left to the writing goroutine. Session.writing says whose turn it is: who holds it looks for
// more before letting go, so those who queue meanwhile need not wake anybody.

const (
	promptMost  = 66 << 10 // of frames in a batch; what TLS makes of them fits the carrier
	promptTurns = 4        // after which a caller who finds ever more goes home
	controlMost = 2 << 10  // of control frames in a stream's turn, or before the first
)

// rouse makes the writing goroutine send what has been queued, under s.mu.
func (s *Session) rouse() {
	if !s.writing {
		s.wake.Signal()
	}
}

// send is rouse for a caller who may spend time on it, but not wait. It is called under s.mu and returns without.
func (s *Session) send() {
	defer s.mu.Unlock()
	if s.writing {
		return
	}
	if !s.prompt || s.over || s.rest || s.writeErr != nil || len(s.refused) > 0 { // refusals may be many
		s.wake.Signal()
		return
	}
	b := &s.batch
	s.writing = true
	for range promptTurns {
		b.most = promptMost
		s.gather(b)
		s.mu.Unlock()
		err := s.write(b, s.flushNow)
		b.reset()
		all := s.below.flushNow()
		s.mu.Lock()
		if s.writeErr, s.rest = err, !all; err != nil || s.rest || !s.pending() {
			break
		}
	}
	s.writing = false
	if s.rest || s.over || s.writeErr != nil || s.pending() {
		s.wake.Signal()
	}
}

// flush writes what the carrier has gathered.
func (s *Session) flush() error {
	if s.below == nil {
		return nil
	}
	return s.below.Flush()
}

// flushNow does as much of it as needs no waiting.
func (s *Session) flushNow() error {
	s.below.flushNow()
	return nil
}

// fits says whether the stream's turn is sure to stay within the batch's bound.
func (b *batch) fits(st *Stream) bool {
	if b.most == 0 || st == nil {
		return true
	}
	n := len(b.head) + b.data + controlMost
	if seg := st.out.head; seg != nil {
		n += seg.w
	}
	return n <= b.most
}
