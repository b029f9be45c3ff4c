package amqptest

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Conn writes and reads single frames. Build it with New or Dial.
type Conn struct {
	net net.Conn
	r   *amqp.Reader
	out []byte

	// Peer is the peer's open, when Dial made the Conn.
	Peer *amqp.Open
	// Mechanisms are what the peer offered, when SASL was spoken.
	Mechanisms []amqp.Symbol
}

// New wraps a connection on which nothing has been said. It reads frames of up to 1 MiB; see Limit.
func New(conn net.Conn) *Conn {
	c := &Conn{net: conn, r: amqp.NewReader(conn)}
	c.r.Limit(1 << 20)
	return c
}

// Limit sets the largest frame that is read, in bytes.
func (c *Conn) Limit(maxFrame uint32) { c.r.Limit(maxFrame) }

// NetConn is the connection below.
func (c *Conn) NetConn() net.Conn { return c.net }

// Close closes the connection below without a word.
func (c *Conn) Close() error { return c.net.Close() }

// bound lets a context's end and deadline end what waits for the connection. Call what it returns afterwards.
func bound(ctx context.Context, set func(time.Time) error) (release func()) {
	if ctx.Done() == nil {
		_ = set(time.Time{})
		return func() {}
	}
	deadline, _ := ctx.Deadline() // the zero time is no deadline
	_ = set(deadline)
	stop := context.AfterFunc(ctx, func() { _ = set(time.Unix(1, 0)) })
	return func() { stop() }
}

// because prefers a context's reason to the timeout it made.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// Write writes bytes as they are.
func (c *Conn) Write(ctx context.Context, b []byte) error {
	defer bound(ctx, c.net.SetWriteDeadline)()
	_, err := c.net.Write(b)
	return because(ctx, err)
}

// WriteHeader writes a protocol header: amqp.ProtocolAMQP, ProtocolTLS or ProtocolSASL.
func (c *Conn) WriteHeader(ctx context.Context, id byte) error {
	h := amqp.ProtocolHeader(id)
	return c.Write(ctx, h[:])
}

// ReadHeader reads the peer's protocol header.
func (c *Conn) ReadHeader(ctx context.Context) ([8]byte, error) {
	defer bound(ctx, c.net.SetReadDeadline)()
	h, err := c.r.ProtocolHeader()
	return h, because(ctx, err)
}

// Send writes one frame. A nil performative makes an empty one; SASL's performatives go into frames of their kind.
func (c *Conn) Send(ctx context.Context, channel uint16, p amqp.Performative, payload []byte) error {
	c.out = amqp.AppendFrame(c.out[:0], kindOf(p), channel, p, payload)
	return c.Write(ctx, c.out)
}

func kindOf(p amqp.Performative) byte {
	switch p.(type) {
	case *amqp.SASLMechanisms, *amqp.SASLInit, *amqp.SASLChallenge, *amqp.SASLResponse, *amqp.SASLOutcome:
		return amqp.FrameSASL
	}
	return amqp.FrameAMQP
}

// SendMessage writes a message in frames of which each carries at most chunk bytes of it, all in one write. Of t, More is set as needed,
// and the fields that belong to a delivery's first frame are left out of the others.
func (c *Conn) SendMessage(ctx context.Context, channel uint16, t amqp.Transfer, message []byte, chunk int) error {
	c.out = appendMessage(c.out[:0], channel, t, message, chunk)
	return c.Write(ctx, c.out)
}

func appendMessage(dst []byte, channel uint16, t amqp.Transfer, message []byte, chunk int) []byte {
	for {
		n := min(max(chunk, 1), len(message))
		t.More = n < len(message)
		dst = amqp.AppendTransfer(dst, channel, &t, message[:n])
		if message = message[n:]; len(message) == 0 {
			return dst
		}
		t = amqp.Transfer{Handle: t.Handle, Settled: t.Settled}
	}
}

// Frame is one frame of the peer. Performative is nil in an empty one. Payload is a copy.
type Frame struct {
	Kind         byte
	Channel      uint16
	Performative amqp.Performative
	Payload      []byte
}

// String names the frame for an error.
func (f Frame) String() string {
	if f.Performative == nil {
		return fmt.Sprintf("an empty frame on channel %d", f.Channel)
	}
	return fmt.Sprintf("%T%+v on channel %d with %d bytes", f.Performative, f.Performative, f.Channel, len(f.Payload))
}

// Next reads the next frame, empty ones included.
func (c *Conn) Next(ctx context.Context) (Frame, error) {
	defer bound(ctx, c.net.SetReadDeadline)()
	f, err := c.next()
	return f, because(ctx, err)
}

func (c *Conn) next() (Frame, error) {
	kind, channel, body, err := c.r.Next()
	if err != nil {
		return Frame{}, err
	}
	body = append([]byte(nil), body...)
	p, payload, err := amqp.Decode(kind, body)
	return Frame{Kind: kind, Channel: channel, Performative: p, Payload: payload}, err
}

// Expect reads the next frame that is not empty, which must hold a P, such as *amqp.Open.
func Expect[P amqp.Performative](ctx context.Context, c *Conn) (p P, f Frame, err error) {
	for f.Performative == nil {
		if f, err = c.Next(ctx); err != nil {
			return p, f, fmt.Errorf("expecting %T: %w", p, err)
		}
	}
	p, ok := f.Performative.(P)
	if !ok {
		return p, f, fmt.Errorf("expecting %T, there came %s", p, f)
	}
	return p, f, nil
}

// Await reads frames until one holds a P, and drops those before.
func Await[P amqp.Performative](ctx context.Context, c *Conn) (p P, f Frame, err error) {
	for {
		if f, err = c.Next(ctx); err != nil {
			return p, f, fmt.Errorf("awaiting %T: %w", p, err)
		}
		if p, ok := f.Performative.(P); ok {
			return p, f, nil
		}
	}
}

// ExpectEnd reads until the peer closes the connection below. Frames that come before are an error, but for empty ones.
func (c *Conn) ExpectEnd(ctx context.Context) error {
	for {
		switch f, err := c.Next(ctx); {
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			return nil
		case f.Performative != nil:
			return fmt.Errorf("expecting the end, there came %s", f)
		}
	}
}
