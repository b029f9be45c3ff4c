package hub

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/access/streamkey"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/resource"
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
	if err := CheckStreamName(r.Name); err != nil {
		return nil, err
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

// CheckStreamName tells whether a device can be asked for a stream of this name; Invalid when not.
func CheckStreamName(name string) error {
	bad := func(c rune) bool { return unicode.IsControl(c) || strings.ContainsRune("/?#+", c) }
	if name == "" || len(name) > MaxStreamName || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		return fault.Newf("hub.RequestStream", fault.Invalid, "%.40q cannot be the name of a stream", name).
			Advise("a name has 1 to %d bytes and no control characters, nor / ? # +", MaxStreamName)
	}
	return nil
}

// AnswerStream says whether the device opens the stream it was asked for.
func (s *Session) AnswerStream(id string, accepted bool) {
	status := streamRejected
	if accepted {
		status = streamAccepted
	}
	s.AnswerMethod(id, status, nil)
}

// StreamsByKey tells whether the holder of a policy's key may ask the hub's devices for streams, or only who has a grant.
func (h *Hub) StreamsByKey() bool { return h.plan.Load().DeviceStreams == resource.StreamsByKey }

// AuthorizeStream checks the SAS token of who asks a device for a stream: that of a policy which has ServiceConnect, or one made with the
// connection string of a grant. It returns the name in the token, which streamkey.Grant tells apart, and when the token ends. Whether the
// grant, or a key, is enough for the device is not decided here. Faults are those of Authorize.
func (h *Hub) AuthorizeStream(token string) (by string, expires time.Time, err error) {
	t, err := sas.Parse(token)
	if err != nil {
		return "", time.Time{}, err
	}
	grant, ok := streamkey.Grant(t.Policy)
	if !ok {
		return h.Authorize(token, ServiceConnect)
	}
	op := "hub.AuthorizeStream"
	if key := h.plan.Load().LinkKey; len(key) == 0 || !t.SignedBy(streamkey.Key(key, grant)) {
		return "", time.Time{}, fault.Newf(op, fault.Unauthenticated, "the token is not signed with the key of grant %q", shorten(grant)).
			Advise("copy the grant's connection string again; it is good at one hub")
	}
	if !t.Covers(h.HostNames(), "") {
		return "", time.Time{}, fault.Newf(op, fault.Denied, "the token is for another resource than %s", h.HostName()).Advise("sign sr=%s", h.HostName())
	}
	return t.Policy, t.Expires, h.fresh(t)
}
