package engine

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// SASL is one peer's authentication. It is for the goroutine that Authenticate is called on.
type SASL struct {
	Mechanism amqp.Symbol // that the peer chose
	Hostname  string      // that it wants to reach; may be empty
	Initial   []byte      // its initial response; nil when there was none

	conn   *Conn
	rounds int
}

const maxChallenge = 448 // bytes; they and the frame around them are within the 512 that every peer takes

// Challenge asks the peer and returns its response, at most 8 KiB. It fails when the peer answers something else, when a challenge is
// longer than 448 bytes, and in the seventeenth round. After its error there is nothing to say but no.
func (x *SASL) Challenge(ctx context.Context, challenge []byte) (response []byte, err error) {
	op := "engine.Challenge"
	switch x.rounds++; {
	case len(challenge) > maxChallenge:
		return nil, fault.Newf(op, fault.TooLarge, "a challenge of %d bytes, at most %d can be sent", len(challenge), maxChallenge)
	case x.rounds > maxRounds:
		return nil, fault.Newf(op, fault.Invalid, "SASL went on for more than %d rounds", maxRounds)
	}
	defer context.AfterFunc(ctx, func() {
		x.conn.mu.Lock()
		defer x.conn.mu.Unlock()
		x.conn.because(ended(ctx, op))
		x.conn.cut()
	})()
	x.conn.saySASL(&amqp.SASLChallenge{Challenge: challenge})
	p, err := x.conn.readSASL()
	if err != nil {
		return nil, err
	}
	r, ok := p.(*amqp.SASLResponse)
	if !ok {
		return nil, fault.New(op, fault.Invalid, "the peer answered a challenge with something else than sasl-response")
	}
	return r.Response, nil
}
