package function

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/bridge/event"
)

// appendBatch writes what a function is given.
func appendBatch(b []byte, batch []*event.Event) []byte {
	b = append(b, '[')
	for i, e := range batch {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEvent(b, e)
	}
	return append(b, ']')
}

func appendEvent(b []byte, e *event.Event) []byte {
	switch {
	case json.Valid(e.Body) && utf8.Valid(e.Body):
		b = append(append(b, `{"body":`...), e.Body...)
	case utf8.Valid(e.Body):
		b = appendText(append(b, `{"text":`...), string(e.Body))
	default:
		b = append(append(b, `{"base64":"`...), base64.StdEncoding.EncodeToString(e.Body)...)
		b = append(b, '"')
	}
	b = appendProperties(b, `,"properties":{`, e.Properties)
	b = appendProperties(b, `,"system":{`, e.System)
	if e.Key != "" {
		b = appendText(append(b, `,"key":`...), e.Key)
	}
	o := &e.Origin
	b = append(b, `,"origin":{`...)
	if o.Name != "" {
		b = append(appendText(append(b, `"name":`...), o.Name), ',')
	}
	b = appendText(append(b, `"partition":`...), o.Partition)
	b = strconv.AppendInt(append(b, `,"sequence":`...), o.Sequence, 10)
	if o.Index > 0 {
		b = strconv.AppendInt(append(b, `,"index":`...), int64(o.Index), 10)
	}
	if !o.Enqueued.IsZero() {
		b = append(o.Enqueued.UTC().AppendFormat(append(b, `,"enqueued":"`...), time.RFC3339Nano), '"')
	}
	b = append(b, '}')
	if e.Repeat {
		b = append(b, `,"repeat":true`...)
	}
	return append(b, '}')
}

func appendProperties(b []byte, head string, list []event.Property) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(b, head...)
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(append(appendText(b, list[i].Name), ':'), list[i].Value)
	}
	return append(b, '}')
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendText(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float64:
		return appendFloat(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case time.Time:
		return append(v.UTC().AppendFormat(append(b, `{"time":"`...), time.RFC3339Nano), `"}`...)
	case []byte:
		return append(append(append(b, `{"base64":"`...), base64.StdEncoding.EncodeToString(v)...), `"}`...)
	}
	return append(b, "null"...)
}

// appendFloat writes a number that is read as one with a point again. JSON has none for what is no number: null stands for it.
func appendFloat(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	from := len(b)
	b = strconv.AppendFloat(b, v, 'g', -1, 64)
	for _, c := range b[from:] {
		if c == '.' || c == 'e' {
			return b
		}
	}
	return append(b, ".0"...)
}

// appendText writes a text as JSON; bytes that are not UTF-8 become U+FFFD.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

// JSON writes an event as functions are given it.
func JSON(e *event.Event) json.RawMessage { return appendEvent(nil, e) }
