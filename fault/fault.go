package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is what a caller may need to tell apart. The zero value is Internal, so that a forgotten kind never leaks details.
type Kind uint8

const (
	Internal        Kind = iota // our own mistake or an unexplained failure; the text stays in the log
	Invalid                     // the input is wrong and will stay wrong: fix it and send it again
	NotFound                    // no such thing, or the caller may not know that there is
	Conflict                    // the thing exists, or is in a state that forbids this
	Precondition                // an etag, version or If-Match did not hold
	Unauthenticated             // nobody we know: missing, wrong or unreadable credentials
	Denied                      // somebody we know, who may not do this
	Expired                     // was good once: a token, a ticket, a certificate, a grant
	Exhausted                   // a bounded thing is full: addresses, disk, a quota, a queue
	TooLarge                    // one item is over its size limit
	Unavailable                 // cannot be reached or is stopping: the same request may succeed later
	Timeout                     // it did not answer in time
)

// Kinds lists every kind, for tables that must be complete.
func Kinds() []Kind {
	return []Kind{
		Internal, Invalid, NotFound, Conflict, Precondition, Unauthenticated, Denied, Expired, Exhausted, TooLarge, Unavailable, Timeout,
	}
}

var names = [...]string{
	Internal: "internal", Invalid: "invalid", NotFound: "not-found", Conflict: "conflict", Precondition: "precondition",
	Unauthenticated: "unauthenticated", Denied: "denied", Expired: "expired", Exhausted: "exhausted", TooLarge: "too-large",
	Unavailable: "unavailable", Timeout: "timeout",
}

// String returns the kind's name as it stands in problem documents and logs, e.g. "not-found".
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return "internal"
}

// ParseKind reads what String wrote; an unknown name is Internal.
func ParseKind(s string) Kind {
	for k, n := range names {
		if n == s {
			return Kind(k)
		}
	}
	return Internal
}

// Error is a fault. Build it with New, Newf or Wrap; read it with KindOf, Message and Next.
type Error struct {
	Op      string // room.Operation, e.g. "control.Approve"; empty only in tests
	Kind    Kind
	Message string // what happened, for the user: no secret, nothing of another tenant
	Next    string // what to do about it; may be empty
	Err     error  // the cause, for the log
}

// New returns a fault with words for the user.
func New(op string, kind Kind, message string) *Error {
	return &Error{Op: op, Kind: kind, Message: message}
}

// Newf is New with formatting. It does not wrap: a cause goes through Wrap.
func Newf(op string, kind Kind, format string, args ...any) *Error {
	return &Error{Op: op, Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap puts an operation and words around a cause. An empty message keeps the words of the innermost fault, and then kind
// Internal keeps that fault's kind too, so that Wrap(op, Internal, err, "") only adds a step to the trace. Wrap(…, nil, …) is nil.
func Wrap(op string, kind Kind, err error, message string) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Kind: kind, Message: message, Err: err}
	if inner, ok := errors.AsType[*Error](err); ok && message == "" {
		e.Message, e.Next = inner.Message, inner.Next
		if kind == Internal {
			e.Kind = inner.Kind
		}
	}
	return e
}

// Advise returns a copy of the fault which also says what to do next.
func (e *Error) Advise(format string, args ...any) *Error {
	c := *e
	c.Next = format
	if len(args) > 0 {
		c.Next = fmt.Sprintf(format, args...)
	}
	return &c
}

// Because returns a copy of the fault with a cause for the log.
func (e *Error) Because(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// Error renders the trace of operations, the words and the cause, for logs and for people with access to them.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	b.WriteString(e.Kind.String())
	inner, wrapped := e.Err.(*Error) //nolint:errorlint // only the direct cause repeats our words
	if e.Message != "" && !(wrapped && inner.Message == e.Message) {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, fault.NotFound) style checks possible through a Kind wrapped by OfKind.
func (e *Error) Is(target error) bool {
	k, ok := target.(kindTarget)
	return ok && e.Kind == Kind(k)
}

type kindTarget Kind

func (k kindTarget) Error() string { return Kind(k).String() }

// OfKind returns a target for errors.Is that matches any fault of this kind in the chain.
func OfKind(k Kind) error { return kindTarget(k) }

// KindOf returns the kind of the outermost fault in the chain, Internal when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Message returns the words a caller may see. Internal faults and foreign errors give a fixed sentence.
func Message(err error) string {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind == Internal || e.Message == "" {
		return "something went wrong inside; the log of this process has the details"
	}
	return e.Message
}

// Next returns what to do about it, or the empty string.
func Next(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Next
	}
	return ""
}
