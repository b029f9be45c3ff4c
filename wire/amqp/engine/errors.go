package engine

import (
	"context"
	"errors"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// ErrEnded is the cause of a link's or connection's tidy end.
var ErrEnded = errors.New("amqp: ended")

var errSetup = fault.New("engine.Serve", fault.Timeout, "the peer did not open its AMQP connection in time")

func unread(err error) error {
	return fault.Wrap("engine.Serve", fault.Unavailable, err, "the connection broke")
}

func unwritten(err error) error {
	return fault.Wrap("engine.Serve", fault.Unavailable, err, "the connection broke, or the peer did not read")
}

// gone is the error of who would send on what has ended.
func gone(op string, cause error) error {
	if cause == nil {
		cause = ErrEnded
	}
	return fault.Wrap(op, fault.Unavailable, cause, "the link has ended")
}

// conditionOf is what an Acceptor's error is told as.
func conditionOf(err error) *amqp.Error {
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		return e
	}
	e := &amqp.Error{Condition: amqp.ConditionInternalError, Description: fault.Message(err)}
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Denied, fault.Expired:
		e.Condition = amqp.ConditionUnauthorizedAccess
	case fault.NotFound:
		e.Condition = amqp.ConditionNotFound
	case fault.Invalid, fault.TooLarge:
		e.Condition = amqp.ConditionInvalidField
	case fault.Conflict:
		e.Condition = amqp.ConditionNotAllowed
	case fault.Precondition:
		e.Condition = amqp.ConditionPreconditionFailed
	case fault.Exhausted:
		e.Condition = amqp.ConditionResourceLimitExceeded
	case fault.Unavailable, fault.Timeout:
		e.Condition = amqp.ConditionConnectionForced // clients come again
	case fault.Internal:
	}
	return e
}

// ended returns why a context is over.
func ended(ctx context.Context, op string) error {
	kind := fault.Unavailable
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = fault.Timeout
	}
	return fault.Wrap(op, kind, context.Cause(ctx), "the wait was given up")
}
