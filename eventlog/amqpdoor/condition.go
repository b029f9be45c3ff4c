package amqpdoor

import (
	"errors"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Conditions that are the vendor's, as its SDKs know them.
const (
	conditionServerBusy     amqp.Symbol = "com.microsoft:server-busy"
	conditionTimeout        amqp.Symbol = "com.microsoft:timeout"
	conditionArgument       amqp.Symbol = "com.microsoft:argument-error"
	conditionOutOfRange     amqp.Symbol = "com.microsoft:argument-out-of-range"
	conditionDisabled       amqp.Symbol = "com.microsoft:entity-disabled"
	conditionOutOfOrder     amqp.Symbol = "com.microsoft:out-of-order-sequence"
	conditionProducerFenced amqp.Symbol = "com.microsoft:producer-epoch-stolen"
)

// answer is what a kind of fault is on the wire.
type answer struct {
	condition amqp.Symbol // of links and deliveries
	status    int32       // of requests
}

// answers is the door's table of kinds. SDKs try again by themselves after server-busy, timeout and internal-error.
var answers = map[fault.Kind]answer{
	fault.Internal:        {amqp.ConditionInternalError, 500},
	fault.Invalid:         {conditionArgument, 400},
	fault.NotFound:        {amqp.ConditionNotFound, 404},
	fault.Conflict:        {amqp.ConditionNotAllowed, 409},
	fault.Precondition:    {amqp.ConditionPreconditionFailed, 412},
	fault.Unauthenticated: {amqp.ConditionUnauthorizedAccess, 401},
	fault.Denied:          {amqp.ConditionUnauthorizedAccess, 401},
	fault.Expired:         {amqp.ConditionUnauthorizedAccess, 401},
	fault.Exhausted:       {conditionServerBusy, 503},
	fault.TooLarge:        {amqp.ConditionMessageSizeExceeded, 413},
	fault.Unavailable:     {conditionServerBusy, 503},
	fault.Timeout:         {conditionTimeout, 408},
}

// causes are those that clients tell apart within a kind.
var causes = []struct {
	err       error
	condition amqp.Symbol
}{
	{eventhub.ErrDisabled, conditionDisabled},
	{eventlog.ErrOutOfOrder, conditionOutOfOrder},
	{eventlog.ErrProducerFenced, conditionProducerFenced},
}

// condition says an error as a peer may hear it. What is an error of AMQP already stays as it is.
func condition(err error) *amqp.Error {
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		return e
	}
	words := fault.Message(err)
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return &amqp.Error{Condition: c.condition, Description: words}
		}
	}
	return &amqp.Error{Condition: answers[fault.KindOf(err)].condition, Description: words}
}

// status is the code for the answer to a request.
func status(err error) int32 { return answers[fault.KindOf(err)].status }

// badPartition is what a link to a partition that is not there is told.
func badPartition(entity, partition string, n int) *amqp.Error {
	return amqp.Errorf(conditionOutOfRange, "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 and %d. Event hub: '%s', partition: '%s'.", n-1, entity, partition)
}
