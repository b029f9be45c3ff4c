package mux

import (
	"fmt"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// ResetError is what Read, Write and WaitAccepted return once a stream has been reset, by either side.
type ResetError struct {
	Code    tunnel.ResetCode
	Message string // the words of whoever reset it; may be empty
	Remote  bool   // the peer did it
}

// Error says who reset the stream and why.
func (e *ResetError) Error() string {
	who := "stream reset here"
	if e.Remote {
		who = "stream reset by the peer"
	}
	if e.Message == "" {
		return fmt.Sprintf("%s: %s", who, e.Code)
	}
	return fmt.Sprintf("%s: %s: %s", who, e.Code, e.Message)
}

// Fault returns the reset as a fault of the code's kind, for users who cross a room with it.
func (e *ResetError) Fault(op string) *fault.Error {
	message := e.Message
	if message == "" {
		message = "the flow was reset: " + e.Code.String()
	}
	return fault.New(op, e.Code.Kind(), message).Because(e)
}

// protocolError is what the peer did wrong; it ends the session.
func protocolError(format string, args ...any) error {
	return fault.Newf("mux.Run", fault.Invalid, format, args...).
		Advise("run the same release on both agents; if they are the same, report this line")
}
