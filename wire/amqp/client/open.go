package client

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// SASL is how a client says who it is.
type SASL struct {
	Mechanism amqp.Symbol
	Initial   []byte // secret, with PLAIN
}

// Anonymous is SASL ANONYMOUS (RFC 4505): who it is, the peer learns later, by claims.
func Anonymous() SASL { return SASL{Mechanism: "ANONYMOUS", Initial: []byte("isthmus")} }

// Claims is MSSBCBS, the name that Azure's services have for the same.
func Claims() SASL { return SASL{Mechanism: "MSSBCBS", Initial: []byte{}} }

// Plain is SASL PLAIN (RFC 4616).
func Plain(user, password string) SASL {
	return SASL{Mechanism: "PLAIN", Initial: []byte("\x00" + user + "\x00" + password)}
}

const maxChannel = 255 // of sessions of ours

// setup speaks SASL and open.
func (c *Conn) setup(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.SetupTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.net.SetDeadline(time.Unix(1, 0)) })
	err := c.greet()
	if !stop() {
		return c.late(ctx)
	}
	if err != nil {
		return err
	}
	return c.net.SetDeadline(time.Time{})
}

func (c *Conn) greet() error {
	c.reader.Limit(c.cfg.MaxFrame)
	if err := c.layer(amqp.ProtocolSASL, nil); err != nil {
		return err
	}
	p, err := c.expect(amqp.FrameSASL)
	if err != nil {
		return err
	}
	offer, ok := p.(*amqp.SASLMechanisms)
	if !ok {
		return c.foreign(nil)
	}
	if !slices.Contains(offer.Mechanisms, c.cfg.SASL.Mechanism) {
		return fault.Newf("amqp.Connect", fault.Unauthenticated, "%s does not take SASL %s, but %.200s", c.name(), c.cfg.SASL.Mechanism, list(offer.Mechanisms))
	}
	init := &amqp.SASLInit{Mechanism: c.cfg.SASL.Mechanism, InitialResponse: c.cfg.SASL.Initial, Hostname: c.cfg.Hostname}
	if err := c.say(amqp.AppendFrame(nil, amqp.FrameSASL, 0, init, nil)); err != nil {
		return err
	}
	if p, err = c.expect(amqp.FrameSASL); err != nil {
		return err
	}
	switch p := p.(type) {
	case *amqp.SASLOutcome:
		switch p.Code {
		case amqp.SASLOK:
		case amqp.SASLSys, amqp.SASLSysTemp:
			return fault.Newf("amqp.Connect", fault.Unavailable, "%s cannot authenticate anybody now", c.name())
		default:
			return fault.Newf("amqp.Connect", fault.Unauthenticated, "%s refused the credentials", c.name()).
				Advise("the user, the password or the token is wrong, or has expired")
		}
	default:
		return fault.Newf("amqp.Connect", fault.Unauthenticated, "%s asks for more than SASL %s", c.name(), c.cfg.SASL.Mechanism)
	}
	open := &amqp.Open{
		ContainerID: c.cfg.ContainerID, Hostname: c.cfg.Hostname, MaxFrameSize: amqp.Some(c.cfg.MaxFrame), ChannelMax: amqp.Some(uint16(maxChannel)),
		IdleTimeout: amqp.Some(uint32(min(c.cfg.IdleTimeout.Milliseconds(), math.MaxUint32))),
		Properties:  amqp.Map{{Key: amqp.Symbol("product"), Value: "isthmus"}},
	}
	if err := c.layer(amqp.ProtocolAMQP, open); err != nil {
		return err
	}
	if p, err = c.expect(amqp.FrameAMQP); err != nil {
		return err
	}
	switch p := p.(type) {
	case *amqp.Open:
		c.peer = p
	case *amqp.Close: // by those who have no open for us
		return c.told("the connection", p.Error)
	default:
		return c.foreign(nil)
	}
	c.frame = int(min(max(c.peer.MaxFrameSize.Or(math.MaxUint32), amqp.MinMaxFrame), c.cfg.MaxFrame))
	return nil
}

func list(mechanisms []amqp.Symbol) string {
	all := make([]string, len(mechanisms))
	for i, m := range mechanisms {
		all[i] = string(m)
	}
	return strings.Join(all, ", ")
}

// layer says the protocol header and, behind it, what may be said before the answer.
func (c *Conn) layer(id byte, p amqp.Performative) error {
	h := amqp.ProtocolHeader(id)
	b := h[:]
	if p != nil {
		b = amqp.AppendFrame(b, amqp.FrameAMQP, 0, p, nil)
	}
	if err := c.say(b); err != nil {
		return err
	}
	got, err := c.reader.ProtocolHeader()
	if err == nil && got == h {
		return nil
	}
	return c.foreign(err)
}

func (c *Conn) say(b []byte) error {
	if _, err := c.net.Write(b); err != nil {
		return c.foreign(err)
	}
	return nil
}

// expect reads the next frame of a kind.
func (c *Conn) expect(kind byte) (amqp.Performative, error) {
	for range 8 { // empty frames are rare here
		k, _, body, err := c.reader.Next()
		if err != nil {
			return nil, c.foreign(err)
		}
		p, _, err := amqp.Decode(k, body)
		if err != nil || k != kind {
			return nil, c.foreign(err)
		}
		if p != nil {
			return p, nil
		}
	}
	return nil, c.foreign(nil)
}

// foreign is the fault of a peer that went away, or spoke otherwise than AMQP, before there was a connection.
func (c *Conn) foreign(err error) error {
	const op = "amqp.Connect"
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Newf(op, fault.Unavailable, "%s closed the connection without an answer", c.name()).Because(err)
	case err == nil || errors.Is(err, amqp.ErrFraming) || errors.Is(err, amqp.ErrMalformed):
		return fault.Newf(op, fault.Unavailable, "%s does not speak AMQP 1.0 as it should", c.name()).Because(err)
	}
	return fault.Newf(op, fault.Unavailable, "the connection to %s broke", c.name()).Because(err)
}
