package column

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
)

// Kind is what a value is.
type Kind uint8

const (
	Null  Kind = iota
	Bool       // Bits is 0 or 1
	Int        // Bits is an int64; every number that is one is of this kind, 21.0 too
	Float      // Bits is a finite float64 that is no int64
	Time       // Bits is nanoseconds of the epoch, an int64
	Text
	JSON // Text is an array or object, with its members in order of their names
)

// Value is one value. Equal values are equal structs.
type Value struct {
	Kind Kind
	Bits uint64
	Text string
}

// Integer returns a value of kind Int.
func Integer(n int64) Value { return Value{Kind: Int, Bits: uint64(n)} }

// At returns a value of kind Time. The time must be between the years 1678 and 2262.
func At(t time.Time) Value { return Value{Kind: Time, Bits: uint64(t.UnixNano())} }

// Number returns a value of kind Int or Float. Invalid when it is not finite.
func Number(f float64) (Value, error) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return Value{}, fault.New("column.Number", fault.Invalid, "a number is not finite")
	case f >= -1<<63 && f < 1<<63 && f == math.Trunc(f):
		return Integer(int64(f)), nil
	}
	return Value{Kind: Float, Bits: math.Float64bits(f)}, nil
}

// Float64 returns a number as the nearest float64; ok is false for other kinds.
func (v Value) Float64() (f float64, ok bool) {
	switch v.Kind {
	case Int:
		return float64(int64(v.Bits)), true
	case Float:
		return math.Float64frombits(v.Bits), true
	}
	return 0, false
}

// Time returns a value of kind Time as a time in UTC.
func (v Value) Time() time.Time { return time.Unix(0, int64(v.Bits)).UTC() }

// FromAny reads what a Bloblang expression gave.
func FromAny(x any) (Value, error) {
	switch x := x.(type) {
	case nil:
		return Value{}, nil
	case bool:
		return truth(x), nil
	case int64:
		return Integer(x), nil
	case int:
		return Integer(int64(x)), nil
	case uint64:
		if x > math.MaxInt64 {
			return Number(float64(x))
		}
		return Integer(int64(x)), nil
	case float64:
		return Number(x)
	case float32:
		return Number(float64(x))
	case json.Number:
		return parseNumber(string(x))
	case string:
		return Value{Kind: Text, Text: x}, nil
	case []byte:
		return Value{Kind: Text, Text: string(x)}, nil
	case time.Time:
		return Value{Kind: Text, Text: x.UTC().Format(time.RFC3339Nano)}, nil
	}
	b, err := json.Marshal(x) // members in order of their names
	if err != nil {
		return Value{}, fault.Newf("column.Value", fault.Invalid, "a value of type %T cannot stand in a row", x)
	}
	return Value{Kind: JSON, Text: string(b)}, nil
}

func truth(b bool) Value {
	if b {
		return Value{Kind: Bool, Bits: 1}
	}
	return Value{Kind: Bool}
}

func parseNumber(s string) (Value, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return Integer(n), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return Value{}, fault.Newf("column.Number", fault.Invalid, "%.40q is no number that can be counted with", s)
	}
	return Number(f)
}

// Words says what a value is, for messages.
func (v Value) Words() string {
	switch v.Kind {
	case Null:
		return "null"
	case Bool:
		return "true or false"
	case Int, Float:
		return "a number"
	case Time:
		return "a time"
	case Text:
		return "a text"
	}
	return "an array or object"
}

// AppendText appends the value as text; nothing for null.
func (v Value) AppendText(b []byte) []byte {
	switch v.Kind {
	case Null:
		return b
	case Text, JSON:
		return append(b, v.Text...)
	case Time:
		return v.Time().AppendFormat(b, time.RFC3339Nano)
	}
	return v.AppendJSON(b)
}

// AppendJSON appends the value as JSON.
func (v Value) AppendJSON(b []byte) []byte {
	switch v.Kind {
	case Bool:
		return strconv.AppendBool(b, v.Bits != 0)
	case Int:
		return strconv.AppendInt(b, int64(v.Bits), 10)
	case Float:
		return appendFloat(b, math.Float64frombits(v.Bits))
	case Time:
		b = v.Time().AppendFormat(append(b, '"'), time.RFC3339Nano)
		return append(b, '"')
	case Text:
		return AppendQuoted(b, v.Text)
	case JSON:
		return append(b, v.Text...)
	}
	return append(b, "null"...)
}

// appendFloat writes the shortest text that is read as the same number (ECMA-262, 6.1.6.1.20, but for the sign in exponents).
func appendFloat(b []byte, f float64) []byte {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

const hexDigits = "0123456789abcdef"

// AppendQuoted appends a JSON string (RFC 8259, 7). Bytes that are no UTF-8 become U+FFFD.
func AppendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == '"' || c == '\\':
			b = append(append(b, s[from:i]...), '\\', c)
		case c < 0x20:
			b = append(append(b, s[from:i]...), '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[from:i]...), "\uFFFD"...)
		default:
			i += n
			continue
		}
		i += n
		from = i
	}
	return append(append(b, s[from:]...), '"')
}
