package amqpevent

import (
	"encoding/binary"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Renderer makes messages of events, one after the other. Its zero value works.
type Renderer struct {
	// Devices tells that events come from devices: they bear iothub-enqueuedtime, and no partition key, which would be the device's id.
	Devices bool
	scratch []byte
	parts   [4][]byte
	fields  plainFields
}

// Rest lets go of everything but a small buffer, for a renderer that is kept for later.
func (r *Renderer) Rest() {
	r.parts, r.fields = [4][]byte{}, plainFields{}
	if cap(r.scratch) > 16<<10 {
		r.scratch = nil
	}
}

// Runtime is what a consumer asked to be told with each event about its partition (Event Hubs: receiver runtime metric).
type Runtime struct {
	LastSequence int64
	LastOffset   int64
	LastEnqueued time.Time
	Retrieved    time.Time
}

// yearOne stands for a time that is not known: 1 January of the year 1, as Azure's service writes it.
const yearOne = -62135596800000

// Millis is a time as AMQP has it; the zero time is that of the year 1.
func Millis(t time.Time) amqp.Timestamp {
	if t.IsZero() {
		return yearOne
	}
	return amqp.Timestamp(t.UnixMilli())
}

// Message returns the message of an event as parts that are to be sent one after the other. They are good until the next call, and as
// long as the view is. runtime may be nil.
func (r *Renderer) Message(v *eventlog.View, runtime *Runtime) [][]byte {
	if v.Format == Encoded {
		if s, err := amqp.Scan(v.Body); err == nil {
			if n, items, ok := stored(&s); ok {
				return r.encoded(v, &s, n, items, runtime)
			}
		}
	}
	return r.plain(v, runtime)
}

// stored finds the annotations that a sender gave.
func stored(s *amqp.Sections) (n int, items []byte, ok bool) {
	if s.MessageAnnotations == nil {
		return 0, nil, true
	}
	n, items, err := itemsOf(s.MessageAnnotations)
	return n, items, err == nil && n%2 == 0 && n < 1<<20
}

func (r *Renderer) encoded(v *eventlog.View, s *amqp.Sections, n int, items []byte, runtime *Runtime) [][]byte {
	b := appendRuntime(r.scratch[:0], runtime)
	b, start := startAnnotations(b)
	b, pairs := r.appendOurs(b, v)
	rest := v.Body[len(s.Header)+len(s.DeliveryAnnotations)+len(s.MessageAnnotations):]
	finishAnnotations(b, start, n/2+pairs, len(items))
	r.scratch = b
	parts := r.parts[:0]
	if len(s.Header) > 0 {
		parts = append(parts, s.Header)
	}
	parts = append(parts, b)
	if len(items) > 0 {
		parts = append(parts, items)
	}
	if len(rest) > 0 {
		parts = append(parts, rest)
	}
	return parts
}

// appendOurs writes the pairs of the service.
func (r *Renderer) appendOurs(b []byte, v *eventlog.View) ([]byte, int) {
	b = amqp.AppendSymbol(b, sequenceNumber)
	b = amqp.AppendLong(b, v.Sequence)
	b = amqp.AppendSymbol(b, offset)
	b = appendDecimal(b, v.Offset)
	b = amqp.AppendSymbol(b, enqueuedTime)
	b = amqp.AppendTimestamp(b, Millis(v.Enqueued))
	if len(v.Key) == 0 || r.Devices {
		return b, 3
	}
	b = amqp.AppendSymbol(b, partitionKey)
	return appendText(b, v.Key), 4
}

// startAnnotations begins a section of message-annotations whose pairs stand in more than one part.
func startAnnotations(b []byte) ([]byte, int) {
	b = append(b, 0x00, 0x53, byte(amqp.CodeMessageAnnotations), 0xd1, 0, 0, 0, 0, 0, 0, 0, 0)
	return b, len(b)
}

func finishAnnotations(b []byte, start, pairs, elsewhere int) {
	binary.BigEndian.PutUint32(b[start-8:], uint32(len(b)-start+elsewhere+4))
	binary.BigEndian.PutUint32(b[start-4:], uint32(2*pairs))
}

func appendRuntime(b []byte, t *Runtime) []byte {
	if t == nil {
		return b
	}
	b = amqp.AppendDescriptor(b, amqp.CodeDeliveryAnnotations)
	start := len(b)
	b = amqp.StartMap(b)
	b = amqp.AppendSymbol(b, "last_enqueued_sequence_number")
	b = amqp.AppendLong(b, t.LastSequence)
	b = amqp.AppendSymbol(b, "last_enqueued_offset")
	b = appendDecimal(b, t.LastOffset)
	b = amqp.AppendSymbol(b, "last_enqueued_time_utc")
	b = amqp.AppendTimestamp(b, Millis(t.LastEnqueued))
	b = amqp.AppendSymbol(b, "runtime_info_retrieval_time_utc")
	b = amqp.AppendTimestamp(b, Millis(t.Retrieved))
	amqp.FinishMap(b, start, 4)
	return b
}

// appendDecimal writes a number as text: offsets are opaque to clients.
func appendDecimal(b []byte, n int64) []byte {
	b = append(b, 0xa1, 0)
	start := len(b)
	b = strconv.AppendInt(b, n, 10)
	b[start-1] = byte(len(b) - start)
	return b
}
