package amqpdoor_test

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

const batch = 0x80013700

func TestTelemetryArrivesWithPropertiesAndStamps(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	id := "Sensor+1#'(:"
	c, d := w.device(id)
	s := c.sends("/devices/" + id + "/messages/events")
	uuid := amqp.UUID{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	large := bytes.Repeat([]byte{0, 255, '"', '\n'}, 60_000)
	stamps := map[string]string{
		"iothub-connection-device-id": id, "iothub-connection-auth-generation-id": d.Generation, "iothub-message-source": "Telemetry",
		"iothub-connection-auth-method": `{"scope":"device","type":"sas","issuer":"iothub"}`,
	}
	with := func(more map[string]string) map[string]string {
		out := maps.Clone(stamps)
		maps.Copy(out, more)
		return out
	}
	annotate := func(pairs ...string) amqp.Map {
		var m amqp.Map
		for i := 0; i < len(pairs); i += 2 {
			m = append(m, amqp.Pair{Key: amqp.Symbol(pairs[i]), Value: pairs[i+1]})
		}
		return m
	}
	same := amqp.Message{ApplicationProperties: amqp.Map{{Key: "same", Value: "1"}}, Data: [][]byte{[]byte("three")}}
	cases := []struct {
		name       string
		message    amqp.Message
		body       string
		properties map[string]string
		system     map[string]string
	}{
		{"everything", amqp.Message{
			Properties: &amqp.Properties{
				MessageID: uuid, CorrelationID: "C", UserID: []byte("u"), To: "/devices/x", ContentType: "application/json", ContentEncoding: "utf-8",
				AbsoluteExpiryTime: amqp.Some(amqp.Timestamp(1_700_000_000_000)),
			},
			MessageAnnotations: annotate("dt-subject", "thermostat", "iothub-interface-id", "dtmi:a;1", "unknown", "x", "iothub-connection-device-id", "forged"),
			ApplicationProperties: amqp.Map{
				{Key: "k ey", Value: "v&é"}, {Key: "n", Value: int32(-7)}, {Key: "t", Value: true}, {Key: "f", Value: 0.5}, {Key: "u", Value: uuid},
				{Key: "b", Value: []byte("abc")}, {Key: "at", Value: amqp.Timestamp(0)}, {Key: "s", Value: amqp.Symbol("sym")}, {Key: "empty", Value: ""},
				{Key: "iothub-ack", Value: "full"},
			},
			Data: [][]byte{[]byte("on"), []byte("e")},
		}, "one", map[string]string{
			"k ey": "v&é", "n": "-7", "t": "true", "f": "0.5", "u": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "b": "YWJj", "at": "1970-01-01T00:00:00.000Z", "s": "sym",
			"empty": "", "iothub-ack": "full",
		}, with(map[string]string{
			"message-id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "correlation-id": "C", "user-id": "u", "to": "/devices/x", "content-type": "application/json",
			"content-encoding": "utf-8", "absolute-expiry-time": "2023-11-14T22:13:20.000Z", "dt-subject": "thermostat", "iothub-interface-id": "dtmi:a;1",
		})},
		{"nothing", amqp.Message{Data: [][]byte{{}}}, "", nil, stamps},
		{"same", same, "three", map[string]string{"same": "1"}, stamps},
		{"same again", same, "three", map[string]string{"same": "1"}, stamps},
		{"large", amqp.Message{Data: [][]byte{large}}, string(large), nil, stamps},
		{"text", amqp.Message{HasValue: true, Value: "text"}, "text", nil, stamps},
		{"bytes", amqp.Message{HasValue: true, Value: []byte("bytes")}, "bytes", nil, stamps},
	}
	for _, x := range cases {
		c.must(s.SendAccepted(c.ctx, encode(t, x.message), 0))
	}
	for i, e := range w.Events(hubtest.Contoso, len(cases)) {
		x := cases[i]
		if string(e.Body) != x.body || !sameMap(e.Properties, x.properties) || !reflect.DeepEqual(e.System, x.system) {
			t.Errorf("%s: %.60q %v %v\nwant %.60q %v %v", x.name, e.Body, e.Properties, e.System, x.body, x.properties, x.system)
		}
	}
}

func sameMap(a, b map[string]string) bool { return len(a) == 0 && len(b) == 0 || maps.Equal(a, b) }

// batchOf is messages in the data sections of one.
func batchOf(t testing.TB, messages ...amqp.Message) []byte {
	t.Helper()
	var m amqp.Message
	for _, one := range messages {
		m.Data = append(m.Data, encode(t, one))
	}
	return encode(t, m)
}

func TestBatchesAreTakenApart(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	s := c.sends("/devices/d/messages/events")
	var list []amqp.Message
	for i := range 300 {
		list = append(list, amqp.Message{
			Properties: &amqp.Properties{MessageID: fmt.Sprint("m", i)}, ApplicationProperties: amqp.Map{{Key: "i", Value: int32(i)}}, Data: [][]byte{fmt.Append(nil, i)},
		})
	}
	c.must(s.SendAccepted(c.ctx, batchOf(t, list...), batch))
	c.must(s.SendAccepted(c.ctx, text(t, "last"), 0))
	c.must(s.SendAccepted(c.ctx, encode(t, amqp.Message{}), batch)) // with nothing in it
	for i, e := range w.Events(hubtest.Contoso, 301) {
		n := fmt.Sprint(i)
		if i == 300 {
			n = "last"
		} else if e.Properties["i"] != n || e.System["message-id"] != "m"+n {
			t.Fatalf("event %d: %v %v", i, e.Properties, e.System)
		}
		if string(e.Body) != n {
			t.Fatalf("event %d: %s", i, e.Body)
		}
	}
	if n := w.Hub(hubtest.Contoso).Stats().Messages; n != 301 {
		t.Errorf("%d messages are counted", n)
	}
	// A batch is taken as a whole or not at all.
	bad := amqp.Message{Data: [][]byte{text(t, "good"), []byte("garbage")}}
	if err := s.SendAccepted(c.ctx, encode(t, bad), batch); condition(err) != "com.microsoft:argument-error" {
		t.Errorf("half a batch: %v", err)
	}
	half := strings.Repeat("x", hub.MaxMessage/2)
	err := s.SendAccepted(c.ctx, batchOf(t, amqp.Message{Data: [][]byte{[]byte(half)}}, amqp.Message{Data: [][]byte{[]byte(half + "x")}}), batch)
	if condition(err) != amqp.ConditionMessageSizeExceeded {
		t.Errorf("a batch that is too large: %v", err)
	}
	if n := w.Hub(hubtest.Contoso).Stats().Messages; n != 301 {
		t.Errorf("%d messages after two that were rejected", n)
	}
}

func TestMessagesThatAreRejected(t *testing.T) {
	w := start(t, hubtest.Options{}, amqpdoor.Config{})
	c, _ := w.device("d")
	s := c.sends("/devices/d/messages/events")
	for _, x := range []struct {
		name      string
		message   []byte
		format    uint32
		condition amqp.Symbol
		words     string
	}{
		{"garbage", []byte("garbage"), 0, "com.microsoft:argument-error", "cannot be read"},
		{"sections out of order", append(text(t, "x"), encode(t, amqp.Message{Properties: &amqp.Properties{To: "x"}})...), 0, "com.microsoft:argument-error", ""},
		{"a list", encode(t, amqp.Message{Sequence: []amqp.List{{int32(1)}}}), 0, "com.microsoft:argument-error", "neither data nor text"},
		{"a map", encode(t, amqp.Message{HasValue: true, Value: amqp.Map{}}), 0, "com.microsoft:argument-error", "neither data nor text"},
		{"a format nobody knows", text(t, "x"), 7, "amqp:not-allowed", "format 0x7"},
		{"a batch that is none", encode(t, amqp.Message{HasValue: true, Value: "x"}), batch, "com.microsoft:argument-error", "cannot be read"},
		{"too large", text(t, strings.Repeat("x", hub.MaxMessage+1)), 0, amqp.ConditionMessageSizeExceeded, "262145 bytes"},
		{"too large with its properties", encode(t, amqp.Message{
			ApplicationProperties: amqp.Map{{Key: "k", Value: "v"}}, Data: [][]byte{bytes.Repeat([]byte("x"), hub.MaxMessage-1)},
		}), 0, amqp.ConditionMessageSizeExceeded, "262145 bytes"},
	} {
		err := s.SendAccepted(c.ctx, x.message, x.format)
		if condition(err) != x.condition || !strings.Contains(err.Error(), x.words) || !strings.Contains(err.Error(), "Tracking ID: ") {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	c.must(s.SendAccepted(c.ctx, text(t, strings.Repeat("x", hub.MaxMessage)), 0)) // the link is still there
}

// heldLog is an event log that answers when a test says so.
type heldLog struct {
	hub.EventLog
	mu      sync.Mutex // guards the field below
	waiting []func(eventlog.Position, error)
	arrived chan string // bodies
}

func newHeldLog() *heldLog { return &heldLog{arrived: make(chan string, 10_000)} }

func (l *heldLog) AppendAsync(_, _ string, e eventlog.Event, done func(eventlog.Position, error)) {
	l.mu.Lock()
	l.waiting = append(l.waiting, done)
	l.mu.Unlock()
	l.arrived <- string(e.Body)
}

// answer answers the i-th append that waits.
func (l *heldLog) answer(i int, err error) {
	l.mu.Lock()
	done := l.waiting[i]
	l.waiting = append(l.waiting[:i:i], l.waiting[i+1:]...)
	l.mu.Unlock()
	done(eventlog.Position{}, err)
}

func TestMessagesAreAcceptedWhenTheLogSaysSo(t *testing.T) {
	log := newHeldLog()
	w := start(t, hubtest.Options{Log: log}, amqpdoor.Config{})
	c, _ := w.device("d")
	s := c.sends("/devices/d/messages/events")
	outcomes := make([]chan amqp.State, 5)
	send := func(i int, message []byte, format uint32) {
		outcomes[i] = make(chan amqp.State, 1)
		c.must(s.Start(c.ctx, message, format, func(s amqp.State) { outcomes[i] <- s }))
	}
	send(0, text(t, "0"), 0)
	send(1, batchOf(t, amqp.Message{Data: [][]byte{[]byte("1a")}}, amqp.Message{Data: [][]byte{[]byte("1b")}}), batch)
	send(2, text(t, "2"), 0)
	send(3, text(t, "3"), 0)
	send(4, batchOf(t, amqp.Message{Data: [][]byte{[]byte("4a")}}, amqp.Message{Data: [][]byte{[]byte("4b")}}), batch)
	for _, want := range []string{"0", "1a", "1b", "2", "3", "4a", "4b"} {
		if got := <-log.arrived; got != want {
			t.Fatalf("the log got %s, not %s", got, want)
		}
	}
	wants := func(i int, want amqp.State) {
		t.Helper()
		got := <-outcomes[i]
		if r, ok := got.(amqp.Rejected); ok {
			got = amqp.Rejected{Error: &amqp.Error{Condition: r.Error.Condition}}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("message %d: %+v, not %+v", i, got, want)
		}
	}
	rejected := func(c amqp.Symbol) amqp.State { return amqp.Rejected{Error: &amqp.Error{Condition: c}} }
	log.answer(3, nil) // each has its own outcome
	wants(2, amqp.Accepted{})
	log.answer(1, nil) // 1a
	log.answer(0, nil)
	wants(0, amqp.Accepted{})
	if len(outcomes[1]) != 0 {
		t.Error("half a batch was accepted")
	}
	log.answer(0, nil) // 1b
	wants(1, amqp.Accepted{})
	log.answer(0, fault.New("test", fault.Exhausted, "the disk is full").Advise("make room"))
	wants(3, rejected("com.microsoft:timeout"))
	log.answer(0, nil)
	log.answer(0, code.With(fault.New("test", fault.Exhausted, "no more today"), code.QuotaExceeded))
	wants(4, rejected(amqp.ConditionResourceLimitExceeded))
	eventually(t, "people are told", func() bool { return len(w.Server.Refusals()) == 2 })
	if r := w.Server.Refusals()[1]; r.Why != "the disk is full" || r.Who != "d" || r.Next != "make room" {
		t.Errorf("people are told %+v", r)
	}
}

// TestOneDeviceDoesNotHoldUpOthers: a device over its allowance waits, and the others of its connection do not.
func TestOneDeviceDoesNotHoldUpOthers(t *testing.T) {
	clk := newMovedClock()
	w := start(t, hubtest.Options{Clock: clk}, amqpdoor.Config{MaxHeld: 8000, Patience: 5 * time.Second})
	_, err := w.Hub(hubtest.Contoso).SetLimits(t.Context(), []byte(`{"device":{"messages":{"perSecond":1,"burst":3}},"hub":{"messages":{"perSecond":100}}}`), "test")
	w.must(err)
	c := w.dial()
	c.claims("", w.ServiceToken(hubtest.Contoso, hub.PolicyDevice))
	for _, id := range []string{"fast", "calm"} {
		w.Device(hubtest.Contoso, id)
	}
	fast, calm := c.sends("/devices/fast/messages/events"), c.sends("/devices/calm/messages/events")
	outcomes := make(chan error, 100)
	send := func(body string) {
		c.must(fast.Start(c.ctx, text(t, body), 0, func(s amqp.State) {
			switch s := s.(type) {
			case amqp.Accepted:
				outcomes <- nil
			case amqp.Rejected:
				outcomes <- s.Error
			default:
				outcomes <- fmt.Errorf("%v", s)
			}
		}))
	}
	for i := range 6 {
		send(fmt.Sprint(i))
	}
	for range 3 {
		c.must(<-outcomes)
	}
	c.must(calm.SendAccepted(c.ctx, text(t, "calm"), 0))
	if len(outcomes) != 0 {
		t.Error("more was accepted than is allowed")
	}
	send(strings.Repeat("x", 8000)) // more than may wait
	if err := <-outcomes; condition(err) != "com.microsoft:device-container-throttled" {
		t.Errorf("what cannot wait: %v", err)
	}
	for range 3 {
		c.must(clk.await(t, outcomes))
	}
	for i := range 12 { // the last of them would wait for too long
		send(fmt.Sprint("again", i))
	}
	accepted := 0
	for range 12 {
		if err := clk.await(t, outcomes); err == nil {
			accepted++
		} else if condition(err) != "com.microsoft:device-container-throttled" {
			t.Errorf("what waits too long: %v", err)
		}
	}
	if accepted < 3 || accepted > 8 {
		t.Errorf("%d messages were sent within the patience of 5 s", accepted)
	}
	want := []string{"0", "1", "2", "3", "4", "5"}
	for i := range accepted {
		want = append(want, fmt.Sprint("again", i))
	}
	var got []string
	for _, e := range w.Events(hubtest.Contoso, 7+accepted) {
		if e.System["iothub-connection-device-id"] == "fast" {
			got = append(got, string(e.Body))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the order is %v", got)
	}
}
