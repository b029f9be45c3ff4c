package mux

import (
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// pendingStreams are those we opened and the peer has not accepted. A machine that loses power says nothing, and until the keep-alive
// finds out, every new flow would wait on it. So a stream that waits long makes us ask for a sign of life at once. Waiting is counted in
// turns of Config.Doubt, two numbers for all streams, because thousands come and go in one.
type pendingStreams struct {
	turn    uint32
	fresh   int // began to wait in this turn
	old     int // before it
	watched bool
	asked   time.Time // for a sign of life; zero when there is no doubt
	reads   uint64    // seen when asked
}

// slowest is the speed in bytes a second at which what was sent may be on its way before silence means anything.
const slowest = 16 << 10

// await counts a stream in, under s.mu.
func (s *Session) await(st *Stream) {
	if s.cfg.Doubt < 0 {
		return
	}
	p := &s.unanswered
	st.awaited, st.turn = true, p.turn
	p.fresh++
	if !p.watched {
		p.watched = true
		select {
		case s.watch <- struct{}{}:
		default:
		}
	}
}

// awaitNoMore counts a stream out, under s.mu.
func (s *Session) awaitNoMore(st *Stream) {
	if !st.awaited {
		return
	}
	st.awaited = false
	if st.turn == s.unanswered.turn {
		s.unanswered.fresh--
	} else {
		s.unanswered.old--
	}
}

// lookAtPending begins a new turn. It asks the peer for a sign of life when a stream has waited for a whole one, and returns why the
// session is to end when none has come in time. again is false when there is nothing to look after.
func (s *Session) lookAtPending() (again bool, err error) {
	reads, now := s.in.reads.Load(), s.cfg.Clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.unanswered
	overdue := p.old > 0
	p.turn++
	p.old, p.fresh = p.old+p.fresh, 0
	switch {
	case !p.asked.IsZero() && reads == p.reads: // also when the flows have given up meanwhile
		if silent := now.Sub(p.asked); silent >= s.patience() {
			return false, fault.Newf("mux.Run", fault.Timeout, "a flow waited and the peer gave no sign of life for %s", silent.Round(time.Millisecond)).
				Advise("the machine, the relay or the network between is gone; the tunnel is made anew")
		}
	case overdue:
		p.asked, p.reads = now, reads
		s.ask()
	default:
		p.asked = time.Time{}
	}
	s.doubt.Store(!p.asked.IsZero())
	p.watched = p.old > 0 || !p.asked.IsZero()
	return p.watched, nil
}

// patience is how long to wait for the sign, under s.mu: it may queue behind what was sent before, on a line that is slow.
func (s *Session) patience() time.Duration {
	onItsWay := s.sent.Load() - s.in.seen.Load()
	d := max(s.cfg.DoubtTimeout, 4*time.Duration(s.rtt.Load())) + time.Duration(onItsWay)*time.Second/slowest
	return min(d, s.cfg.KeepAliveTimeout)
}

// InDoubt says whether the peer has been asked for a sign of life, because a flow waits, and has given none yet: who has another way
// does better to use it.
func (s *Session) InDoubt() bool {
	if !s.doubt.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.unanswered.asked.IsZero() && s.in.reads.Load() == s.unanswered.reads
}
