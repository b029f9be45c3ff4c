package amqpevent_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

var at = time.Date(2026, 11, 22, 10, 0, 0, 123e6, time.UTC)

func encode(t testing.TB, m *amqp.Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// event is a message with some of everything.
func event(body string, annotations ...amqp.Pair) *amqp.Message {
	return &amqp.Message{
		Header:                &amqp.Header{Durable: true},
		MessageAnnotations:    annotations,
		Properties:            &amqp.Properties{MessageID: "m-" + body, ContentType: "application/json", UserID: []byte("u")},
		ApplicationProperties: amqp.Map{{Key: "n", Value: int32(7)}, {Key: "s", Value: "text"}},
		Data:                  [][]byte{[]byte(body)},
		Footer:                amqp.Map{{Key: amqp.Symbol("f"), Value: true}},
	}
}

func batch(t testing.TB, envelope amqp.Map, events ...[]byte) []byte {
	return encode(t, &amqp.Message{MessageAnnotations: envelope, Data: events})
}

func joined(parts [][]byte) []byte { return bytes.Join(parts, nil) }

func view(ev eventlog.Event) *eventlog.View {
	return &eventlog.View{Sequence: 41, Offset: 4711, Enqueued: at, Format: ev.Format, Key: []byte("pk1"), Body: ev.Body}
}

func TestWhatASenderEncodedComesBack(t *testing.T) {
	own := amqp.Map{{Key: amqp.Symbol("x-own"), Value: amqp.List{int64(1), "two"}}}
	for name, m := range map[string]*amqp.Message{
		"data":              event("{}"),
		"own annotation":    event("{}", own...),
		"value":             {HasValue: true, Value: amqp.Map{{Key: "k", Value: amqp.UUID{1}}}},
		"null value":        {HasValue: true},
		"sequence":          {Sequence: []amqp.List{{int8(1), amqp.Symbol("a")}, {}}},
		"several data":      {Data: [][]byte{{1}, {}, {2, 3}}},
		"no body":           {Properties: &amqp.Properties{Subject: "s"}},
		"types":             {Data: [][]byte{{}}, ApplicationProperties: amqp.Map{{Key: "a", Value: uint64(1) << 63}, {Key: "b", Value: amqp.Decimal128{9}}, {Key: "c", Value: 1.5}, {Key: "d", Value: amqp.Char('x')}}},
		"ours are replaced": event("{}", amqp.Pair{Key: amqp.Symbol("x-opt-offset"), Value: "1"}, own[0], amqp.Pair{Key: amqp.Symbol("x-opt-partition-key"), Value: "pk1"}),
		"delivery notes":    {DeliveryAnnotations: amqp.Map{{Key: amqp.Symbol("d"), Value: "x"}}, Data: [][]byte{{1}}},
	} {
		t.Run(name, func(t *testing.T) {
			sent := encode(t, m)
			for format, payload := range map[uint32][]byte{amqpevent.SingleFormat: sent, amqpevent.BatchFormat: batch(t, nil, sent)} {
				var b amqpevent.Batch
				if err := b.Read(format, payload); err != nil {
					t.Fatal(err)
				}
				if len(b.Events) != 1 || b.Events[0].Format != amqpevent.Encoded {
					t.Fatalf("%+v", b.Events)
				}
				var r amqpevent.Renderer
				got, err := amqp.Unmarshal(joined(r.Message(view(b.Events[0]), nil)))
				if err != nil {
					t.Fatal(err)
				}
				var annotations amqp.Map
				for _, p := range got.MessageAnnotations {
					if s, _ := p.Key.(amqp.Symbol); !strings.HasPrefix(string(s), "x-opt-") {
						annotations = append(annotations, p)
					}
				}
				want := amqp.Map{
					{Key: amqp.Symbol("x-opt-sequence-number"), Value: int64(41)}, {Key: amqp.Symbol("x-opt-offset"), Value: "4711"},
					{Key: amqp.Symbol("x-opt-enqueued-time"), Value: amqp.Timestamp(at.UnixMilli())}, {Key: amqp.Symbol("x-opt-partition-key"), Value: "pk1"},
				}
				for _, p := range want {
					if v := got.MessageAnnotations.Get(p.Key); v != p.Value {
						t.Errorf("%v = %v (%T), want %v", p.Key, v, v, p.Value)
					}
				}
				if len(got.MessageAnnotations) != len(annotations)+len(want) {
					t.Errorf("annotations %v", got.MessageAnnotations)
				}
				expected, _ := amqp.Unmarshal(sent)
				var kept amqp.Map
				for _, p := range expected.MessageAnnotations {
					if p.Key == amqp.Symbol("x-own") {
						kept = append(kept, p)
					}
				}
				expected.MessageAnnotations, got.MessageAnnotations, expected.DeliveryAnnotations = kept, annotations, nil
				if !reflect.DeepEqual(got, expected) {
					t.Errorf("got %+v\nwant %+v", got, expected)
				}
			}
		})
	}
}

// Not only equal when decoded: what surrounds the annotations is the sender's, byte by byte, in whichever of the forms it chose.
func TestNoOtherByteIsTouched(t *testing.T) {
	header := []byte{0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x70, 0xd0, 0, 0, 0, 5, 0, 0, 0, 1, 0x41} // ulong descriptor, list32
	rest := []byte{0x00, 0x53, 0x74, 0xd1, 0, 0, 0, 10, 0, 0, 0, 2, 0xa1, 1, 'k', 0xa1, 1, 'v', 0x00, 0x53, 0x75, 0xb0, 0, 0, 0, 2, 9, 9}
	own := []byte{0xa3, 1, 'k', 0x54, 5}
	annotations := append([]byte{0x00, 0x53, 0x72, 0xc1, byte(1 + len(own)), 2}, own...)
	sent := bytes.Join([][]byte{header, annotations, rest}, nil)
	var b amqpevent.Batch
	if err := b.Read(amqpevent.SingleFormat, sent); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Events[0].Body, sent) {
		t.Error("what is stored is not what was sent")
	}
	var r amqpevent.Renderer
	got := joined(r.Message(view(b.Events[0]), nil))
	if !bytes.HasPrefix(got, header) || !bytes.HasSuffix(got, append(own, rest...)) {
		t.Errorf("got %x", got)
	}
}

func TestBatches(t *testing.T) {
	stamp := func(id int64, epoch int16, sequence int32) []amqp.Pair {
		return []amqp.Pair{
			{Key: amqp.Symbol("com.microsoft:producer-id"), Value: id}, {Key: amqp.Symbol("com.microsoft:producer-epoch"), Value: epoch},
			{Key: amqp.Symbol("com.microsoft:producer-sequence-number"), Value: sequence},
		}
	}
	key := amqp.Pair{Key: amqp.Symbol("x-opt-partition-key"), Value: "pk1"}
	one := encode(t, event("a"))
	many := make([][]byte, 500)
	for i := range many {
		many[i] = encode(t, event(string(rune('a'+i%26)), key))
	}
	tooMany := make([][]byte, eventlog.MaxBatchEvents+1)
	for i := range tooMany {
		tooMany[i] = []byte{0x00, 0x53, 0x75, 0xa0, 0}
	}
	for _, c := range []struct {
		name     string
		format   uint32
		payload  []byte
		events   int
		key      string
		producer eventlog.Producer
		kind     fault.Kind
		cause    error
	}{
		{name: "one", format: amqpevent.BatchFormat, payload: batch(t, nil, one), events: 1},
		{name: "five hundred", format: amqpevent.BatchFormat, payload: batch(t, nil, many...), events: 500, key: "pk1"},
		{name: "the envelope's key", format: amqpevent.BatchFormat, payload: batch(t, amqp.Map{key}, one, one), events: 2, key: "pk1"},
		{name: "a single's key", payload: many[0], events: 1, key: "pk1"},
		{name: "numbered", format: amqpevent.BatchFormat, events: 2, producer: eventlog.Producer{ID: 5, Epoch: 2, Sequence: 1<<31 - 1},
			payload: batch(t, stamp(5, 2, 1<<31-1), encode(t, event("a", stamp(5, 2, 1<<31-1)...)), encode(t, event("b", stamp(5, 2, 0)...)))},
		{name: "numbered with a gap", format: amqpevent.BatchFormat, kind: fault.Conflict, cause: eventlog.ErrOutOfOrder,
			payload: batch(t, nil, encode(t, event("a", stamp(5, 2, 7)...)), encode(t, event("b", stamp(5, 2, 9)...)))},
		{name: "numbered by two", format: amqpevent.BatchFormat, kind: fault.Conflict, cause: eventlog.ErrOutOfOrder,
			payload: batch(t, nil, encode(t, event("a", stamp(5, 2, 7)...)), encode(t, event("b", stamp(6, 2, 8)...)))},
		{name: "half numbered", format: amqpevent.BatchFormat, kind: fault.Conflict, cause: eventlog.ErrOutOfOrder,
			payload: batch(t, nil, encode(t, event("a", stamp(5, 2, 7)...)), one)},
		{name: "no batch", format: amqpevent.BatchFormat, payload: encode(t, &amqp.Message{HasValue: true, Value: "x"}), kind: fault.Invalid},
		{name: "an empty one", format: amqpevent.BatchFormat, payload: batch(t, nil), kind: fault.Invalid},
		{name: "no message in it", format: amqpevent.BatchFormat, payload: batch(t, nil, []byte("hello")), kind: fault.Invalid},
		{name: "too many", format: amqpevent.BatchFormat, payload: batch(t, nil, tooMany...), kind: fault.TooLarge},
		{name: "a strange format", format: 7, payload: one, kind: fault.Invalid},
		{name: "a long key", payload: encode(t, event("a", amqp.Pair{Key: amqp.Symbol("x-opt-partition-key"), Value: strings.Repeat("k", 129)})), kind: fault.Invalid},
		{name: "a number as key", payload: encode(t, event("a", amqp.Pair{Key: amqp.Symbol("x-opt-partition-key"), Value: int64(1)})), kind: fault.Invalid},
		{name: "an odd number", payload: encode(t, event("a", amqp.Pair{Key: amqp.Symbol("com.microsoft:producer-epoch"), Value: int64(1) << 40})), kind: fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := amqpevent.Batch{Key: "left over", Events: make([]eventlog.Event, 3)}
			err := b.Read(c.format, c.payload)
			if c.events == 0 {
				if err == nil || fault.KindOf(err) != c.kind || c.cause != nil && !errors.Is(err, c.cause) {
					t.Fatalf("error %v, want kind %v", err, c.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(b.Events) != c.events || b.Key != c.key || b.Producer != c.producer {
				t.Errorf("%d events, key %q, producer %+v", len(b.Events), b.Key, b.Producer)
			}
		})
	}
}

// One client must not be able to store what makes the decoder of every consumer fail.
func TestWhatNobodyCouldReadIsRefused(t *testing.T) {
	data := "\x00\x53\x75\xa0\x00"
	for name, message := range map[string]string{
		"message-id of another type": "\x00\x53\x73\xc0\x02\x01\x41" + data,
		"a fourteenth property":      "\x00\x53\x73\xc0\x0f\x0e" + strings.Repeat("\x40", 13) + "\x41" + data,
		"user-id as a string":        "\x00\x53\x73\xc0\x04\x02\x40\xa1\x00" + data,
		"a list as key":              "\x00\x53\x72\xc1\x03\x02\x45\x40" + data,
		"a number as property name":  "\x00\x53\x74\xc1\x03\x02\x44\x40" + data,
		"an odd map":                 "\x00\x53\x74\xc1\x04\x01\xa1\x01k" + data,
		"a map with a tail":          "\x00\x53\x74\xc1\x02\x00\x40" + data,
		"text that is not UTF-8":     "\x00\x53\x74\xc1\x06\x02\xa1\x01\xffk\x40" + data,
		"a value cut short":          "\x00\x53\x77\xd0\x00\x00\x00\x05\x00\x00\x00\x01\xa1",
		"very deep":                  "\x00\x53\x77" + strings.Repeat("\xc0\xf0\x01", 40),
		"a bomb of nothing":          "\x00\x53\x77\xf0\x00\x00\x00\x05\x7f\xff\xff\xff\x40",
		"a bad boolean":              "\x00\x53\x77\x56\x02",
		"a footer's list as key":     data + "\x00\x53\x78\xc1\x03\x02\x45\x40",
		"nothing of AMQP":            "hello",
		"nothing":                    "",
	} {
		var b amqpevent.Batch
		if err := b.Read(amqpevent.SingleFormat, []byte(message)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRuntimeMetric(t *testing.T) {
	var r amqpevent.Renderer
	run := &amqpevent.Runtime{LastSequence: 99, LastOffset: 12345, LastEnqueued: at, Retrieved: at.Add(time.Second)}
	want := amqp.Map{
		{Key: amqp.Symbol("last_enqueued_sequence_number"), Value: int64(99)}, {Key: amqp.Symbol("last_enqueued_offset"), Value: "12345"},
		{Key: amqp.Symbol("last_enqueued_time_utc"), Value: amqp.Timestamp(at.UnixMilli())},
		{Key: amqp.Symbol("runtime_info_retrieval_time_utc"), Value: amqp.Timestamp(at.Add(time.Second).UnixMilli())},
	}
	for _, ev := range []eventlog.Event{{Format: amqpevent.Encoded, Body: encode(t, event("a"))}, {Body: []byte("plain")}} {
		m, err := amqp.Unmarshal(joined(r.Message(view(ev), run)))
		if err != nil || !reflect.DeepEqual(m.DeliveryAnnotations, want) {
			t.Errorf("%v, %+v", err, m)
		}
	}
	if m := amqpevent.Millis(time.Time{}); m != -62135596800000 {
		t.Error(m)
	}
}

// stored puts an event through a log, the only place where plain views come from.
func stored(t testing.TB, ev eventlog.Event, f func(*eventlog.View)) {
	t.Helper()
	l, err := eventlog.Open(eventlog.Config{Dir: t.TempDir(), Reserve: 1, Partitions: 1}, slog.New(slog.DiscardHandler), clock.NewFake(at), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	defer func() {
		cancel()
		<-ran
		_ = l.Close()
	}()
	if _, err := l.Append(ctx, "s", "dev-1", ev); err != nil {
		t.Fatal(err)
	}
	if err := l.Scan(ctx, "s", 0, 0, 1, func(v *eventlog.View) bool { f(v); return true }); err != nil {
		t.Fatal(err)
	}
}

func deviceEvent() eventlog.Event {
	return eventlog.Event{
		Body:       []byte(`{"t":21}`),
		Properties: map[string]string{"colour": "grün", "bad": "\xff"},
		System: map[string]string{
			"message-id": "m1", "correlation-id": "c1", "user-id": "u1", "content-type": "application/json", "content-encoding": "utf-8",
			"absolute-expiry-time": "2026-11-22T11:00:00Z", "iothub-connection-device-id": "dev-1", "iothub-message-source": "Telemetry",
			"dt-subject": "sensor", "iothub-creation-time-utc": "2026-11-22T09:59:59.5Z", "größe": "1", "x-opt-offset": "forged",
		},
	}
}

// Case 26: what IoT Hub says of a device's event stands where its consumers look for it.
func TestCase26DeviceEvents(t *testing.T) {
	r := amqpevent.Renderer{Devices: true}
	stored(t, deviceEvent(), func(v *eventlog.View) {
		m, err := amqp.Unmarshal(joined(r.Message(v, nil)))
		if err != nil {
			t.Fatal(err)
		}
		wantProperties := &amqp.Properties{
			MessageID: "m1", CorrelationID: "c1", UserID: []byte("u1"), ContentType: "application/json", ContentEncoding: "utf-8",
			AbsoluteExpiryTime: amqp.Some(amqp.Timestamp(at.Truncate(time.Hour).Add(time.Hour).UnixMilli())),
		}
		if !reflect.DeepEqual(m.Properties, wantProperties) {
			t.Errorf("properties %+v", m.Properties)
		}
		for name, want := range map[string]any{
			"x-opt-sequence-number": int64(0), "x-opt-offset": "0", "x-opt-enqueued-time": amqp.Timestamp(at.UnixMilli()),
			"iothub-enqueuedtime": amqp.Timestamp(at.UnixMilli()), "iothub-connection-device-id": "dev-1", "iothub-message-source": "Telemetry",
			"dt-subject": "sensor", "iothub-creation-time-utc": "2026-11-22T09:59:59.5Z", "x-opt-partition-key": nil,
		} {
			if got := m.MessageAnnotations.Get(amqp.Symbol(name)); got != want {
				t.Errorf("%s = %v (%T), want %v", name, got, got, want)
			}
		}
		if len(m.MessageAnnotations) != 8 {
			t.Errorf("annotations %v", m.MessageAnnotations)
		}
		if m.ApplicationProperties.Get("colour") != "grün" || m.ApplicationProperties.Get("bad") != "\uFFFD" || m.ApplicationProperties.Get("größe") != "1" || len(m.ApplicationProperties) != 3 {
			t.Errorf("application properties %v", m.ApplicationProperties)
		}
		if len(m.Data) != 1 || string(m.Data[0]) != `{"t":21}` {
			t.Errorf("body %q", m.Data)
		}
		body, properties, system := amqpevent.Plain(v)
		if string(body) != `{"t":21}` || properties["colour"] != "grün" || system["message-id"] != "m1" {
			t.Errorf("plain %q %v %v", body, properties, system)
		}
	})
	r.Devices = false
	stored(t, eventlog.Event{Body: []byte("posted"), System: map[string]string{"absolute-expiry-time": "soon"}}, func(v *eventlog.View) {
		m, err := amqp.Unmarshal(joined(r.Message(v, nil)))
		if err != nil || m.Properties != nil || m.ApplicationProperties != nil || m.MessageAnnotations.Get("x-opt-partition-key") != "dev-1" ||
			m.MessageAnnotations.Get("absolute-expiry-time") != "soon" || m.MessageAnnotations.Get("iothub-enqueuedtime") != nil {
			t.Errorf("%v, %+v", err, m)
		}
	})
}

func TestReadersThatKnowNoAMQP(t *testing.T) {
	id := amqp.UUID{0xaa, 1}
	m := event("{}", amqp.Pair{Key: amqp.Symbol("x-own"), Value: amqp.List{int8(-1), "two", nil, true, 1.5}})
	m.Properties.CorrelationID = id
	m.Properties.CreationTime = amqp.Some(amqp.Timestamp(at.UnixMilli()))
	body, properties, system := amqpevent.Read(eventlog.Event{Format: amqpevent.Encoded, Body: encode(t, m)})
	if string(body) != "{}" || !reflect.DeepEqual(properties, map[string]string{"n": "7", "s": "text"}) {
		t.Errorf("%q %v", body, properties)
	}
	if !reflect.DeepEqual(system, map[string]string{
		"x-own": `[-1,"two",null,true,1.5]`, "message-id": "m-{}", "content-type": "application/json", "user-id": "u",
		"correlation-id": "aa010000-0000-0000-0000-000000000000", "creation-time": "2026-11-22T10:00:00.123Z",
	}) {
		t.Errorf("%v", system)
	}
	for want, m := range map[string]*amqp.Message{
		"text":          {HasValue: true, Value: "text"},
		"bytes":         {HasValue: true, Value: []byte("bytes")},
		"":              {HasValue: true},
		`{"a":[1,2]}`:   {HasValue: true, Value: amqp.Map{{Key: "a", Value: amqp.List{int32(1), uint64(2)}}}},
		`[1,"x","NaN"]`: {Sequence: []amqp.List{{int16(1)}, {amqp.Symbol("x"), nan}}},
		"ab":            {Data: [][]byte{[]byte("a"), []byte("b")}},
	} {
		if body, _, _ := amqpevent.Read(eventlog.Event{Format: amqpevent.Encoded, Body: encode(t, m)}); string(body) != want {
			t.Errorf("body %q, want %q", body, want)
		}
	}
	if body, _, _ := amqpevent.Read(eventlog.Event{Format: amqpevent.Encoded, Body: []byte("junk")}); string(body) != "junk" {
		t.Errorf("junk is %q", body)
	}
}
