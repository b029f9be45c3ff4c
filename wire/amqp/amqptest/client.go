package amqptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// ErrClosed is what calls get after a connection, session or link ended without an error.
var ErrClosed = errors.New("amqptest: closed")

const (
	window   = 5000    // transfers of a session we take before we say so again
	fullness = 4 << 20 // bytes waiting to be written above which senders wait
)

// Client is a connection with sessions and links. Build it with Connect; Close ends it.
type Client struct {
	conn  *Conn
	frame int // largest frame the peer takes

	mu       sync.Mutex
	out      []byte // waiting to be written
	spare    []byte
	more     signal   // out has become longer
	room     signal   // out has become shorter
	err      error    // why it ended; set once
	closing  bool     // our close is written
	later    []func() // for the goroutine that reads to call without the mutex
	sessions map[uint16]*Session
	byPeer   map[uint16]*Session

	ended chan struct{} // both goroutines have ended
	done  chan struct{} // err is set
}

// signal wakes all who wait for a change. It is used under the client's mutex.
type signal struct{ ch chan struct{} }

func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) wake() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// Connect dials as Dial does and starts the client. The connection below is the client's from then on, also when Connect fails.
func Connect(ctx context.Context, conn net.Conn, o Options) (*Client, error) {
	raw, err := Dial(ctx, conn, o)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	c := &Client{
		conn: raw, frame: int(min(raw.Peer.MaxFrameSize.Or(64<<10), 1<<20)),
		sessions: map[uint16]*Session{}, byPeer: map[uint16]*Session{},
		ended: make(chan struct{}), done: make(chan struct{}),
	}
	var both sync.WaitGroup
	both.Go(func() { c.end(c.read()) })
	both.Go(c.write)
	go func() {
		both.Wait()
		close(c.ended)
	}()
	return c, nil
}

// Peer is the peer's open.
func (c *Client) Peer() *amqp.Open { return c.conn.Peer }

// Done is closed when the connection has ended; Err tells why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil while the connection stands, then the peer's *amqp.Error, ErrClosed after a tidy end, or what the connection below said.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close sends close, waits for the peer's, and for what the client has started. The error is that of the peer's close.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.err == nil && !c.closing {
		c.closing = true
		c.sendLocked(0, &amqp.Close{}, nil)
	}
	c.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
	}
	c.Abort()
	if err := c.Err(); !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

// Abort closes the connection below without a word and waits for what the client has started.
func (c *Client) Abort() {
	_ = c.conn.Close()
	<-c.ended
}

// end notes why the connection ended and wakes everybody.
func (c *Client) end(err error) {
	c.mu.Lock()
	defer c.unlockAndCall()
	if err == nil || c.closing && errors.Is(err, io.EOF) {
		err = ErrClosed
	}
	c.err = err
	for _, s := range c.sessions {
		s.endLocked(err)
	}
	c.more.wake()
	c.room.wake()
	close(c.done)
}

// until waits until ready says so, with the mutex held before and after.
func (c *Client) until(ctx context.Context, s *signal, ready func() (bool, error)) error {
	for {
		if c.err != nil {
			return c.err
		}
		if ok, err := ready(); ok || err != nil {
			return err
		}
		changed := s.wait()
		c.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		c.mu.Lock()
		if err != nil {
			return err
		}
	}
}

func (c *Client) sendLocked(channel uint16, p amqp.Performative, payload []byte) {
	c.out = amqp.AppendFrame(c.out, amqp.FrameAMQP, channel, p, payload)
	c.more.wake()
}

// write writes what waits, and an empty frame at a third of the peer's idle-time-out.
func (c *Client) write() {
	var idle <-chan time.Time
	if ms := c.conn.Peer.IdleTimeout.Or(0); ms > 0 {
		t := time.NewTicker(max(time.Duration(ms)*time.Millisecond/3, time.Millisecond))
		defer t.Stop()
		idle = t.C
	}
	for {
		c.mu.Lock()
		for len(c.out) == 0 && c.err == nil {
			changed := c.more.wait()
			c.mu.Unlock()
			select {
			case <-changed:
				c.mu.Lock()
			case <-idle:
				c.mu.Lock()
				c.out = amqp.AppendFrame(c.out, amqp.FrameAMQP, 0, nil, nil)
			}
		}
		if len(c.out) == 0 { // an answer to close is still written
			c.mu.Unlock()
			return
		}
		b := c.out
		c.out = c.spare[:0]
		c.mu.Unlock()
		if _, err := c.conn.net.Write(b); err != nil {
			_ = c.conn.Close() // the reader tells why
			<-c.done
			return
		}
		c.mu.Lock()
		c.spare = b
		c.room.wake()
		c.mu.Unlock()
	}
}

// read hands frames to sessions until the connection ends.
func (c *Client) read() error {
	for {
		f, err := c.conn.next()
		if err != nil {
			return err
		}
		if p, ok := f.Performative.(*amqp.Close); ok {
			c.mu.Lock()
			if !c.closing {
				c.closing = true
				c.sendLocked(0, &amqp.Close{}, nil)
			}
			c.mu.Unlock()
			if p.Error != nil {
				return p.Error
			}
			return nil
		}
		if f.Performative == nil {
			continue
		}
		if err := c.take(f); err != nil {
			_ = c.conn.Close()
			return err
		}
	}
}

func (c *Client) take(f Frame) error {
	c.mu.Lock()
	err := c.takeLocked(f)
	c.unlockAndCall()
	return err
}

// unlockAndCall calls what was put off until the mutex is free.
func (c *Client) unlockAndCall() {
	later := c.later
	c.later = nil
	c.mu.Unlock()
	for _, f := range later {
		f()
	}
}

func (c *Client) takeLocked(f Frame) error {
	if b, ok := f.Performative.(*amqp.Begin); ok {
		s := c.sessions[b.RemoteChannel.Or(0)]
		if !b.RemoteChannel.Set || s == nil {
			return fmt.Errorf("amqptest: there came %s, which begins no session of ours", f)
		}
		s.peer, c.byPeer[f.Channel] = b, s
		s.remoteWindow = b.IncomingWindow
		s.nextIncoming = b.NextOutgoingID
		s.changed.wake()
		return nil
	}
	s := c.byPeer[f.Channel]
	if s == nil {
		return fmt.Errorf("amqptest: there came %s, where no session is", f)
	}
	return s.takeLocked(f)
}
