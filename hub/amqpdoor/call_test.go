package amqpdoor_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
)

type outcome struct {
	hub.MethodResponse
	err error
}

// invokes calls a method beside.
func (w *world) invokes(n hub.Name, r hub.MethodRequest) <-chan outcome {
	out := make(chan outcome, 1)
	go func() {
		answer, err := w.Hub(hubtest.Contoso).InvokeMethod(w.t.Context(), n, r)
		out <- outcome{answer, err}
	}()
	return out
}

func answers(id any, status any, body string) amqp.Message {
	m := amqp.Message{Properties: &amqp.Properties{CorrelationID: id}, Data: [][]byte{[]byte(body)}}
	if status != nil {
		m.ApplicationProperties = amqp.Map{{Key: "IoThub-status", Value: status}}
	}
	return m
}

func TestMethods(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	n := hub.Name{Device: "d"}
	if o := <-w.invokes(n, hub.MethodRequest{Name: "m"}); code.Of(o.err) != code.DeviceNotOnline {
		t.Errorf("a device that does not listen: %v", o.err)
	}
	early := w.invokes(n, hub.MethodRequest{Name: "early", Connect: 10 * time.Second})
	s, r := c.pair("/devices/d/methods/devicebound", "methods:1", 10)
	_, m := c.next(r)
	c.must(s.SendAccepted(c.ctx, encode(t, answers(m.Properties.CorrelationID, int32(200), "")), 0))
	if o := <-early; o.err != nil {
		t.Error(o.err)
	}
	var last any
	asUUID := func(u amqp.UUID) any { return u }
	for _, x := range []struct {
		name    string
		payload string
		want    string // what the device gets
		id      func(amqp.UUID) any
		status  any
		body    string
		answer  hub.MethodResponse
	}{
		{"reboot", `{"in":1}`, `{"in":1}`, asUUID, int32(200), `{"out":2}`, hub.MethodResponse{Status: 200, Payload: json.RawMessage(`{"out":2}`)}},
		{"nothing", "", "null", func(u amqp.UUID) any { return amqptext.UUID(u) }, int64(-3), "", hub.MethodResponse{Status: -3}},
		{"text", `"x"`, `"x"`, func(u amqp.UUID) any { return strings.ToUpper(amqptext.UUID(u)) }, uint8(7), "no JSON", hub.MethodResponse{Status: 7, Payload: json.RawMessage(`"no JSON"`)}},
		{"bytes", "1", "1", func(u amqp.UUID) any { return u[:] }, "404", "null", hub.MethodResponse{Status: 404, Payload: json.RawMessage("null")}},
	} {
		request := hub.MethodRequest{Name: x.name}
		if x.payload != "" {
			request.Payload = json.RawMessage(x.payload)
		}
		done := w.invokes(n, request)
		d, m := c.next(r)
		id, isUUID := m.Properties.CorrelationID.(amqp.UUID)
		if m.ApplicationProperties.Get("IoThub-methodname") != x.name || !isUUID || string(m.Data[0]) != x.want || !d.Settled || len(m.Data) != 1 {
			t.Errorf("%s: %+v", x.name, m)
		}
		last = id
		c.must(s.SendAccepted(c.ctx, encode(t, answers(x.id(id), x.status, x.body)), 0))
		if o := <-done; o.err != nil || !reflect.DeepEqual(o.MethodResponse, x.answer) {
			t.Errorf("%s: %+v", x.name, o)
		}
	}
	for _, x := range []struct {
		name   string
		answer amqp.Message
	}{
		{"to nobody's call", answers(amqp.UUID{1}, int32(200), "")}, {"without an id", answers(nil, int32(200), "")}, {"a number as id", answers(uint64(1), int32(200), "")},
		{"without a status", answers(last, nil, "")}, {"a status that is none", answers(last, "ok", "")},
		{"a status too large", answers(last, int64(1)<<40, "")},
	} {
		if err := s.SendAccepted(c.ctx, encode(t, x.answer), 0); condition(err) != "com.microsoft:argument-error" {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	c.must(r.Detach(c.ctx))
	if o := <-w.invokes(n, hub.MethodRequest{Name: "m"}); code.Of(o.err) != code.DeviceNotOnline {
		t.Errorf("a device that listens no more: %v", o.err)
	}
}

// TestTheNewestPairIsCalled: one of several pairs, and another when that is gone.
func TestTheNewestPairIsCalled(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	n := hub.Name{Device: "d"}
	s1, r1 := c.pair("/devices/d/methods/devicebound", "methods:1", 10)
	s2, r2 := c.pair("/devices/d/methods/devicebound", "methods:2", 10)
	call := func(s *amqptest.Sender, r *amqptest.Receiver) {
		t.Helper()
		done := w.invokes(n, hub.MethodRequest{Name: "m"})
		_, m := c.next(r)
		c.must(s.SendAccepted(c.ctx, encode(t, answers(m.Properties.CorrelationID, int32(200), "")), 0))
		if o := <-done; o.err != nil {
			t.Error(o.err)
		}
	}
	call(s2, r2)
	c.must(r2.Detach(c.ctx))
	call(s1, r1)
	// A call that waits for its answer learns that the device is gone.
	done := w.invokes(n, hub.MethodRequest{Name: "m"})
	c.next(r1)
	c.Abort()
	if o := <-done; code.Of(o.err) != code.ConnectionClosed {
		t.Error(o.err)
	}
}

func TestStreams(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	s, r := c.pair("/devices/d/streams", "streams:1", 10)
	for _, x := range []struct {
		url, port string
		answer    any
		accepted  bool
	}{
		{"wss://gateway.example/bridges/x", "443", true, true}, {"wss://gateway.example:8443/bridges/x", "8443", false, false}, {"wss://gateway.example/", "443", "true", true},
	} {
		done := make(chan bool, 1)
		go func() {
			session, err := w.Hub(hubtest.Contoso).RequestStream(t.Context(), hub.Name{Device: "d"}, hub.StreamRequest{Name: "ssh", URL: x.url, Token: "jwt"}, 0, 0)
			if err != nil {
				t.Error(err)
			}
			done <- session != nil
		}()
		_, m := c.next(r)
		if want := (amqp.Map{
			{Key: "IoThub-streaming-name", Value: "ssh"}, {Key: "IoThub-streaming-hostname", Value: "gateway.example"}, {Key: "IoThub-streaming-port", Value: x.port},
			{Key: "IoThub-streaming-url", Value: x.url}, {Key: "IoThub-streaming-auth-token", Value: "jwt"},
		}); !reflect.DeepEqual(m.ApplicationProperties, want) {
			t.Errorf("the device is asked %v", m.ApplicationProperties)
		}
		answer := amqp.Message{
			Properties: &amqp.Properties{CorrelationID: m.Properties.CorrelationID}, ApplicationProperties: amqp.Map{{Key: "IoThub-streaming-is-accepted", Value: x.answer}},
			Data: [][]byte{[]byte(" ")},
		}
		c.must(s.SendAccepted(c.ctx, encode(t, answer), 0))
		if got := <-done; got != x.accepted {
			t.Errorf("%v: %v", x.answer, got)
		}
		answer.ApplicationProperties = nil
		if err := s.SendAccepted(c.ctx, encode(t, answer), 0); condition(err) != "com.microsoft:argument-error" {
			t.Errorf("an answer that says nothing: %v", err)
		}
	}
}
