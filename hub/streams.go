package hub

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/limit"
)

// Bounds of device streams (IoT Hub: device streams, preview).
const (
	MaxStreamName    = 128 // bytes
	MaxStreamTimeout = 300 * time.Second
	// DefaultStreamTimeout is how long a device may take to answer unless the caller says otherwise.
	DefaultStreamTimeout = 60 * time.Second
)

// StreamRequest asks a device to open a stream: to connect to the address with the token, or to refuse.
type StreamRequest struct {
	ID    string // short lower-case hex; the answer names it
	Name  string
	URL   string // wss
	Token string
}

// StreamReceiver is what a Receiver is too whose door can ask a device for a stream.
type StreamReceiver interface {
	// StreamRequested asks the device; the answer goes to Session.AnswerStream. It must not wait.
	StreamRequested(StreamRequest)
}

// What a device answers, as doors write it.
const streamRejected, streamAccepted = 400, 200

// RequestStream asks a device or a module to open a stream, and returns the session in which it said that it will; nil when it refused.
// connect is how long to wait for a device that does not listen, response how long it may take to answer (0: DefaultStreamTimeout).
// Faults are those of InvokeMethod.
func (h *Hub) RequestStream(ctx context.Context, n Name, r StreamRequest, connect, response time.Duration) (accepted *Session, err error) {
	op := "hub.RequestStream"
	bad := func(c rune) bool { return unicode.IsControl(c) || strings.ContainsRune("/?#+", c) }
	if r.Name == "" || len(r.Name) > MaxStreamName || !utf8.ValidString(r.Name) || strings.ContainsFunc(r.Name, bad) {
		return nil, fault.Newf(op, fault.Invalid, "%.40q cannot be the name of a stream", r.Name).
			Advise("a name has 1 to %d bytes and no control characters, nor / ? # +", MaxStreamName)
	}
	if response == 0 {
		response = DefaultStreamTimeout
	}
	if connect < 0 || connect > MaxStreamTimeout || response < 0 || response > MaxStreamTimeout {
		return nil, fault.Newf(op, fault.Invalid, "the timeouts of the stream are %g s and %g s", connect.Seconds(), response.Seconds()).
			Advise("they are 0 to %g s", MaxStreamTimeout.Seconds())
	}
	if _, err := h.Admit(limit.Methods, n, 1); err != nil {
		return nil, err
	}
	var asked *Session
	answer, err := h.question(ctx, op, n, question{
		topic: Streams, what: "streams", connect: connect, response: response, of: func(s *Session) { asked = s },
		put: func(to Receiver, id string) {
			r.ID = id
			if s, ok := to.(StreamReceiver); ok {
				s.StreamRequested(r)
			}
		},
	})
	if err != nil || answer.Status == streamRejected {
		return nil, err
	}
	return asked, nil
}

// AnswerStream says whether the device opens the stream it was asked for.
func (s *Session) AnswerStream(id string, accepted bool) {
	status := streamRejected
	if accepted {
		status = streamAccepted
	}
	s.AnswerMethod(id, status, nil)
}
