package eventhubs

import (
	"context"
	"errors"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// kinds is what conditions mean to a bridge that those of the standard do not cover, or mean otherwise here. Of these only Invalid and
// TooLarge are not mended by waiting.
var kinds = map[amqp.Symbol]struct {
	kind   fault.Kind
	advise string
}{
	"com.microsoft:server-busy":           {fault.Exhausted, "it is throttled or full; it goes on by itself"},
	"com.microsoft:timeout":               {fault.Timeout, ""},
	"com.microsoft:operation-cancelled":   {fault.Unavailable, ""},
	"com.microsoft:argument-error":        {fault.Invalid, ""},
	"com.microsoft:argument-out-of-range": {fault.Invalid, ""},
	"com.microsoft:entity-disabled":       {fault.Unavailable, "the event hub is disabled; it goes on when it is enabled"},
	"com.microsoft:out-of-order-sequence": {fault.Unavailable, ""}, // what was before it did not arrive
	"com.microsoft:producer-epoch-stolen": {fault.Unavailable, ""}, // another link of ours has taken over
	"com.microsoft:auth-failed":           {fault.Unauthenticated, "the key or token is not known there; it may have been renewed"},
	amqp.ConditionUnauthorizedAccess:      {fault.Denied, "the bridge needs a role there, or a policy with the right"},
	amqp.ConditionStolen:                  {fault.Conflict, "somebody else reads the partition with the same consumer group; give the bridge one of its own"},
	amqp.ConditionNotFound:                {fault.NotFound, "the event hub or the consumer group does not exist"},
	amqp.ConditionResourceLimitExceeded:   {fault.Exhausted, ""},
}

// explain gives an error that a peer told the kind and the advice that it has here.
func explain(err error) error {
	e, ok := errors.AsType[*amqp.Error](err)
	if !ok {
		return err
	}
	k, ok := kinds[e.Condition]
	switch {
	case !ok:
		return err
	case fault.KindOf(err) == fault.Unauthenticated: // an answer to a token says more than its condition
		k = kinds["com.microsoft:auth-failed"]
	}
	f := fault.New("eventhubs", k.kind, fault.Message(err)).Because(err)
	switch {
	case k.advise != "":
		f = f.Advise("%s", k.advise)
	case fault.Next(err) != "":
		f = f.Advise("%s", fault.Next(err))
	}
	return f
}

// told tells whether an error is what the peer said.
func told(err error) bool {
	_, ok := errors.AsType[*amqp.Error](err)
	return ok
}

// ended says that a caller gave up waiting, in its own words.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return explain(err)
}
