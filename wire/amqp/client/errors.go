package client

import (
	"errors"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// KindOf is the kind of fault a condition of the standard (2.8.15 to 2.8.18) means; Unavailable for any other.
func KindOf(condition amqp.Symbol) fault.Kind {
	switch condition {
	case amqp.ConditionNotFound, amqp.ConditionResourceDeleted:
		return fault.NotFound
	case amqp.ConditionUnauthorizedAccess:
		return fault.Denied
	case amqp.ConditionDecodeError, amqp.ConditionInvalidField, amqp.ConditionNotImplemented, amqp.ConditionFrameSizeTooSmall:
		return fault.Invalid
	case amqp.ConditionResourceLimitExceeded:
		return fault.Exhausted
	case amqp.ConditionNotAllowed, amqp.ConditionStolen, amqp.ConditionIllegalState, amqp.ConditionResourceLocked:
		return fault.Conflict
	case amqp.ConditionPreconditionFailed:
		return fault.Precondition
	case amqp.ConditionMessageSizeExceeded:
		return fault.TooLarge
	}
	return fault.Unavailable
}

// told is the fault of a peer that ended something. e may be nil.
func (c *Conn) told(what string, e *amqp.Error) error {
	if e == nil {
		return fault.Newf("amqp.Conn", fault.Unavailable, "%s closed %s", c.name(), what)
	}
	return fault.Newf("amqp.Conn", KindOf(e.Condition), "%s closed %s: %s", c.name(), what, Words(e)).Because(e)
}

// refused is the fault of a delivery that was not taken.
func (c *Conn) refused(address string, state amqp.State) error {
	const op = "amqp.Send"
	switch s := state.(type) {
	case amqp.Accepted:
		return nil
	case amqp.Rejected:
		if s.Error != nil {
			return fault.Newf(op, KindOf(s.Error.Condition), "%s refused a message to %s: %s", c.name(), address, Words(s.Error)).Because(s.Error)
		}
		return fault.Newf(op, fault.Invalid, "%s refused a message to %s", c.name(), address)
	}
	return fault.Newf(op, fault.Unavailable, "%s did not take a message to %s", c.name(), address)
}

// Words is what a peer's error says to people: its description, without what is different each time, and its condition. It is at most some
// 350 bytes long.
func Words(e *amqp.Error) string {
	const most = 300
	text := e.Description
	for _, mark := range []string{"Tracking ID:", "TrackingId:", "Reference:"} {
		text, _, _ = strings.Cut(text, mark)
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text)
	text = strings.TrimRight(text, " .,;")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	condition := string(e.Condition[:min(len(e.Condition), 60)])
	if text == "" {
		return condition
	}
	return text + " (" + condition + ")"
}

// isPeers tells whether an error is what a peer said.
func isPeers(err error) bool {
	_, ok := errors.AsType[*amqp.Error](err)
	return ok
}
