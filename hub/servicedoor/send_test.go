package servicedoor_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/servicedoor"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

func to(device string) *amqp.Message {
	return &amqp.Message{Properties: &amqp.Properties{To: "/devices/" + device + "/messages/devicebound"}, Data: [][]byte{[]byte("go")}}
}

func encode(t *testing.T, m *amqp.Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	must(t, err)
	return b
}

func (w *world) rejects(s *amqptest.Sender, message []byte, format uint32, want amqp.Symbol) {
	w.t.Helper()
	err := s.SendAccepted(w.context(), message, format)
	no, ok := errors.AsType[*amqp.Error](err)
	if !ok || no.Condition != want || !strings.Contains(no.Description, "Tracking ID: ") {
		w.t.Errorf("%v, want %s", err, want)
	}
}

func TestMessagesToDevices(t *testing.T) {
	w := start(t, servicedoor.Config{})
	s := w.sender()
	full := to("d%2Fm")
	full.Properties = &amqp.Properties{
		To: "/devices/d/modules/%6D/messages/deviceBound", MessageID: amqp.UUID{0xab, 1}, CorrelationID: "C", UserID: []byte("back end"), ContentType: "application/json",
		ContentEncoding: "utf-8", AbsoluteExpiryTime: amqp.Some(amqp.Timestamp(w.clock.Now().Add(10 * time.Minute).UnixMilli())),
	}
	full.ApplicationProperties = amqp.Map{{Key: "iothub-ack", Value: "full"}, {Key: "count", Value: int32(7)}, {Key: "on", Value: true}}
	full.Data = [][]byte{[]byte("a"), []byte("b")}
	must(t, s.SendAccepted(w.context(), encode(t, full), 0))
	c, err := w.hub.ReceiveCommand(t.Context(), hub.Name{Device: "d", Module: "m"}, 0)
	must(t, err)
	if c == nil || c.MessageID != "ab010000-0000-0000-0000-000000000000" || c.CorrelationID != "C" || c.UserID != "back end" || c.ContentType != "application/json" ||
		c.ContentEncoding != "utf-8" || c.Ack != hub.AckFull || fmt.Sprint(c.Properties) != "map[count:7 on:true]" || string(c.Body) != "ab" ||
		!c.Expires.Equal(w.clock.Now().Add(10*time.Minute).Truncate(time.Millisecond)) {
		t.Errorf("%+v", c)
	}
	value := &amqp.Message{Properties: to("d").Properties, Value: "text", HasValue: true}
	must(t, s.SendAccepted(w.context(), encode(t, value), 0))
	must(t, s.SendAccepted(w.context(), encode(t, &amqp.Message{Properties: to("d").Properties}), 0))

	ack := to("d")
	ack.ApplicationProperties = amqp.Map{{Key: "iothub-ack", Value: "perhaps"}}
	large := to("d")
	large.Data = [][]byte{make([]byte, hub.MaxCommand)}
	elsewhere := to("d")
	elsewhere.Properties.To = "/devices/d/messages/events"
	sequence := &amqp.Message{Properties: to("d").Properties, Sequence: []amqp.List{{int32(1)}}}
	for name, c := range map[string]struct {
		message []byte
		format  uint32
		want    amqp.Symbol
	}{
		"nobody":         {encode(t, to("e")), 0, "amqp:not-found"},
		"no module":      {encode(t, to("d/modules/x")), 0, "amqp:not-found"},
		"no device":      {encode(t, to("")), 0, "com.microsoft:argument-error"},
		"no escape":      {encode(t, to("%zz")), 0, "com.microsoft:argument-error"},
		"no such id":     {encode(t, to("a%20b")), 0, "amqp:not-found"},
		"elsewhere":      {encode(t, elsewhere), 0, "com.microsoft:argument-error"},
		"no properties":  {encode(t, &amqp.Message{Data: [][]byte{nil}}), 0, "com.microsoft:argument-error"},
		"an unknown ack": {encode(t, ack), 0, "com.microsoft:argument-error"},
		"a sequence":     {encode(t, sequence), 0, "com.microsoft:argument-error"},
		"no message":     {[]byte("nothing"), 0, "com.microsoft:argument-error"},
		"a batch":        {encode(t, to("d")), 0x80013700, "com.microsoft:argument-error"},
		"too large":      {encode(t, large), 0, "amqp:link:message-size-exceeded"},
	} {
		before, err := w.hub.Depth(t.Context(), hub.Name{Device: "d"})
		must(t, err)
		w.rejects(s, c.message, c.format, c.want)
		if after, err := w.hub.Depth(t.Context(), hub.Name{Device: "d"}); err != nil || after != before {
			t.Errorf("%s: it is queued all the same", name)
		}
	}
	// In order, though none waits for the one before; the queue takes 50, of which two are there.
	var all sync.WaitGroup
	for i := range 48 {
		m := to("d")
		m.Properties.MessageID = fmt.Sprint(i)
		all.Add(1)
		must(t, s.Start(w.context(), encode(t, m), 0, func(state amqp.State) {
			defer all.Done()
			if _, ok := state.(amqp.Accepted); !ok {
				t.Errorf("message %d: %+v", i, state)
			}
		}))
	}
	all.Wait()
	w.rejects(s, encode(t, to("d")), 0, "amqp:resource-limit-exceeded")
	for i := range 50 {
		c, err := w.hub.ReceiveCommand(t.Context(), hub.Name{Device: "d"}, 0)
		must(t, err)
		want := ""
		if i >= 2 {
			want = fmt.Sprint(i - 2)
		}
		if c == nil || c.MessageID != want {
			t.Fatalf("number %d is %+v", i, c)
		}
	}
}

func TestTooManyMessages(t *testing.T) {
	w := start(t, servicedoor.Config{})
	_, err := w.hub.SetLimits(t.Context(), []byte(`{"device":{"commands":{"perSecond":0.001,"burst":1}}}`), "test")
	must(t, err)
	s := w.sender()
	must(t, s.SendAccepted(w.context(), encode(t, to("d")), 0))
	w.rejects(s, encode(t, to("d")), 0, "com.microsoft:device-container-throttled")
}

// A connection may end with messages on their way.
func TestTheConnectionEndsMeanwhile(t *testing.T) {
	w := start(t, servicedoor.Config{})
	session, c := w.session("contoso.azure-devices.net:5671")
	s, err := session.Sender(w.context(), "amqps://contoso.azure-devices.net:5671/messages/deviceBound/", nil)
	must(t, err)
	for range 30 {
		must(t, s.Start(w.context(), encode(t, to("d")), 0, func(amqp.State) {}))
	}
	c.Abort()
}
