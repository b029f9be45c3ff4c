package provisioning

import (
	"errors"

	"github.com/isthmus-io/isthmus/fault"
)

// Code is the number by which Azure's provisioning service tells a refusal; its first three digits are the status of the answer.
type Code int

const (
	BadRequest     Code = 400000
	WebhookFailed  Code = 400207 // custom allocation
	NoHub          Code = 400208 // nothing to assign the device to
	Unauthorized   Code = 401002
	NotEnrolled    Code = 404201
	NoOperation    Code = 404202
	Exists         Code = 409201
	ETagMismatch   Code = 412201
	TooLarge       Code = 413001
	Throttled      Code = 429001
	ServerError    Code = 500001
	NotAvailable   Code = 503001
	GatewayTimeout Code = 504001
)

// Status returns the HTTP status of an answer with the code.
func (c Code) Status() int { return int(c) / 1000 }

// codes is the one table from fault.Kind.
var codes = map[fault.Kind]Code{
	fault.Internal: ServerError, fault.Invalid: BadRequest, fault.NotFound: NotEnrolled, fault.Conflict: Exists, fault.Precondition: ETagMismatch,
	fault.Unauthenticated: Unauthorized, fault.Denied: Unauthorized, fault.Expired: Unauthorized, fault.Exhausted: NotAvailable, fault.TooLarge: TooLarge,
	fault.Unavailable: NotAvailable, fault.Timeout: GatewayTimeout,
}

// coded is a fault with a more exact code than that of its kind.
type coded struct {
	error
	code Code
}

func (c *coded) Unwrap() error { return c.error }

// with says which code a fault has.
func with(err error, code Code) error { return &coded{err, code} }

// CodeOf returns the code given with an error, or the one of its kind.
func CodeOf(err error) Code {
	if c, ok := errors.AsType[*coded](err); ok {
		return c.code
	}
	return codes[fault.KindOf(err)]
}
