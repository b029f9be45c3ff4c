package amqpevent_test

import (
	"math"
	"testing"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

var nan = math.NaN()

// FuzzEvents stores what the door takes, and what it would not, and reads both.
func FuzzEvents(f *testing.F) {
	f.Add(uint32(0), encode(f, event("{}", amqp.Pair{Key: amqp.Symbol("x-opt-offset"), Value: "7"}, amqp.Pair{Key: amqp.Symbol("k"), Value: int64(1)})))
	f.Add(amqpevent.BatchFormat, batch(f, amqp.Map{{Key: amqp.Symbol("x-opt-partition-key"), Value: "k"}}, encode(f, event("a")), encode(f, event("b"))))
	f.Add(uint32(0), encode(f, &amqp.Message{HasValue: true, Value: amqp.Map{{Key: "k", Value: amqp.Array{Items: []any{int32(1), int32(2)}}}}}))
	f.Add(uint32(0), []byte("\x00\x53\x72\xd1\x00\x00\x00\x04\x00\x00\x00\x00\x00\x53\x75\xa0\x01x"))
	f.Add(uint32(0), []byte("\x00\x53\x77\xf0\x00\x00\x00\x08\x00\x00\x00\x02\xa1\x01a\x00"))
	f.Fuzz(func(t *testing.T, format uint32, payload []byte) {
		if format != 0 {
			format = amqpevent.BatchFormat
		}
		var b amqpevent.Batch
		err := b.Read(format, payload)
		var r amqpevent.Renderer
		for _, ev := range append(b.Events, eventlog.Event{Format: amqpevent.Encoded, Body: payload}, eventlog.Event{Body: payload}) {
			amqpevent.Read(ev)
			out := joined(r.Message(view(ev), &amqpevent.Runtime{}))
			s, scanned := amqp.Scan(out)
			if scanned != nil {
				t.Fatalf("%x becomes %x: %v", ev.Body, out, scanned)
			}
			if len(s.MessageAnnotations) == 0 || len(s.DeliveryAnnotations) == 0 {
				t.Fatalf("%x becomes %x, without annotations", ev.Body, out)
			}
		}
		if err != nil {
			return
		}
		for _, ev := range b.Events { // what was taken can be taken again, and loses nothing more
			var again amqpevent.Batch
			if err := again.Read(amqpevent.SingleFormat, ev.Body); err != nil || string(again.Events[0].Body) != string(ev.Body) {
				t.Fatalf("%x was taken, and then: %v", ev.Body, err)
			}
			out := joined(r.Message(view(ev), nil))
			if err := again.Read(amqpevent.SingleFormat, out); err != nil {
				t.Fatalf("%x becomes %x: %v", ev.Body, out, err)
			}
		}
	})
}

func TestRenderingAllocatesNothing(t *testing.T) {
	var r amqpevent.Renderer
	v := view(eventlog.Event{Format: amqpevent.Encoded, Body: encode(t, event("body", amqp.Pair{Key: amqp.Symbol("k"), Value: "v"}))})
	if n := testing.AllocsPerRun(100, func() { r.Message(v, nil) }); n != 0 {
		t.Errorf("an encoded event costs %v allocations", n)
	}
	r.Devices = true
	stored(t, deviceEventASCII(), func(v *eventlog.View) {
		if n := testing.AllocsPerRun(100, func() { r.Message(v, nil) }); n != 0 {
			t.Errorf("a device's event costs %v allocations", n)
		}
	})
}

func deviceEventASCII() eventlog.Event {
	ev := deviceEvent()
	delete(ev.Properties, "bad")
	delete(ev.System, "absolute-expiry-time")
	return ev
}

func BenchmarkSplit(b *testing.B) {
	events := make([][]byte, 100)
	for i := range events {
		events[i] = encode(b, event(string(make([]byte, 256))))
	}
	payload := batch(b, nil, events...)
	var into amqpevent.Batch
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if err := into.Read(amqpevent.BatchFormat, payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	var r amqpevent.Renderer
	v := view(eventlog.Event{Format: amqpevent.Encoded, Body: encode(b, event(string(make([]byte, 256))))})
	b.ReportAllocs()
	for b.Loop() {
		r.Message(v, nil)
	}
}
