package mux

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Session multiplexes streams over one connection. Its methods may be called at once, also before Run: streams opened then are
// announced when Run starts.
type Session struct {
	cfg    Config
	conn   net.Conn
	below  *Carrier // under conn, when the dialer put one there
	client bool

	backlog chan *Stream
	done    chan struct{} // closed when the session is over
	watch   chan struct{} // a stream waits for its Accept, and nobody looks after that

	in    inlet         // read by the reading goroutine alone
	small []byte        // its buffer for small payloads
	src   *bufio.Reader // small on purpose: payloads go past it, straight from TLS to their segment

	rtt   atomic.Int64 // nanoseconds, smoothed; 0 unknown
	base  atomic.Int64 // the least of late: what the path takes when nothing queues on it
	held  atomic.Int64 // bytes of memory in the receive queues
	grown atomic.Int64 // bytes of window above InitialWindow
	open  atomic.Int64 // len(streams), for readers without the lock
	doubt atomic.Bool  // the peer was asked for a sign of life and has given none yet
	limit atomic.Int64 // of held: Config.MaxMemory, or what SetMaxMemory said

	received, sent, opened, accepted atomic.Uint64

	mu         sync.Mutex // guards the rest, and the fields of Stream that say so
	wake       sync.Cond  // the writing goroutine waits here
	streams    map[uint32]*Stream
	nextID     uint32
	lastID     uint32 // greatest id the peer has opened
	inbound    int    // slots of MaxStreams the peer has taken
	ours       int    // and we
	fresh      ring   // streams with something to send that had nothing before: served first
	busy       ring   // the others, in turn
	pongs      []uint64
	refused    []refusal
	ping       pingState
	unanswered pendingStreams
	goAway     goAwayState
	running    bool
	writing    bool  // somebody gathers and writes, and will look for more
	prompt     bool  // whoever has something to send may write it
	batch      batch // of whoever is writing
	rest       bool  // some of what was written still waits in the carrier
	writeErr   error // met by somebody who wrote in the writing goroutine's place
	over       bool
	drain      bool // over, but what is queued may still go
	err        error
}

type refusal struct {
	stream  uint32
	code    tunnel.ResetCode
	message string
}

type pingState struct {
	token  uint64
	queued bool // to be written
	await  bool // written, unanswered
	sent   time.Time
}

type goAwayState struct {
	code     tunnel.ResetCode
	message  string
	queued   bool
	local    bool // we take no more streams
	remote   bool // the peer takes none
	remoteOf string
}

// Client returns the session of the side that dialled; it opens streams with odd ids. When conn is a [*tls.Conn] over a [Carrier],
// the session makes use of it.
func Client(conn net.Conn, cfg Config) *Session { return newSession(conn, cfg, true) }

// Server returns the session of the side that was dialled; it opens streams with even ids.
func Server(conn net.Conn, cfg Config) *Session { return newSession(conn, cfg, false) }

func newSession(conn net.Conn, cfg Config, client bool) *Session {
	cfg = cfg.withDefaults()
	s := &Session{
		cfg: cfg, conn: conn, client: client,
		backlog: make(chan *Stream, cfg.AcceptBacklog),
		done:    make(chan struct{}),
		watch:   make(chan struct{}, 1),
		small:   make([]byte, smallFrame),
		streams: map[uint32]*Stream{},
		nextID:  2,
	}
	if client {
		s.nextID = 1
	}
	s.limit.Store(cfg.MaxMemory)
	s.below = carrierOf(conn)
	s.in.r, s.in.sent = conn, &s.sent
	s.src = bufio.NewReaderSize(&s.in, 2<<10)
	s.wake.L = &s.mu
	return s
}

// inlet counts reads, so that the keep-alive sees progress within a long frame too, and notes how much had been sent by then.
type inlet struct {
	r     io.Reader
	sent  *atomic.Uint64
	reads atomic.Uint64
	seen  atomic.Uint64
}

func (i *inlet) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if n > 0 {
		i.reads.Add(1)
		i.seen.Store(i.sent.Load())
	}
	return n, err
}

// SetMaxMemory replaces Config.MaxMemory, for an owner of many sessions who shares memory out among them. What is held above it stays
// until it is read.
func (s *Session) SetMaxMemory(bytes int64) { s.limit.Store(max(bytes, 1)) }

// Run carries frames until the session is over, and returns when everything it started has ended and the connection is closed. It
// returns nil after Close and after the end of ctx, else a fault: kind Timeout when the peer fell silent, Invalid when it broke the
// protocol, Unavailable when the connection ended. Run may be called once.
func (s *Session) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running {
		s.mu.Unlock()
		return fault.New("mux.Run", fault.Internal, "the session runs already")
	}
	if s.over {
		s.mu.Unlock()
		_ = s.conn.Close()
		return s.Err()
	}
	s.running = true
	s.mu.Unlock()

	if h, ok := s.conn.(interface{ HandshakeContext(context.Context) error }); ok {
		if err := h.HandshakeContext(ctx); err != nil {
			s.end(fault.Wrap("mux.Run", fault.Unavailable, notEOF(err), "the tunnel's TLS handshake failed"), endNow)
			s.hangUp()
			return s.Err()
		}
	}
	if s.below != nil {
		s.below.cork()
		s.mu.Lock()
		s.prompt = s.below.now != nil
		s.mu.Unlock()
	}
	var both sync.WaitGroup
	both.Go(s.readLoop)
	both.Go(s.writeLoop)
	s.keepAlive(ctx)
	both.Wait()
	return s.Err()
}

// Open makes a stream for the flow. It does not wait for the peer: data may be written at once, and WaitAccepted tells whether the
// peer took it. It fails with kind Unavailable when the session is over or the peer takes no more streams, Exhausted when MaxStreams
// are open, Invalid when the flow cannot be sent.
func (s *Session) Open(ctx context.Context, f tunnel.Flow) (*Stream, error) {
	const op = "mux.Open"
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(op, fault.Timeout, err, "given up before the flow was opened")
	}
	if _, err := tunnel.AppendFlow(nil, f); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return nil, s.overFault(op)
	case s.goAway.remote:
		return nil, fault.Newf(op, fault.Unavailable, "the peer takes no new flows: %s", s.goAway.remoteOf).Advise("open another tunnel")
	case s.nextID >= endOfIDs:
		return nil, fault.New(op, fault.Unavailable, "the tunnel has used up its stream numbers").Advise("open another tunnel")
	case s.ours >= s.cfg.MaxStreams:
		return nil, fault.Newf(op, fault.Exhausted, "the tunnel carries %d flows, as many as it may", s.ours).Advise("open another tunnel")
	}
	st := s.newStream(s.nextID, f, true)
	s.nextID += 2
	s.ours++
	st.needOpen = true
	s.await(st)
	s.schedule(st)
	s.opened.Add(1)
	return st, nil
}

// Accept returns the next stream the peer has opened. Who takes it must say Accept, Reset or Close. It fails with kind Timeout when
// ctx ends first and Unavailable when the session is over.
func (s *Session) Accept(ctx context.Context) (*Stream, error) {
	for {
		select {
		case st := <-s.backlog:
			if st.gone() { // the peer has given it up in the meantime
				_ = st.Close()
				continue
			}
			return st, nil
		default:
		}
		select {
		case st := <-s.backlog:
			if st.gone() {
				_ = st.Close()
				continue
			}
			return st, nil
		case <-s.done:
			return nil, s.overFault("mux.Accept")
		case <-ctx.Done():
			return nil, fault.Wrap("mux.Accept", fault.Timeout, ctx.Err(), "given up waiting for a flow")
		}
	}
}

// Done is closed when the session is over: nothing more can be opened, sent or received.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session is over: nil while it is not, and after Close.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the session: what was written before still goes to the peer if it takes it within a second; streams fail from now on.
// It does not wait; Run does.
func (s *Session) Close() error {
	s.end(nil, endDrained)
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	if !running {
		return s.conn.Close()
	}
	return nil
}

// GoAway tells the peer to open no more streams here. Those open go on; the peer's later ones are refused as shutting-down. A
// graceful end is GoAway, waiting until Streams is 0, and Close.
func (s *Session) GoAway() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.goAway.local {
		return
	}
	s.goAway.local, s.goAway.queued = true, true
	s.goAway.code, s.goAway.message = tunnel.ResetShuttingDown, "no new flows"
	s.rouse()
}

// Streams returns how many streams are open on the wire, in both directions together.
func (s *Session) Streams() int { return int(s.open.Load()) }

// Usable says whether Open can succeed at all: the session is not over, the peer has sent no GoAway, stream ids are left.
func (s *Session) Usable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.over && !s.goAway.remote && s.nextID < endOfIDs
}

// RTT returns the smoothed round trip to the peer as pings saw it, 0 while unknown.
func (s *Session) RTT() time.Duration { return time.Duration(s.rtt.Load()) }

// Stats are counters since the session began, and what it holds now.
type Stats struct {
	Opened, Accepted uint64 // streams
	Sent, Received   uint64 // bytes of payload in Data frames
	Held             int64  // bytes of memory in receive queues
}

// Stats returns the counters.
func (s *Session) Stats() Stats {
	return Stats{
		Opened: s.opened.Load(), Accepted: s.accepted.Load(),
		Sent: s.sent.Load(), Received: s.received.Load(), Held: s.held.Load(),
	}
}

func (s *Session) overFault(op string) error {
	if s.err == nil {
		return fault.New(op, fault.Unavailable, "the tunnel is closed").Because(net.ErrClosed)
	}
	return fault.Wrap(op, fault.Unavailable, s.err, "the tunnel has ended")
}

type endHow int

const (
	endNow     endHow = iota // the connection is of no more use
	endTelling               // drop what is queued, tell the peer why
	endDrained               // send what is queued first
)

// end makes the session be over, once. Streams keep what they have received and then fail.
func (s *Session) end(err error, how endHow) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	s.over, s.err, s.drain = true, err, how == endDrained
	s.goAway.queued = how != endNow
	switch {
	case err == nil:
		s.goAway.code, s.goAway.message = tunnel.ResetShuttingDown, "the tunnel is closing"
	case fault.KindOf(err) == fault.Timeout:
		s.goAway.code, s.goAway.message = tunnel.ResetTimeout, fault.Message(err)
	default:
		s.goAway.code, s.goAway.message = tunnel.ResetProtocol, fault.Message(err)
	}
	all := make([]*Stream, 0, len(s.streams))
	for _, st := range s.streams {
		all = append(all, st)
		st.sendErr = s.overFault("mux.Write")
		st.wcond.Broadcast()
		st.overLocked()
		if !s.drain {
			st.out.drop()
		}
	}
	clear(s.streams)
	s.open.Store(0)
	gone := s.overFault("mux.Read")
	running := s.running
	s.wake.Signal()
	close(s.done)
	s.mu.Unlock()
	for _, st := range all {
		st.endReading(gone)
	}
	if running && how != endNow {
		// A peer that takes nothing must not hold us up.
		_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second))
	} else if running {
		s.hangUp()
	}
}

// hangUp closes a connection that is of no more use. What lies below TLS goes first, because TLS would wait to say goodbye.
func (s *Session) hangUp() {
	if t, ok := s.conn.(interface{ NetConn() net.Conn }); ok {
		_ = t.NetConn().Close()
	}
	_ = s.conn.Close()
}
