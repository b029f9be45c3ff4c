package amqpevent

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// plainFields are the fields of the properties section that plain events have, by their place in it (3.2.4).
type plainFields [8][]byte

// expiry is the place of absolute-expiry-time.
const expiry = 8

// place tells where a system property stands in the properties section, -1 for those that are annotations.
func place(name []byte) int {
	switch string(name) {
	case "message-id":
		return 0
	case "user-id":
		return 1
	case "to":
		return 2
	case "correlation-id":
		return 5
	case "content-type":
		return 6
	case "content-encoding":
		return 7
	case "absolute-expiry-time":
		return expiry
	}
	return -1
}

// plain encodes an event that no sender encoded: what is known of it beside its body goes where IoT Hub puts it. Text that is not UTF-8 is
// mended, since no string could hold it; a name that cannot be a symbol goes to the application's properties.
func (r *Renderer) plain(v *eventlog.View, runtime *Runtime) [][]byte {
	b := appendRuntime(r.scratch[:0], runtime)
	b, start := startAnnotations(b)
	b, pairs := r.appendOurs(b, v)
	if r.Devices {
		b = amqp.AppendSymbol(b, "iothub-enqueuedtime")
		b = amqp.AppendTimestamp(b, Millis(v.Enqueued))
		pairs++
	}
	r.fields = plainFields{}
	var expires amqp.Timestamp
	last, odd := 0, 0 // fields in use; system properties with names that no symbol can have
	for name, value := range v.System {
		at := place(name)
		switch {
		case at == expiry:
			if t, ok := instant(value); ok {
				expires, last = t, max(last, expiry+1)
				continue
			}
		case at >= 0:
			r.fields[at], last = value, max(last, at+1)
			continue
		}
		if !isASCII(name) {
			odd++
			continue
		}
		if ours(name) {
			continue
		}
		b = appendSymbolText(b, name)
		b = appendText(b, value)
		pairs++
	}
	finishAnnotations(b, start, pairs, 0)
	if last > 0 {
		b = amqp.AppendDescriptor(b, amqp.CodeProperties)
		at := len(b)
		b = amqp.StartList(b)
		for i, f := range r.fields[:min(last, len(r.fields))] {
			switch {
			case f == nil:
				b = append(b, 0x40)
			case i == 1:
				b = amqp.AppendBinary(b, f)
			case i >= 6:
				b = appendSymbolText(b, f)
			default:
				b = appendText(b, f)
			}
		}
		if last > expiry {
			b = amqp.AppendTimestamp(b, expires)
		}
		amqp.FinishList(b, at, last)
	}
	b = r.appendApplication(b, v, odd)
	b = amqp.AppendDescriptor(b, amqp.CodeData)
	b = amqp.AppendBinaryHead(b, len(v.Body))
	r.scratch = b
	return append(r.parts[:0], b, v.Body)
}

func (r *Renderer) appendApplication(b []byte, v *eventlog.View, odd int) []byte {
	before := len(b)
	b = amqp.AppendDescriptor(b, amqp.CodeApplicationProperties)
	at, n := len(b), 0
	b = amqp.StartMap(b)
	for name, value := range v.Properties {
		b = appendText(appendText(b, name), value)
		n++
	}
	if odd > 0 {
		for name, value := range v.System {
			if place(name) < 0 && !isASCII(name) {
				b = appendText(appendText(b, name), value)
				n++
			}
		}
	}
	if n == 0 {
		return b[:before]
	}
	amqp.FinishMap(b, at, n)
	return b
}

// instant reads a time as devices write it: by ISO 8601, or in milliseconds since 1970.
func instant(text []byte) (amqp.Timestamp, bool) {
	if len(text) > 40 {
		return 0, false
	}
	s := string(text)
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return Millis(t), true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return amqp.Timestamp(n), err == nil
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return len(b) > 0
}

func appendText(b, text []byte) []byte {
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	return append(appendHead(b, 0xa1, len(text)), text...)
}

// appendSymbolText writes text where a symbol is meant, and as a string when it can be none.
func appendSymbolText(b, text []byte) []byte {
	if !isASCII(text) {
		return appendText(b, text)
	}
	return append(appendHead(b, 0xa3, len(text)), text...)
}

// appendHead writes the beginning of text; code is that of the short form.
func appendHead(b []byte, code byte, n int) []byte {
	if n < 256 {
		return append(b, code, byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, code+0x10), uint32(n))
}
