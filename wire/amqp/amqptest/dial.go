package amqptest

import (
	"context"
	"fmt"
	"net"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Options say how Dial opens a connection. The zero value speaks no SASL.
type Options struct {
	SASL *SASL      // nil: the AMQP header comes first
	Open *amqp.Open // nil: a container-id "amqptest" and Hostname; an empty ContainerID in it is filled in too
	// Hostname is the open's hostname when Open is nil.
	Hostname string
}

// SASL is how a client proves who it is.
type SASL struct {
	Mechanism amqp.Symbol
	Initial   []byte                                              // nil: none
	Hostname  string                                              // of sasl-init; empty: none
	Answer    func(challenge []byte) (response []byte, err error) // nil: a challenge is an error
}

// Anonymous is SASL ANONYMOUS (RFC 4505) with a trace.
func Anonymous(trace string) *SASL { return &SASL{Mechanism: "ANONYMOUS", Initial: []byte(trace)} }

// Plain is SASL PLAIN (RFC 4616).
func Plain(user, password string) *SASL {
	return &SASL{Mechanism: "PLAIN", Initial: []byte("\x00" + user + "\x00" + password)}
}

// External is SASL EXTERNAL (RFC 4422): the certificate of the TLS below.
func External() *SASL { return &SASL{Mechanism: "EXTERNAL", Initial: []byte{}} }

// Refused is the error of Dial when SASL ends without success.
type Refused struct{ Code amqp.SASLCode }

// Error names the code.
func (r *Refused) Error() string { return fmt.Sprintf("SASL outcome %d", r.Code) }

// Dial speaks SASL, sends open and waits for the peer's. When the peer answers with a close, the error is its *amqp.Error. The connection
// below stays the caller's when Dial fails.
func Dial(ctx context.Context, conn net.Conn, o Options) (*Conn, error) {
	c := New(conn)
	if o.SASL != nil {
		if err := c.Authenticate(ctx, *o.SASL); err != nil {
			return nil, err
		}
	}
	if err := c.Header(ctx, amqp.ProtocolAMQP); err != nil {
		return nil, err
	}
	open := amqp.Open{Hostname: o.Hostname}
	if o.Open != nil {
		open = *o.Open
	}
	if open.ContainerID == "" {
		open.ContainerID = "amqptest"
	}
	if err := c.Send(ctx, 0, &open, nil); err != nil {
		return nil, err
	}
	peer, _, err := Expect[*amqp.Open](ctx, c)
	if err != nil {
		return nil, err
	}
	c.Peer = peer
	return c, nil
}

// Header writes a protocol header and wants the same one back.
func (c *Conn) Header(ctx context.Context, id byte) error {
	if err := c.WriteHeader(ctx, id); err != nil {
		return err
	}
	h, err := c.ReadHeader(ctx)
	if err != nil {
		return fmt.Errorf("expecting protocol header %d: %w", id, err)
	}
	if h != amqp.ProtocolHeader(id) {
		return fmt.Errorf("expecting protocol header %d, there came % x", id, h)
	}
	return nil
}

// Authenticate speaks the SASL layer, its header included. Refused tells an outcome that is not ok.
func (c *Conn) Authenticate(ctx context.Context, s SASL) error {
	if err := c.Header(ctx, amqp.ProtocolSASL); err != nil {
		return err
	}
	mechanisms, _, err := Expect[*amqp.SASLMechanisms](ctx, c)
	if err != nil {
		return err
	}
	c.Mechanisms = mechanisms.Mechanisms
	init := amqp.SASLInit{Mechanism: s.Mechanism, InitialResponse: s.Initial, Hostname: s.Hostname}
	if err := c.Send(ctx, 0, &init, nil); err != nil {
		return err
	}
	for {
		f, err := c.Next(ctx)
		if err != nil {
			return fmt.Errorf("expecting an outcome of SASL: %w", err)
		}
		switch p := f.Performative.(type) {
		case *amqp.SASLOutcome:
			if p.Code != amqp.SASLOK {
				return &Refused{Code: p.Code}
			}
			return nil
		case *amqp.SASLChallenge:
			if s.Answer == nil {
				return fmt.Errorf("mechanism %s is not expected to challenge", s.Mechanism)
			}
			response, err := s.Answer(p.Challenge)
			if err != nil {
				return err
			}
			if err := c.Send(ctx, 0, &amqp.SASLResponse{Response: response}, nil); err != nil {
				return err
			}
		default:
			return fmt.Errorf("expecting an outcome of SASL, there came %s", f)
		}
	}
}

// Begin begins a session on a channel with windows of 5000 transfers and waits for the answer.
func (c *Conn) Begin(ctx context.Context, channel uint16) (*amqp.Begin, error) {
	if err := c.Send(ctx, channel, &amqp.Begin{IncomingWindow: 5000, OutgoingWindow: 5000}, nil); err != nil {
		return nil, err
	}
	b, _, err := Expect[*amqp.Begin](ctx, c)
	return b, err
}

// Attach sends an attach and waits for the answer.
func (c *Conn) Attach(ctx context.Context, channel uint16, a *amqp.Attach) (*amqp.Attach, error) {
	if err := c.Send(ctx, channel, a, nil); err != nil {
		return nil, err
	}
	answer, _, err := Expect[*amqp.Attach](ctx, c)
	return answer, err
}

// SenderTo is an attach as clients that send write it.
func SenderTo(name string, handle uint32, address string) *amqp.Attach {
	return &amqp.Attach{
		Name: name, Handle: handle, Role: amqp.RoleSender,
		Source: &amqp.Source{Address: name}, Target: &amqp.Target{Address: address},
		InitialDeliveryCount: amqp.Some[uint32](0),
	}
}

// ReceiverFrom is an attach as clients that receive write it.
func ReceiverFrom(name string, handle uint32, address string) *amqp.Attach {
	return &amqp.Attach{
		Name: name, Handle: handle, Role: amqp.RoleReceiver,
		Source: &amqp.Source{Address: address}, Target: &amqp.Target{Address: name},
	}
}
