package engine

import (
	"context"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// SASL is one peer's authentication.
type SASL struct {
	Mechanism amqp.Symbol
	Hostname  string
	Initial   []byte // the initial response; nil when there was none

	conn *Conn
}

// Challenge asks the peer and returns its response.
func (x *SASL) Challenge(ctx context.Context, challenge []byte) (response []byte, err error) {
	return nil, nil
}
