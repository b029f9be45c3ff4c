package amqpdoor

import (
	"errors"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// ending says in words why a connection ended, for those who ask why a device is not there.
func (v *conversation) ending(err error) string {
	switch c := v.conn.Cause(); {
	case v.conn.Context().Err() != nil:
		return hub.Stopping.String()
	case c != 0:
		return c.String()
	case err == nil:
		return "the device closed its connection"
	}
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		return "the connection ended: " + e.Description
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return "the connection broke off"
}
