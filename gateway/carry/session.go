package carry

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// session is a connection that has a goroutine: all of them in the portable engine, those given to Way.Hand in every engine.
type session struct {
	of      *sessions
	began   time.Time
	visit   Visit      // set before calling is released for the first time with it
	calling sync.Mutex // held while the visit is called or reviewed

	since  atomic.Int64 // nanoseconds: what limit is counted from
	detail string       // of the outcome

	limit atomic.Int64 // nanoseconds; 0: none
	sent  atomic.Uint64
	recvd atomic.Uint64

	mu       sync.Mutex // guards the fields below
	stage    stage
	client   *net.TCPConn
	target   *net.TCPConn
	abandon  context.CancelFunc // gives an attempt at a target up
	timesOut string             // the reason when limit has passed; "" abandons the attempt
	reason   string             // why it was cut
	gone     chan struct{}      // closed by cut
}

// sessions are those of one Carrier.
type sessions struct {
	c     *Carrier
	tally tally
	now   atomic.Int64 // nanoseconds, moved by tick
	wg    sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	all   map[*session]struct{}
	ended bool
}

func newSessions(c *Carrier) *sessions {
	return &sessions{c: c, all: map[*session]struct{}{}}
}

// start runs a session on its own goroutine. When Run is ending it does so all the same, for a session that is cut already.
func (ss *sessions) start(client *net.TCPConn, began time.Time, visit Visit, at stage, life func(*session)) {
	s := &session{of: ss, began: began, visit: visit, client: client, stage: at, gone: make(chan struct{})}
	ss.tally.move(ended, at)
	ss.mu.Lock()
	ss.all[s] = struct{}{}
	over := ss.ended
	ss.wg.Add(1)
	ss.mu.Unlock()
	if over {
		s.cut(ReasonDrain)
	}
	go func() {
		defer ss.wg.Done()
		defer ss.remove(s)
		life(s)
	}()
}

func (ss *sessions) remove(s *session) {
	s.cut(ReasonClosed)
	s.move(ended)
	ss.mu.Lock()
	delete(ss.all, s)
	ss.mu.Unlock()
	ss.c.release()
}

func (ss *sessions) list() []*session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	all := make([]*session, 0, len(ss.all))
	for s := range ss.all {
		all = append(all, s)
	}
	return all
}

// end cuts all and waits for them.
func (ss *sessions) end() {
	ss.mu.Lock()
	ss.ended = true
	ss.mu.Unlock()
	for _, s := range ss.list() {
		s.cut(ReasonDrain)
	}
	ss.wg.Wait()
}

// tick cuts those whose time has passed.
func (ss *sessions) tick(at time.Time) {
	now := ss.c.nanos(at)
	ss.now.Store(now)
	for _, s := range ss.list() {
		if limit := s.limit.Load(); limit > 0 && now-s.since.Load() >= limit {
			s.expire(now)
		}
	}
}

func (ss *sessions) review(keep func(Visit) bool) {
	for _, s := range ss.list() {
		s.calling.Lock()
		if s.visit != nil && !keep(s.visit) {
			s.cut(ReasonCut)
		}
		s.calling.Unlock()
	}
}

// wait sets the time until timesOut is the reason of the end.
func (s *session) wait(limit time.Duration, from time.Time, timesOut string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timesOut = timesOut
	s.since.Store(s.of.c.nanos(from))
	s.limit.Store(int64(limit))
}

func (s *session) expire(now int64) {
	s.mu.Lock()
	limit := s.limit.Load()
	due := limit > 0 && now-s.since.Load() >= limit
	reason, abandon := s.timesOut, s.abandon
	s.mu.Unlock()
	switch {
	case !due:
	case reason == "" && abandon != nil:
		abandon()
	case reason != "":
		s.cut(reason)
	}
}

// cut ends the session with resets. The first reason stays.
func (s *session) cut(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != "" {
		return
	}
	s.reason = reason
	close(s.gone)
	if s.abandon != nil {
		s.abandon()
	}
	for _, c := range []*net.TCPConn{s.client, s.target} {
		if c == nil {
			continue
		}
		if reason != ReasonClosed {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (s *session) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

func (s *session) move(to stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of.tally.move(s.stage, to)
	s.stage = to
}

// end cuts for reason, unless it was cut before, and tells the visit.
func (s *session) end(reason string) {
	s.cut(reason)
	reason = s.why()
	s.calling.Lock()
	visit := s.visit
	s.visit = nil
	s.calling.Unlock()
	if visit != nil {
		visit.Ended(Outcome{Reason: reason, Detail: s.detail, Sent: s.sent.Load(), Received: s.recvd.Load(), Duration: s.of.c.clk.Now().Sub(s.began)})
	}
}

// ask calls the visit while Review does not.
func (s *session) ask(call func(v Visit)) {
	s.calling.Lock()
	defer s.calling.Unlock()
	call(s.visit)
}

// give lets a taker have the connection.
func (s *session) give(hand func(net.Conn, []byte), first []byte) {
	s.limit.Store(0)
	hand(s.client, first)
	s.end(ReasonClosed)
}
