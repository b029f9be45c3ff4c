package amqp

import (
	"errors"
	"fmt"
)

// Error is the error of a link, session or connection as a peer tells or is told it (2.8.14).
type Error struct {
	Condition   Symbol
	Description string // for people; may be empty
	Info        Map
}

// Error gives the condition and the description.
func (e *Error) Error() string {
	if e.Description == "" {
		return string(e.Condition)
	}
	return string(e.Condition) + ": " + e.Description
}

// Errorf makes an Error with a formatted description.
func Errorf(condition Symbol, format string, args ...any) *Error {
	return &Error{Condition: condition, Description: fmt.Sprintf(format, args...)}
}

// Conditions of 2.8.15 to 2.8.18.
const (
	ConditionInternalError         Symbol = "amqp:internal-error"
	ConditionNotFound              Symbol = "amqp:not-found"
	ConditionUnauthorizedAccess    Symbol = "amqp:unauthorized-access"
	ConditionDecodeError           Symbol = "amqp:decode-error"
	ConditionResourceLimitExceeded Symbol = "amqp:resource-limit-exceeded"
	ConditionNotAllowed            Symbol = "amqp:not-allowed"
	ConditionInvalidField          Symbol = "amqp:invalid-field"
	ConditionNotImplemented        Symbol = "amqp:not-implemented"
	ConditionResourceLocked        Symbol = "amqp:resource-locked"
	ConditionPreconditionFailed    Symbol = "amqp:precondition-failed"
	ConditionResourceDeleted       Symbol = "amqp:resource-deleted"
	ConditionIllegalState          Symbol = "amqp:illegal-state"
	ConditionFrameSizeTooSmall     Symbol = "amqp:frame-size-too-small"

	ConditionConnectionForced   Symbol = "amqp:connection:forced"
	ConditionFramingError       Symbol = "amqp:connection:framing-error"
	ConditionConnectionRedirect Symbol = "amqp:connection:redirect"

	ConditionWindowViolation  Symbol = "amqp:session:window-violation"
	ConditionErrantLink       Symbol = "amqp:session:errant-link"
	ConditionHandleInUse      Symbol = "amqp:session:handle-in-use"
	ConditionUnattachedHandle Symbol = "amqp:session:unattached-handle"

	ConditionDetachForced          Symbol = "amqp:link:detach-forced"
	ConditionTransferLimitExceeded Symbol = "amqp:link:transfer-limit-exceeded"
	ConditionMessageSizeExceeded   Symbol = "amqp:link:message-size-exceeded"
	ConditionLinkRedirect          Symbol = "amqp:link:redirect"
	ConditionStolen                Symbol = "amqp:link:stolen"
)

// What may be wrong with bytes.
var (
	ErrFraming   = errors.New("amqp: framing error")   // not cut into frames as 2.3 says
	ErrMalformed = errors.New("amqp: malformed bytes") // not a value, performative or message
)

// ConditionOf is the condition to tell a peer whose bytes gave err: of an Error its own, of ErrFraming framing-error, of ErrMalformed
// decode-error, otherwise internal-error.
func ConditionOf(err error) Symbol {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Condition
	case errors.Is(err, ErrFraming):
		return ConditionFramingError
	case errors.Is(err, ErrMalformed):
		return ConditionDecodeError
	}
	return ConditionInternalError
}

// malformed names the clause first, so that whoever debugs a client finds the rule it broke.
func malformed(clause, format string, args ...any) error {
	return fmt.Errorf("%w (%s): %s", ErrMalformed, clause, fmt.Sprintf(format, args...))
}
