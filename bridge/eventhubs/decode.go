package eventhubs

import (
	"hash/maphash"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
)

// Annotations of the service (Event Hubs: AMQP protocol guide).
const (
	sequenceNumber = "x-opt-sequence-number"
	enqueuedTime   = "x-opt-enqueued-time"
	partitionKey   = "x-opt-partition-key"
	ofService      = "x-opt-"
	ofProducer     = "com.microsoft:"
)

// standard are the fields of the properties section by name, in their order (3.2.4).
var standard = [...]string{
	event.MessageID, event.UserID, "to", "subject", "reply-to", event.CorrelationID, event.ContentType, event.ContentEncoding,
	"absolute-expiry-time", "creation-time", "group-id", "group-sequence", "reply-to-group-id",
}

// decoder makes events of messages: of those that come together with a handful of allocations, and one for each number, and each text that
// was not seen lately. It belongs to one goroutine.
type decoder struct {
	partition string
	seed      maphash.Seed
	seen      [1024]struct {
		text  string
		boxed any // the same
	}
	slab []event.Property
	// Of the message at hand, for the functions below, which are made once.
	e        *event.Event
	message  []byte
	found    bool // its sequence number
	pair     func(key, value []byte) bool
	property func(key, value []byte) bool
	field    func(i int, value []byte) bool
	data     func(b []byte) error
	pieces   int
}

func newDecoder(partition string) *decoder {
	d := &decoder{partition: partition, seed: maphash.MakeSeed()}
	d.pair, d.property, d.field, d.data = d.onAnnotation, d.onProperty, d.onField, d.onData
	return d
}

// events makes events of messages, which become part of them.
func (d *decoder) events(messages [][]byte) ([]*event.Event, error) {
	all := make([]event.Event, len(messages))
	list := make([]*event.Event, len(messages))
	for i, m := range messages {
		list[i] = &all[i]
		if err := d.decode(&all[i], m); err != nil {
			return nil, err
		}
	}
	d.e, d.message = nil, nil
	return list, nil
}

func (d *decoder) decode(e *event.Event, message []byte) error {
	d.e, d.message, d.found, d.pieces = e, message, false, 0
	e.Origin.Partition = d.partition
	s, err := amqp.Scan(message)
	if err == nil {
		d.begin()
		err = amqp.EachPair(s.MessageAnnotations, d.pair)
	}
	if err != nil || !d.found { // nothing can be said of where it stands
		return fault.Newf("eventhubs.Next", fault.Unavailable, "partition %s gave what is no event", d.partition).Because(err)
	}
	if amqp.EachField(s.Properties, d.field) != nil {
		d.restart() // it is a bridge's to pass on what a sender made, not to judge it
	}
	e.System = d.end()
	d.begin()
	if amqp.EachPair(s.ApplicationProperties, d.property) != nil {
		d.restart()
	}
	e.Properties = d.end()
	switch s.Kind {
	case amqp.NoBody:
	case amqp.Data:
		if amqp.EachData(s.Body, d.data) != nil {
			e.Body = nil
		}
	default:
		body, _, _ := amqpevent.Read(eventlog.Event{Format: amqpevent.Encoded, Body: message})
		e.Body = body
	}
	return nil
}

const slabSize = 1024

// begin makes room for the properties of one list, which end closes: pieces of one slice, none of which can grow into the next.
func (d *decoder) begin() {
	if cap(d.slab)-len(d.slab) < 32 {
		d.slab = make([]event.Property, 0, slabSize)
	}
	d.slab = d.slab[len(d.slab):]
}

func (d *decoder) restart() { d.slab = d.slab[:0] }

func (d *decoder) end() []event.Property {
	n := len(d.slab)
	if n == 0 {
		return nil
	}
	return d.slab[:n:n]
}

func (d *decoder) add(name string, v any) {
	d.slab = append(d.slab, event.Property{Name: name, Value: v})
}

func (d *decoder) onAnnotation(key, value []byte) bool {
	switch string(key) {
	case sequenceNumber:
		d.e.Origin.Sequence, d.found = amqp.IntegerOf(value)
		return true
	case enqueuedTime:
		if ms, ok := amqp.IntegerOf(value); ok {
			d.e.Origin.Enqueued = amqptext.Time(amqp.Timestamp(ms))
		}
		return true
	case partitionKey:
		if text, ok := amqp.TextOf(value); ok {
			d.e.Key, _ = d.text(text)
		}
		return true
	}
	if name, _ := d.text(key); name != "" && !services(name) {
		d.add(name, d.value(value, name, true))
	}
	return true
}

// services tells whether an annotation is one of the service.
func services(name string) bool {
	return strings.HasPrefix(name, ofService) || strings.HasPrefix(name, ofProducer)
}

func (d *decoder) onProperty(key, value []byte) bool {
	if name, _ := d.text(key); name != "" {
		d.add(name, d.value(value, name, false))
	}
	return true
}

func (d *decoder) onField(i int, value []byte) bool {
	if i >= len(standard) || value[0] == codeNull {
		return true
	}
	v := d.value(value, standard[i], true)
	if b, ok := v.([]byte); ok && utf8.Valid(b) {
		v = string(b) // user-id, mostly
	}
	d.add(standard[i], v)
	return true
}

func (d *decoder) onData(b []byte) error {
	d.pieces++
	switch d.pieces {
	case 1:
		d.e.Body = b
	case 2:
		d.e.Body = append(append([]byte(nil), d.e.Body...), b...)
	default:
		d.e.Body = append(d.e.Body, b...)
	}
	return nil
}

// Format codes of what is read without an allocation too many (1.6).
const (
	codeNull      = 0x40
	codeTrue      = 0x41
	codeFalse     = 0x42
	codeUlong0    = 0x44
	codeUlong1    = 0x53
	codeUlong     = 0x80
	codeTimestamp = 0x83
)

// value reads a value as events have them.
func (d *decoder) value(value []byte, name string, system bool) any {
	if text, ok := amqp.TextOf(value); ok {
		_, boxed := d.text(text)
		return boxed
	}
	switch value[0] {
	case codeNull:
		return nil
	case codeTrue:
		return true
	case codeFalse:
		return false
	case codeTimestamp:
		ms, _ := amqp.IntegerOf(value)
		return amqptext.Time(amqp.Timestamp(ms))
	case codeUlong0, codeUlong1, codeUlong:
	default:
		if n, ok := amqp.IntegerOf(value); ok {
			return n
		}
	}
	v, _, err := amqp.ParseValue(value, amqp.Limits{})
	if err != nil {
		return nil
	}
	switch v := v.(type) {
	case uint64, float64, bool, []byte:
		return v
	case float32:
		return float64(v)
	}
	if text, ok := amqptext.Text(v); ok {
		return text
	}
	// Lists and maps, which are rare: as those read them who know no AMQP.
	_, properties, annotations := amqpevent.Read(eventlog.Event{Format: amqpevent.Encoded, Body: d.message})
	if system {
		return annotations[name]
	}
	return properties[name]
}

// longest is the text that is worth finding again.
const longest = 256

// text returns a text, and the same as a value, from those seen before if it can.
func (d *decoder) text(b []byte) (string, any) {
	if len(b) > longest {
		s := strings.ToValidUTF8(string(b), "\uFFFD")
		return s, s
	}
	at := &d.seen[maphash.Bytes(d.seed, b)%uint64(len(d.seen))]
	if at.text != string(b) || at.boxed == nil {
		s := strings.ToValidUTF8(string(b), "\uFFFD")
		if s != string(b) {
			return s, s
		}
		at.text, at.boxed = s, s
	}
	return at.text, at.boxed
}

// instant is the moment of a timestamp's milliseconds, as filters count them, no earlier than t.
func instant(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}
