package engine

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// linger is how long a peer may take to answer our last word before the connection below is closed.
const linger = 5 * time.Second

// state is how far a connection has come.
type state uint8

const (
	starting state = iota // SASL and open
	opened
	closing // our close is on its way; whatever comes is dropped, until the peer's
	over
)

// Conn is one connection. Its methods may be called from any goroutine.
type Conn struct {
	engine *Engine
	net    net.Conn
	ctx    context.Context //nolint:containedctx // it is the connection's life
	cancel context.CancelCauseFunc
	tells  sync.WaitGroup // goroutines that tell of ends; none begins once the connection is over
	place  place          // in the watch, whose lock guards it

	// Of the goroutine that reads, and set before the handler can see them.
	reader        *amqp.Reader
	handler       Handler
	peerOpen      *amqp.Open
	who           any
	rester        rester    // nil: the connection below cannot tell
	wakeAt        time.Time // when reading is to end; zero: never
	frameMax      int       // bytes of a frame to the peer
	channelMax    uint16    // highest channel the peer takes
	transferIn    amqp.Transfer
	flowIn        amqp.Flow
	dispositionIn amqp.Disposition

	mu    sync.Mutex // guards the fields below, and those of sessions, links and deliveries
	room  sync.Cond  // less waits to be written, less is held, or the state has changed
	state state
	taken []entry // scratch of the reader

	restrained bool

	broken   bool // the connection below is closed, or about to be
	cause    error
	hasCause bool
	wanted   *amqp.Close // Close was called before open was answered

	sessions map[uint16]*Session // by the peer's channel
	live     int                 // of them, that have not ended
	odd      bool                // some have another channel of ours
	lastID   uint64              // of sessions
	links    int
	attaches int // bytes of their attaches

	setupEnd time.Time
	beat     time.Duration // between frames to the peer; 0: as may be
	sentAt   time.Time     // the last write began
	quiet    time.Time     // the peer has said nothing since; zero while what it said is worked on
	stuck    time.Time     // the reader waits for something else than the peer since; zero: it does not
	cutAt    time.Time     // zero: not yet

	out         *[]byte // waits to be written
	inflight    int     // bytes being written
	writing     bool
	deadline    time.Time  // of writing, now
	unflushed   []*Session // that have dispositions to be written
	narrow      []*Session // whose windows are to be opened
	waiting     []*Link    // whose wake is there
	aborting    []*Link    // in the middle of a message that was given up
	current     *Delivery  // being received: what is said about it waits until the reader has nothing more to read
	held        int        // bytes of messages being assembled or not settled
	whole       int        // messages that are not settled
	framesIn    int        // not counted yet, as those below
	framesOut   int
	messagesIn  int
	messagesOut int
	transfer    amqp.Transfer // scratch of whoever holds the lock, as those below
	flow        amqp.Flow
	disposition amqp.Disposition
	tag         [4]byte
}

func newConn(ctx context.Context, e *Engine, conn net.Conn) *Conn {
	c := &Conn{engine: e, net: conn, reader: amqp.NewReader(conn), frameMax: amqp.MinMaxFrame, setupEnd: e.clock.Now().Add(e.cfg.SetupTimeout)}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.room.L = &c.mu
	c.reader.Buffers = &e.readers
	c.reader.Waiting = c.pause
	return c
}

// Context ends with the connection, before its links are told.
func (c *Conn) Context() context.Context { return c.ctx }

// PeerOpen is the peer's open, less what it only describes itself by: locales, capabilities and properties. It is not to be changed.
func (c *Conn) PeerOpen() *amqp.Open { return c.peerOpen }

// Who is what Authenticate returned; nil when the peer spoke no SASL.
func (c *Conn) Who() any { return c.who }

// NetConn is the connection below, as it was given to Serve.
func (c *Conn) NetConn() net.Conn { return c.net }

// Sessions returns how many sessions there are.
func (c *Conn) Sessions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}

// Close ends the connection; nil is a tidy end. It returns at once: the links are told soon, and the peer has a while to answer.
func (c *Conn) Close(e *amqp.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == starting && c.wanted == nil {
		c.wanted = &amqp.Close{Error: e}
	}
	c.farewell(e)
	c.shut(e, errorOf(e))
}

// stop is what the end of Serve's context does.
func (c *Conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == starting {
		c.because(nil)
		c.cut()
		return
	}
	e := &amqp.Error{Condition: amqp.ConditionConnectionForced, Description: "The server is stopping."}
	c.farewell(e)
	c.shut(e, nil)
}

// farewell ends the sessions of a connection that is forced to end. Azure's device SDK for Node.js needs that: after nothing but a close it
// waits 45 seconds for its links' answers, and it connects again by itself after detach-forced, but not after connection:forced.
func (c *Conn) farewell(e *amqp.Error) {
	if c.state != opened || e == nil || e.Condition != amqp.ConditionConnectionForced {
		return
	}
	c.flush()
	for _, s := range c.sessions {
		if !s.ended {
			c.put(s.channel, &amqp.End{Error: c.fit(&amqp.Error{Condition: amqp.ConditionDetachForced, Description: e.Description})})
		}
	}
}

// fail ends the connection because of what the peer did.
func (c *Conn) fail(e *amqp.Error) { c.shut(e, e) }

// errorOf keeps a nil pointer from becoming an error.
func errorOf(e *amqp.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// shut says close, once. It is called with the lock held, as all is below that has no lock of its own.
func (c *Conn) shut(e *amqp.Error, cause error) {
	if c.state != opened {
		return
	}
	c.because(cause)
	c.flush()
	c.put(0, &amqp.Close{Error: c.fit(e)})
	c.engine.metrics.told(e)
	c.become(closing)
	c.cutAt = c.engine.clock.Now().Add(linger)
	c.engine.watch.hurry(c, c.cutAt)
	c.kick()
	c.tells.Go(c.dismiss)
}

// because keeps the first cause of the end.
func (c *Conn) because(cause error) {
	if !c.hasCause {
		c.cause, c.hasCause = cause, true
	}
}

// become changes the state and wakes everybody who waits for something that will not come any more.
func (c *Conn) become(s state) {
	c.state = s
	c.room.Broadcast()
	if s < closing {
		return
	}
	cause := c.cause
	if cause == nil {
		cause = ErrEnded
	}
	c.cancel(cause)
	c.wakeAll()
}

// cut closes the connection below. Whoever reads or writes sees it.
func (c *Conn) cut() {
	if c.broken || c.state == over {
		return
	}
	c.broken = true
	c.room.Broadcast()
	c.tells.Go(func() { _ = c.net.Close() }) // TLS says goodbye, which may take a while
}

// tick does what is due and returns when to come back.
func (c *Conn) tick(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := now.Add(time.Hour)
	at := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if c.state == over || c.broken {
		return next
	}
	if c.state == starting {
		if at(c.setupEnd); !now.Before(c.setupEnd) {
			c.because(errSetup)
			c.cut()
			c.cancel(errSetup)
		}
		return next
	}
	if !c.cutAt.IsZero() {
		if at(c.cutAt); !now.Before(c.cutAt) {
			c.cut()
			return next
		}
	}
	if c.beat > 0 {
		if !now.Before(c.sentAt.Add(c.beat)) {
			if c.queued() == 0 && c.state == opened { // otherwise it has something to read
				c.put(0, nil)
				c.kick()
			}
			c.sentAt = now
		}
		at(c.sentAt.Add(c.beat))
	}
	if !c.quiet.IsZero() && now.Sub(c.quiet) >= patience {
		c.rest()
	}
	if c.state == opened {
		idle := c.engine.cfg.IdleTimeout
		switch {
		case !c.stuck.IsZero() && !now.Before(c.stuck.Add(idle)):
			c.fail(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "Nothing could be taken in for %s.", idle))
			at(c.cutAt)
		case !c.stuck.IsZero():
			at(c.stuck.Add(idle))
		case c.quiet.IsZero():
			at(now.Add(idle))
		case !now.Before(c.quiet.Add(idle)):
			c.fail(amqp.Errorf(amqp.ConditionConnectionForced, "Nothing was heard for %s.", idle))
			at(c.cutAt)
		default:
			at(c.quiet.Add(idle))
		}
	}
	return next
}

// finish ends what is left, tells everybody, and returns how it ended.
func (c *Conn) finish(err error) error {
	c.mu.Lock()
	c.because(err)
	c.kick()
	c.become(over)
	c.deadline = time.Now().Add(time.Second) // a peer that does not read keeps nobody here
	_ = c.net.SetWriteDeadline(c.deadline)
	for c.writing {
		c.room.Wait()
	}
	c.count()
	c.mu.Unlock()
	c.dismiss()
	_ = c.net.Close() // it may be closed already
	c.tells.Wait()
	c.engine.watch.remove(c)
	c.reader.Rest()
	if c.handler != nil {
		c.handler.Ended(c.cause)
	}
	return c.cause
}

// dismiss tells all links that they have ended.
func (c *Conn) dismiss() {
	c.mu.Lock()
	var ends []*ending
	for _, s := range c.sessions {
		ends = append(ends, s.dismiss(c.cause)...)
		c.engine.metrics.sessions.Dec()
	}
	clear(c.sessions)
	c.mu.Unlock()
	tell(ends)
}
