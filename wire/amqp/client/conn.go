package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Config says how a connection is opened. Its zero value works; the defaults stand beside the fields.
type Config struct {
	Hostname     string        // of SASL and open: the service that is meant; absent when empty
	ContainerID  string        // "isthmus"; what makes it unique is added
	SASL         SASL          // ANONYMOUS
	MaxFrame     uint32        // bytes of a frame, in both directions: 65,536
	IdleTimeout  time.Duration // told to the peer: 30 s
	SetupTimeout time.Duration // for SASL and open: 30 s
	WriteTimeout time.Duration // for one write to a peer that does not read: 30 s
}

func (c Config) withDefaults() Config {
	if c.ContainerID == "" {
		c.ContainerID = "isthmus"
	}
	var b [8]byte
	_, _ = rand.Read(b[:])                          // never fails
	c.ContainerID += "-" + hex.EncodeToString(b[:]) // links are told apart by container and name (2.6.1)
	if c.SASL.Mechanism == "" {
		c.SASL = Anonymous()
	}
	if c.MaxFrame == 0 {
		c.MaxFrame = 64 << 10
	}
	c.MaxFrame = max(c.MaxFrame, amqp.MinMaxFrame)
	for _, d := range []*time.Duration{&c.IdleTimeout, &c.SetupTimeout, &c.WriteTimeout} {
		if *d <= 0 {
			*d = 30 * time.Second
		}
	}
	return c
}

// Conn is a connection. Close ends it.
type Conn struct {
	net    net.Conn
	cfg    Config
	clock  clock.Clock
	peer   *amqp.Open
	frame  int // largest frame that we write
	reader *amqp.Reader
	both   sync.WaitGroup
	done   chan struct{} // closed when err is set

	mu       sync.Mutex // guards the fields below
	out      []byte     // waits to be written
	spare    []byte
	more     bell // out has become longer
	room     bell // out has become shorter
	err      error
	closing  bool // our close is written
	left     bool // our user has closed it
	sessions map[uint16]*Session
	byPeer   map[uint16]*Session
	links    int                    // made so far, for their names
	woken    map[*Receiver]struct{} // have news that their readers were not told of
	later    []func()               // to be called without the mutex by the goroutine that reads

	// Fields of the goroutine that reads.
	holding     bool // the mutex
	hearUntil   time.Time
	transfer    amqp.Transfer
	flow        amqp.Flow
	disposition amqp.Disposition
}

// Connect speaks SASL and open with a peer and starts the connection, to which conn belongs from then on, also when Connect fails.
//
// Faults: Unauthenticated when SASL is refused, Unavailable for a peer that is gone or speaks no AMQP, Timeout for one that is silent.
// What a peer says in a close behind its open comes out of the calls that follow.
func Connect(ctx context.Context, conn net.Conn, cfg Config, clk clock.Clock) (*Conn, error) {
	c := &Conn{
		net: conn, cfg: cfg.withDefaults(), clock: clk, reader: amqp.NewReader(conn), done: make(chan struct{}),
		sessions: map[uint16]*Session{}, byPeer: map[uint16]*Session{}, woken: map[*Receiver]struct{}{},
	}
	if err := c.setup(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	c.both.Go(func() { c.end(c.read()) })
	c.both.Go(c.write)
	return c, nil
}

// Peer is the peer's open.
func (c *Conn) Peer() *amqp.Open { return c.peer }

// Done is closed when the connection is over; Err tells why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is nil while the connection stands.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close says close, waits until the peer has said it too or ctx ends, and for what the connection has started. What is under way has
// an error as its outcome.
func (c *Conn) Close(ctx context.Context) {
	c.mu.Lock()
	c.left = true
	c.shut(nil)
	c.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
	}
	c.Abort()
}

// Abort ends the connection without a word, and waits for what it has started.
func (c *Conn) Abort() {
	c.mu.Lock()
	c.left, c.closing = true, true // who is held up goes on
	for _, s := range c.sessions {
		s.release()
	}
	c.mu.Unlock()
	_ = c.net.Close()
	c.both.Wait()
}

// shut says close, with an error or without. The caller holds mu.
func (c *Conn) shut(e *amqp.Error) {
	if c.err != nil || c.closing {
		return
	}
	c.put(0, &amqp.Close{Error: e})
	c.closing = true
	for _, s := range c.sessions {
		s.release()
	}
}

var errClosed = errors.New("closed")

// end notes why the connection is over and tells everybody. It is called with mu held, by the goroutine that reads.
func (c *Conn) end(err error) {
	if errors.Is(err, errClosed) || c.left && !isPeers(err) {
		err = fault.Newf("amqp.Conn", fault.Unavailable, "the connection to %s is closed", c.name())
	}
	c.err = err
	for _, s := range c.sessions {
		s.over(err)
	}
	c.more.ring()
	c.room.ring()
	close(c.done)
	if !c.closing { // there are no last words to be written
		_ = c.net.Close()
	}
	c.release()
}

// name is what the peer is called in words.
func (c *Conn) name() string {
	if c.cfg.Hostname == "" {
		return "the peer"
	}
	return c.cfg.Hostname
}

// bell wakes all who wait for a change. It is used with the connection's mutex held.
type bell struct{ ch chan struct{} }

func (b *bell) heard() <-chan struct{} {
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// until waits until ready says so, looking whenever the bell rings. mu is held before and after.
func (c *Conn) until(ctx context.Context, b *bell, ready func() (bool, error)) error {
	for {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		if c.err != nil {
			return c.err
		}
		heard := b.heard()
		c.mu.Unlock()
		var err error
		select {
		case <-heard:
		case <-ctx.Done():
			err = c.late(ctx)
		}
		c.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// late is the fault of a context that ended while the peer was waited for.
func (c *Conn) late(ctx context.Context) error {
	return fault.Newf("amqp.Conn", fault.Timeout, "%s did not answer in time", c.name()).Because(context.Cause(ctx))
}
