package code

import (
	"errors"

	"github.com/isthmus-io/isthmus/fault"
)

// Code is how a hub says what went wrong.
type Code struct {
	Number int    // six digits, the first three of which are mostly the status
	Name   string // as in the header iothub-errorcode; SDKs compare it letter by letter
	Status int    // of a REST answer
}

// IoT Hub's own codes.
var (
	InvalidProtocolVersion = Code{400001, "InvalidProtocolVersion", 400}
	InvalidOperation       = Code{400003, "InvalidOperation", 400}
	ArgumentInvalid        = Code{400004, "ArgumentInvalid", 400}
	ArgumentNull           = Code{400005, "ArgumentNull", 400}
	FormatError            = Code{400006, "IotHubFormatError", 400}
	BulkFailure            = Code{400013, "BulkRegistryOperationFailure", 400}
	ConnectionTakenOver    = Code{400027, "ConnectionForcefullyClosedOnNewConnection", 400}
	UnauthorizedAccess     = Code{401002, "IotHubUnauthorizedAccess", 401}
	Unauthorized           = Code{401003, "IotHubUnauthorized", 401}
	Forbidden              = Code{403000, "GenericForbidden", 403}
	QuotaExceeded          = Code{403002, "IotHubQuotaExceeded", 403}
	JobQuotaExceeded       = Code{403003, "JobQuotaExceeded", 403}
	QueueDepthExceeded     = Code{403004, "DeviceMaximumQueueDepthExceeded", 403}
	ActiveUploadsExceeded  = Code{403006, "DeviceMaximumActiveFileUploadLimitExceeded", 403}
	DeviceDisabled         = Code{403012, "DeviceDisabled", 403}
	DeviceNotFound         = Code{404001, "DeviceNotFound", 404}
	JobNotFound            = Code{404002, "JobNotFound", 404}
	ModuleNotFound         = Code{404010, "ModuleNotFound", 404}
	DeviceNotOnline        = Code{404103, "DeviceNotOnline", 404}
	ConnectionClosed       = Code{404104, "DeviceConnectionClosedRemotely", 404}
	ConfigurationNotFound  = Code{404301, "ConfigurationNotFound", 404}
	DeviceAlreadyExists    = Code{409001, "DeviceAlreadyExists", 409}
	LinkCreationConflict   = Code{409002, "LinkCreationConflict", 409}
	JobAlreadyExists       = Code{409104, "JobAlreadyExists", 409}
	ModuleAlreadyExists    = Code{409301, "ModuleAlreadyExistsOnDevice", 409}
	ConfigurationExists    = Code{409401, "ConfigurationAlreadyExists", 409}
	PreconditionFailed     = Code{412001, "PreconditionFailed", 412}
	MessageLockLost        = Code{412002, "DeviceMessageLockLost", 412}
	MessageTooLarge        = Code{413001, "MessageTooLarge", 413}
	TooManyDevices         = Code{413002, "TooManyDevices", 413}
	Throttled              = Code{429001, "ThrottlingException", 429}
	ServerError            = Code{500001, "ServerError", 500}
	ServiceUnavailable     = Code{503001, "ServiceUnavailable", 503}
	DeviceDidNotAnswer     = Code{504101, "GatewayTimeout", 504}
	NotFound               = Code{404000, "NotFound", 404}         // a path the hub does not have
	MethodNotAllowed       = Code{405000, "InvalidOperation", 405} // a path it has for other verbs
)

// All returns every code above.
func All() []Code {
	return []Code{
		InvalidProtocolVersion, InvalidOperation, ArgumentInvalid, ArgumentNull, FormatError, BulkFailure, ConnectionTakenOver, UnauthorizedAccess, Unauthorized,
		Forbidden, QuotaExceeded, JobQuotaExceeded, QueueDepthExceeded, ActiveUploadsExceeded, DeviceDisabled, DeviceNotFound, JobNotFound, ModuleNotFound, DeviceNotOnline,
		ConnectionClosed, ConfigurationNotFound, DeviceAlreadyExists, LinkCreationConflict, JobAlreadyExists, ModuleAlreadyExists, ConfigurationExists,
		PreconditionFailed, MessageLockLost, MessageTooLarge, TooManyDevices, Throttled, ServerError, ServiceUnavailable, DeviceDidNotAnswer, NotFound, MethodNotAllowed,
	}
}

// Named returns the code with a name; of two, the first.
func Named(name string) (Code, bool) {
	for _, c := range All() {
		if c.Name == name {
			return c, true
		}
	}
	return Code{}, false
}

// Numbered returns the code with a number.
func Numbered(number int) (Code, bool) {
	for _, c := range All() {
		if c.Number == number {
			return c, true
		}
	}
	return Code{}, false
}

// ofKind is the one table from fault.Kind, for faults without a code of their own.
func ofKind(k fault.Kind) Code {
	switch k {
	case fault.Invalid:
		return ArgumentInvalid
	case fault.NotFound:
		return DeviceNotFound
	case fault.Conflict:
		return DeviceAlreadyExists
	case fault.Precondition:
		return PreconditionFailed
	case fault.Unauthenticated, fault.Expired:
		return Unauthorized
	case fault.Denied:
		return UnauthorizedAccess
	case fault.TooLarge:
		return MessageTooLarge
	case fault.Exhausted, fault.Unavailable, fault.Timeout: // a full disk is ours, not the caller's quota
		return ServiceUnavailable
	case fault.Internal:
	}
	return ServerError
}

type coded struct {
	error
	code Code
}

func (c *coded) Unwrap() error { return c.error }

// With says which refusal an error is; nil stays nil. Of two codes the outer one counts.
func With(err error, c Code) error {
	if err == nil {
		return nil
	}
	return &coded{err, c}
}

// Of returns the code which With gave, or else that of the fault's kind.
func Of(err error) Code {
	if c, ok := errors.AsType[*coded](err); ok {
		return c.code
	}
	return ofKind(fault.KindOf(err))
}
