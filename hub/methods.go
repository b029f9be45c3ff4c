package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/limit"
)

// Bounds of direct methods (IoT Hub: quotas; direct methods, method life cycle).
const (
	MaxMethodPayload   = 128 << 10 // of a request, and of an answer
	MaxMethodName      = 128       // bytes
	MinResponseTimeout = 5 * time.Second
	MaxMethodTimeout   = 300 * time.Second

	defaultResponseTimeout = 30 * time.Second
)

// MethodCall is a direct method which a device is asked to run.
type MethodCall struct {
	ID      string // short lower-case hex; the answer names it
	Name    string
	Payload json.RawMessage // nil when none was given
}

// MethodRequest is a direct method that somebody wants a device to run.
type MethodRequest struct {
	Name     string
	Payload  json.RawMessage // nil for none
	Response time.Duration   // how long the device may take, MinResponseTimeout to MaxMethodTimeout; 0 is 30 s
	Connect  time.Duration   // how long to wait for a device that does not listen, up to MaxMethodTimeout; 0 is not at all
}

// MethodResponse is what a device answered.
type MethodResponse struct {
	Status  int
	Payload json.RawMessage // nil for none; an answer that is not JSON is here as a JSON string
}

// Check tells what InvokeMethod would say of a request for any device: Invalid or TooLarge.
func (r MethodRequest) Check() error { return r.check("hub.MethodRequest") }

func (r *MethodRequest) check(op string) error {
	bad := func(c rune) bool { return unicode.IsControl(c) || strings.ContainsRune("/?#+", c) }
	// The name is a segment of an MQTT topic.
	if r.Name == "" || len(r.Name) > MaxMethodName || !utf8.ValidString(r.Name) || strings.ContainsFunc(r.Name, bad) {
		return fault.Newf(op, fault.Invalid, "%.40q cannot be the name of a method", r.Name).
			Advise("a name has 1 to %d bytes and no control characters, nor / ? # +", MaxMethodName)
	}
	if r.Response == 0 {
		r.Response = defaultResponseTimeout
	}
	if r.Response < MinResponseTimeout || r.Response > MaxMethodTimeout {
		return fault.Newf(op, fault.Invalid, "the response timeout is %g s", r.Response.Seconds()).
			Advise("it is %g to %g s", MinResponseTimeout.Seconds(), MaxMethodTimeout.Seconds())
	}
	if r.Connect < 0 || r.Connect > MaxMethodTimeout {
		return fault.Newf(op, fault.Invalid, "the connect timeout is %g s", r.Connect.Seconds()).Advise("it is 0 to %g s", MaxMethodTimeout.Seconds())
	}
	if len(r.Payload) > MaxMethodPayload {
		return code.With(fault.Newf(op, fault.TooLarge, "the payload has %d bytes, %d are allowed", len(r.Payload), MaxMethodPayload), code.MessageTooLarge)
	}
	if r.Payload != nil && !json.Valid(r.Payload) {
		return fault.New(op, fault.Invalid, "the payload is not JSON")
	}
	return nil
}

// InvokeMethod asks a device or a module to run a method and waits for its answer, or until ctx ends.
//
// NotFound with code.DeviceNotOnline when it does not listen to methods, for as long as r.Connect says; Timeout with
// code.DeviceDidNotAnswer; Unavailable with code.ConnectionClosed when its session ends before it answers; Exhausted with code.Throttled
// when too many calls wait; NotFound, Invalid, TooLarge. Whether a device that did not answer ran the method is not known.
func (h *Hub) InvokeMethod(ctx context.Context, n Name, r MethodRequest) (MethodResponse, error) {
	answer, err := h.invoke(ctx, n, r)
	outcome := "answered"
	if err != nil {
		outcome = code.Of(err).Name
	}
	h.server.metrics.deliveries.calls.WithLabelValues(outcome).Inc()
	return answer, err
}

func (h *Hub) invoke(ctx context.Context, n Name, r MethodRequest) (MethodResponse, error) {
	op := "hub.InvokeMethod"
	if err := r.check(op); err != nil {
		return MethodResponse{}, err
	}
	if _, err := h.Admit(limit.Methods, n, 1); err != nil {
		return MethodResponse{}, err
	}
	return h.question(ctx, op, n, question{
		topic: Methods, what: "methods", size: len(r.Payload), connect: r.Connect, response: r.Response,
		put: func(to Receiver, id string) { to.MethodCalled(MethodCall{id, r.Name, r.Payload}) },
	})
}

// question is something a device is asked and answers.
type question struct {
	topic    Topic // that it has to listen to
	what     string
	size     int // of what it is given, in bytes
	connect  time.Duration
	response time.Duration
	put      func(to Receiver, id string)
	of       func(*Session) // whom it was put to; may be nil
}

// question asks a device as soon as it listens, and waits for the answer.
func (h *Hub) question(ctx context.Context, op string, n Name, q question) (MethodResponse, error) {
	if err := h.calls.enter(op, n, q.size); err != nil {
		return MethodResponse{}, err
	}
	defer h.calls.leave(n, q.size)
	if answer, asked, err := h.ask(ctx, n, q); asked {
		return answer, err
	}
	if _, err := h.Identity(ctx, n); err != nil {
		return MethodResponse{}, err
	}
	offline := code.With(fault.Newf(op, fault.NotFound, "%s is not connected, or does not listen to %s", n.Words(), q.what).
		Advise("connect it, or give a connect timeout to wait for it"), code.DeviceNotOnline)
	if q.connect == 0 {
		return MethodResponse{}, offline
	}
	over, stop := h.server.clock.After(q.connect)
	defer stop()
	for {
		// First the channel, then another look: who begins to listen in between closes it.
		arrived := h.calls.arrival(n)
		if answer, asked, err := h.ask(ctx, n, q); asked {
			return answer, err
		}
		select {
		case <-arrived:
		case <-over:
			return MethodResponse{}, offline
		case <-ctx.Done():
			return MethodResponse{}, givenUp(op, ctx)
		}
	}
}

func givenUp(op string, ctx context.Context) error {
	return fault.New(op, fault.Timeout, "the caller did not wait for the device's answer").Because(context.Cause(ctx))
}

// ask tells whether somebody listened.
func (h *Hub) ask(ctx context.Context, n Name, q question) (answer MethodResponse, asked bool, err error) {
	s := h.session(n)
	if s == nil {
		return answer, false, nil
	}
	select {
	case <-s.gone: // it was cut and another may come
		return answer, false, nil
	default:
	}
	id, answers := s.expect()
	defer s.forget(id)
	if !s.give(q.topic, func(to Receiver) { q.put(to, id) }) {
		return answer, false, nil
	}
	if q.of != nil {
		q.of(s)
	}
	answer, err = s.await(ctx, answers, q.response)
	return answer, true, err
}

func (s *Session) await(ctx context.Context, answers <-chan methodAnswer, patience time.Duration) (MethodResponse, error) {
	op := "hub.InvokeMethod"
	var err error
	over, stop := s.hub.server.clock.After(patience)
	defer stop()
	select {
	case a := <-answers:
		return a.MethodResponse, a.err
	case <-ctx.Done():
		return MethodResponse{}, givenUp(op, ctx)
	case <-over:
		err = code.With(fault.Newf(op, fault.Timeout, "%s did not answer within %g s", s.Name().Words(), patience.Seconds()).
			Advise("it may have done what it was asked all the same; give it more time"), code.DeviceDidNotAnswer)
	case <-s.gone:
		err = code.With(fault.Newf(op, fault.Unavailable, "the connection of %s ended before it answered", s.Name().Words()).
			Advise("it may have done what it was asked all the same; call again when it is back"), code.ConnectionClosed)
	}
	select {
	case a := <-answers: // its last word
		return a.MethodResponse, a.err
	default:
		return MethodResponse{}, err
	}
}

// AnswerMethod gives the answer to a method call, whose payload it copies. An answer that nobody waits for, because it comes too late, a
// second time or from somebody who was not asked, is dropped and counted.
func (s *Session) AnswerMethod(id string, status int, payload []byte) {
	s.last.Store(s.hub.server.clock.Now().UnixNano())
	answers, ok := s.claim(id)
	if !ok {
		s.hub.server.metrics.deliveries.stale.Inc()
		return
	}
	if len(payload) > MaxMethodPayload {
		answers <- methodAnswer{err: fault.Newf("hub.AnswerMethod", fault.TooLarge, "%s answered with %d bytes, %d are allowed", s.Name().Words(), len(payload), MaxMethodPayload)}
		return
	}
	answers <- methodAnswer{MethodResponse: MethodResponse{status, answered(payload)}}
}

func answered(payload []byte) json.RawMessage {
	switch {
	case len(bytes.TrimSpace(payload)) == 0:
		return nil
	case json.Valid(payload):
		return bytes.Clone(payload)
	}
	text, _ := json.Marshal(string(payload)) // a string always can be
	return text
}
