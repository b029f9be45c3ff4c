package eventhubs

import (
	"encoding/binary"
	"math"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// appendEvent writes an event after dst as one data section of a batch: its encoded message is what the section holds (Event Hubs: batched
// messages). An event that cannot be written is Invalid, and dst is returned as it was. numbered leaves room for pipe.number.
func appendEvent(dst []byte, e *event.Event, bridge string, numbered bool) ([]byte, error) {
	start := len(dst)
	b := append(amqp.AppendDescriptor(dst, amqp.CodeData), codeBinary4, 0, 0, 0, 0)
	head := len(b)
	b, err := appendMessage(b, e, bridge, numbered)
	if err != nil {
		return dst[:start], err
	}
	if uint64(len(b)-head) > math.MaxUint32 {
		return dst[:start], fault.New("eventhubs.Write", fault.TooLarge, "the event is larger than AMQP can say")
	}
	binary.BigEndian.PutUint32(b[head-4:], uint32(len(b)-head))
	return b, nil
}

const codeBinary4 = 0xb0

func appendMessage(b []byte, e *event.Event, bridge string, numbered bool) ([]byte, error) {
	if len(e.Key) > amqpevent.MaxKeyBytes || !utf8.ValidString(e.Key) {
		return b, fault.Newf("eventhubs.Write", fault.Invalid, "the key of the event has %d bytes; an event hub takes text of at most %d", len(e.Key), amqpevent.MaxKeyBytes)
	}
	var err error
	if b, err = appendAnnotations(b, e, numbered); err != nil {
		return b, err
	}
	if b, err = appendStandard(b, e); err != nil {
		return b, err
	}
	b = amqp.AppendDescriptor(b, amqp.CodeApplicationProperties)
	at, n := len(b), 1
	b = amqp.StartMap(b)
	repeat := e.Repeat
	for i := range e.Properties {
		p := &e.Properties[i]
		switch p.Name {
		case event.OriginProperty: // of a bridge before this one
			continue
		case event.RepeatProperty:
			if p.Value == true || p.Value == "true" {
				repeat = true // which stays true whoever sends it on
			}
			continue
		}
		b = amqp.AppendString(b, p.Name)
		if b, err = appendValue(b, p); err != nil {
			return b, err
		}
		n++
	}
	b = amqp.AppendString(b, event.OriginProperty)
	b = amqp.AppendString(b, e.ID(bridge))
	if repeat {
		b = amqp.AppendString(b, event.RepeatProperty)
		b = amqp.AppendBool(b, true)
		n++
	}
	amqp.FinishMap(b, at, n)
	b = amqp.AppendDescriptor(b, amqp.CodeData)
	return amqp.AppendBinary(b, e.Body), nil
}

// appendAnnotations writes the key, and what is no standard property.
func appendAnnotations(b []byte, e *event.Event, numbered bool) ([]byte, error) {
	before := len(b)
	b = amqp.AppendDescriptor(b, amqp.CodeMessageAnnotations)
	at, n := len(b), 0
	b = amqp.StartMap(b)
	if numbered {
		b = append(b, numbers...)
		n += 3
	}
	if e.Key != "" {
		b = amqp.AppendSymbol(b, partitionKey)
		b = amqp.AppendString(b, e.Key)
		n++
	}
	for i := range e.System {
		p := &e.System[i]
		if p.Name == "" || fieldOf(p.Name) >= 0 || services(p.Name) {
			continue
		}
		b = amqp.AppendSymbol(b, amqp.Symbol(p.Name))
		var err error
		if b, err = appendValue(b, p); err != nil {
			return b, err
		}
		n++
	}
	if n == 0 {
		return b[:before], nil
	}
	amqp.FinishMap(b, at, n)
	return b, nil
}

// fieldOf is the place of a standard property in its section, -1 for other names.
func fieldOf(name string) int {
	switch name {
	case event.MessageID:
		return 0
	case event.UserID:
		return 1
	case "to":
		return 2
	case "subject":
		return 3
	case "reply-to":
		return 4
	case event.CorrelationID:
		return 5
	case event.ContentType:
		return 6
	case event.ContentEncoding:
		return 7
	case "absolute-expiry-time":
		return 8
	case "creation-time":
		return 9
	case "group-id":
		return 10
	case "group-sequence":
		return 11
	case "reply-to-group-id":
		return 12
	}
	return -1
}

// appendStandard writes the properties section (3.2.4), if there is anything in it.
func appendStandard(b []byte, e *event.Event) ([]byte, error) {
	var fields [len(standard)]*event.Property
	last := 0
	for i := range e.System {
		if at := fieldOf(e.System[i].Name); at >= 0 && e.System[i].Value != nil {
			fields[at], last = &e.System[i], max(last, at+1)
		}
	}
	if last == 0 {
		return b, nil
	}
	b = amqp.AppendDescriptor(b, amqp.CodeProperties)
	at := len(b)
	b = amqp.StartList(b)
	for i, p := range fields[:last] {
		if p == nil {
			b = append(b, codeNull)
			continue
		}
		var err error
		if b, err = appendField(b, i, p); err != nil {
			return b, err
		}
	}
	amqp.FinishList(b, at, last)
	return b, nil
}

// appendField writes a standard property in the type that it must have.
func appendField(b []byte, i int, p *event.Property) ([]byte, error) {
	switch v := p.Value.(type) {
	case string:
		switch i {
		case 1:
			return amqp.AppendBinary(b, []byte(v)), nil
		case 6, 7:
			return amqp.AppendSymbol(b, amqp.Symbol(v)), nil
		case 8, 9:
			t, err := time.Parse(time.RFC3339Nano, v)
			if err != nil {
				return b, wrongField(p)
			}
			return amqp.AppendTimestamp(b, amqpevent.Millis(t)), nil
		case 11:
			return b, wrongField(p)
		}
		return amqp.AppendString(b, v), nil
	case time.Time:
		if i == 8 || i == 9 {
			return amqp.AppendTimestamp(b, amqpevent.Millis(v)), nil
		}
	case uint64:
		switch {
		case i == 0 || i == 5:
			return amqp.AppendUlong(b, v), nil
		case i == 11 && v <= math.MaxUint32:
			return amqp.AppendUint(b, uint32(v)), nil
		}
	case int64:
		switch {
		case (i == 0 || i == 5) && v >= 0:
			return amqp.AppendUlong(b, uint64(v)), nil
		case i == 11 && v >= 0 && v <= math.MaxUint32:
			return amqp.AppendUint(b, uint32(v)), nil
		}
	case []byte:
		if i == 0 || i == 1 || i == 5 {
			return amqp.AppendBinary(b, v), nil
		}
	}
	return b, wrongField(p)
}

func wrongField(p *event.Property) error {
	return fault.Newf("eventhubs.Write", fault.Invalid, "the system property %s cannot be a Go %T", p.Name, p.Value)
}

// appendValue writes the value of a property.
func appendValue(b []byte, p *event.Property) ([]byte, error) {
	switch v := p.Value.(type) {
	case nil:
		return append(b, codeNull), nil
	case string:
		return amqp.AppendString(b, v), nil
	case bool:
		return amqp.AppendBool(b, v), nil
	case int64:
		return amqp.AppendLong(b, v), nil
	case uint64:
		return amqp.AppendUlong(b, v), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(b, codeDouble), math.Float64bits(v)), nil
	case []byte:
		return amqp.AppendBinary(b, v), nil
	case time.Time:
		return amqp.AppendTimestamp(b, amqpevent.Millis(v)), nil
	}
	return b, fault.Newf("eventhubs.Write", fault.Invalid, "the property %.60q is a Go %T, which no event has", p.Name, p.Value)
}

const codeDouble = 0x82
