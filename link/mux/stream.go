package mux

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

var _ net.Conn = (*Stream)(nil)

// Stream is one flow of a session: a [net.Conn] with half-close and reset. Its methods may be called at once; two writers take
// turns. Whoever got it from Open or Accept must call Close or Reset in the end.
type Stream struct {
	s     *Session
	id    uint32
	local bool // we opened it
	flow  tunnel.Flow

	wmu sync.Mutex // held by Write and ReadFrom

	// Under s.mu: what is to be sent, and the stream's life.
	wcond       sync.Cond
	waiting     int // of writers in wcond
	nextInRing  *Stream
	out         chain
	queued      int    // payload in out
	credit      int64  // bytes the peer lets us send
	grant       uint32 // credit to be given to the peer
	sendErr     error  // why nothing more may be written
	reset       *ResetError
	done        chan struct{} // made when asked for
	linger      *time.Timer
	wdeadline   deadline
	inRing      bool
	needOpen    bool
	needAccept  bool
	resetQueued bool
	accepted    bool
	awaited     bool   // counted among those that wait for their Accept
	turn        uint32 // in which it began to wait
	finQueued   bool
	finSent     bool
	finReceived bool
	released    bool // its slot of MaxStreams

	// Under rmu: what has been received.
	rmu       sync.Mutex
	rcond     sync.Cond
	in        chain
	heldHere  int64     // memory in the chain
	allowance int64     // bytes the peer may still send
	window    int64     // that it may have outstanding at most
	consumed  int64     // read since the last grant
	granted   time.Time // when that was
	rdeadline deadline
	direct    TryWriter // where WriteTo writes, while it waits with nothing to do
	directly  int64     // bytes the reading goroutine wrote there
	directErr error     // what came of it
	recvErr   error     // what Read returns once the chain is empty
	fin       bool
	closed    bool // Close: nothing will be read
}

// newStream enters a stream into the table, under s.mu.
func (s *Session) newStream(id uint32, f tunnel.Flow, local bool) *Stream {
	st := &Stream{
		s: s, id: id, local: local, flow: f,
		credit: tunnel.InitialWindow, allowance: int64(s.cfg.InitialWindow), window: int64(s.cfg.InitialWindow),
	}
	st.wcond.L, st.rcond.L = &s.mu, &st.rmu
	s.streams[id] = st
	s.open.Store(int64(len(s.streams)))
	if local && s.cfg.InitialWindow > tunnel.InitialWindow {
		st.grant = s.cfg.InitialWindow - tunnel.InitialWindow
	}
	return st
}

// forget removes a stream that has ended on the wire, under s.mu. Its owner may still read what it holds.
func (s *Session) forget(st *Stream) {
	if s.streams[st.id] != st {
		return
	}
	delete(s.streams, st.id)
	s.open.Store(int64(len(s.streams)))
	s.awaitNoMore(st)
	st.overLocked()
}

// overLocked is what every end of a stream on the wire has in common, under s.mu.
func (st *Stream) overLocked() {
	if st.linger != nil {
		st.linger.Stop()
	}
	if st.done != nil {
		close(st.done)
	}
}

func (s *Session) forgetIfDone(st *Stream) {
	if st.finSent && st.finReceived {
		s.forget(st)
	}
}

// release gives the stream's slot back, under s.mu, once its owner has let go.
func (s *Session) release(st *Stream) {
	if st.released {
		return
	}
	st.released = true
	if st.local {
		s.ours--
	} else {
		s.inbound--
	}
}

// Flow returns the header with which the stream was opened.
func (st *Stream) Flow() tunnel.Flow { return st.flow }

// LocalAddr returns the session's, as all its streams share one connection.
func (st *Stream) LocalAddr() net.Addr { return st.s.conn.LocalAddr() }

// RemoteAddr returns the session's.
func (st *Stream) RemoteAddr() net.Addr { return st.s.conn.RemoteAddr() }

// Done is closed when the stream is over on the wire: reset by either side, ended in both directions, or lost with its session. It is
// for those who neither read nor write at the moment; what has been received may still be read.
func (st *Stream) Done() <-chan struct{} {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.done == nil {
		st.done = make(chan struct{})
		if s.streams[st.id] != st {
			close(st.done)
		}
	}
	return st.done
}

// Accept tells the peer that its flow has been taken. Writing says so too. It fails as Write would.
func (st *Stream) Accept() error {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.sendErr != nil {
		return st.sendErr
	}
	st.acceptLocked()
	s.rouse()
	return nil
}

func (st *Stream) acceptLocked() {
	if !st.local && !st.accepted {
		st.accepted, st.needAccept = true, true
		st.s.line(st)
	}
}

// WaitAccepted waits until the peer has taken the flow we opened. It returns a [*ResetError] when the peer refused it, a fault of
// kind Timeout when ctx ends first; the stream is not reset by that.
func (st *Stream) WaitAccepted(ctx context.Context) error {
	s := st.s
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		st.wcond.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case st.accepted || !st.local:
			return nil
		case st.reset != nil:
			return st.reset
		case s.over:
			return s.overFault("mux.WaitAccepted")
		case ctx.Err() != nil:
			return fault.Wrap("mux.WaitAccepted", fault.Timeout, ctx.Err(), "the peer has not taken the flow in time")
		}
		st.wcond.Wait()
	}
}

// CloseWrite says that no more will be written, after what was. The other direction goes on. Closing twice is no error.
func (st *Stream) CloseWrite() error {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return st.closeWriteLocked()
}

func (st *Stream) closeWriteLocked() error {
	switch {
	case st.finQueued || st.finSent:
		return nil
	case st.sendErr != nil:
		return st.sendErr
	}
	st.acceptLocked()
	st.finQueued = true
	st.sendErr = net.ErrClosed
	st.wcond.Broadcast()
	st.s.schedule(st)
	return nil
}

// Close ends both directions. What was written still goes out. As with TCP, closing with data unread, or data that comes later,
// resets the stream, so that the peer does not take it for read; so does a peer that has not ended its side within Config.Linger.
// An inbound stream closed before it was accepted is reset as refused.
func (st *Stream) Close() error {
	unread, ended := st.closeReading()
	s := st.s
	s.mu.Lock()
	s.release(st)
	refuse := !st.local && !st.accepted && st.sendErr == nil
	if !unread && !refuse {
		_ = st.closeWriteLocked()
		if !ended && st.linger == nil && s.streams[st.id] == st {
			st.linger = time.AfterFunc(s.cfg.Linger, func() { st.Reset(tunnel.ResetTimeout, "closed, and its peer did not end it") })
		}
	}
	s.mu.Unlock()
	switch {
	case refuse:
		st.Reset(tunnel.ResetRefused, "closed before it was accepted")
	case unread:
		st.Reset(tunnel.ResetPeer, "closed with data unread")
	}
	return nil
}

// Reset ends both directions at once and drops what is queued. The peer's users get the code and the message, at most 256 bytes of
// it. On a stream that has ended it only gives the slot back.
func (st *Stream) Reset(code tunnel.ResetCode, message string) {
	s := st.s
	s.mu.Lock()
	s.release(st)
	s.mu.Unlock()
	st.kill(&ResetError{Code: code, Message: message})
}

// kill makes the stream be over for the reason given, which may be the peer's or our own.
func (st *Stream) kill(why *ResetError) {
	s := st.s
	s.mu.Lock()
	if s.streams[st.id] != st { // ended before, or the session has
		s.mu.Unlock()
		return
	}
	if !why.Remote && !st.needOpen { // else the peer has never heard of it
		st.resetQueued = true
		s.schedule(st)
	}
	st.reset, st.sendErr = why, why
	st.out.drop()
	st.queued, st.grant = 0, 0
	st.needOpen, st.needAccept, st.finQueued = false, false, false
	s.forget(st)
	st.wcond.Broadcast()
	s.mu.Unlock()

	st.rmu.Lock()
	st.recvErr = why
	st.dropLocked()
	st.rcond.Broadcast()
	st.rmu.Unlock()
}

// gone says whether the stream has been reset or the session is over.
func (st *Stream) gone() bool {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	return st.reset != nil || st.s.over
}
