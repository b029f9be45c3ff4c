package amqpdoor

import (
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// throttled is how Azure's services tell that it is too often; SDKs try again.
const throttled amqp.Symbol = "com.microsoft:device-container-throttled"

// condition is the table from a fault to the condition of a rejection. The Node SDK tries again after throttled and internal-error only.
func condition(err error) amqp.Symbol {
	if provisioning.CodeOf(err) == provisioning.Throttled {
		return throttled
	}
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Denied, fault.Expired:
		return amqp.ConditionUnauthorizedAccess
	case fault.Invalid:
		return amqp.ConditionInvalidField
	case fault.NotFound:
		return amqp.ConditionNotFound
	case fault.Conflict, fault.Precondition:
		return amqp.ConditionPreconditionFailed
	case fault.TooLarge:
		return amqp.ConditionMessageSizeExceeded
	case fault.Exhausted:
		return throttled
	case fault.Internal, fault.Unavailable, fault.Timeout:
	}
	return amqp.ConditionInternalError
}

// refusal is an error as a device is told it: the SDK in C# reads the description as JSON, and retry-after as each SDK writes it.
func (v *conversation) refusal(svc *provisioning.Service, err error) *amqp.Error {
	out := &amqp.Error{Condition: condition(err)}
	if b, err := provisioning.MarshalASCII(provisioning.RefusalOf(err, v.door.clock.Now())); err == nil { // it always is
		out.Description = string(b)
	}
	if svc != nil && (out.Condition == throttled || out.Condition == amqp.ConditionInternalError) {
		out.Info = amqp.Map{{Key: amqp.Symbol(retryLower), Value: retryAfter(svc)}, {Key: amqp.Symbol(retryUpper), Value: retryAfter(svc)}}
	}
	return out
}

// The two spellings: Node and C#.
const (
	retryLower = "retry-after"
	retryUpper = "Retry-After"
)

// retryAfter is in seconds.
func retryAfter(svc *provisioning.Service) int32 { return max(int32(svc.RetryAfter().Seconds()), 1) }

// tell lets people know why a device was refused, or what failed.
func (v *conversation) tell(registration string, err error) {
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Denied, fault.Expired:
		v.conn.Refuse(registration, err)
	case fault.Internal, fault.Exhausted, fault.Unavailable, fault.Timeout:
		if v.amqp.Context().Err() == nil { // whoever asked is there
			v.door.log.Error("provisioning: request failed", "door", "amqp", "registration", registration, "err", err)
		}
	default: // the device's own matter
	}
}
