package column

import (
	"cmp"
	"encoding/binary"
	"math"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// AppendKey appends the value in a form whose bytes are ordered as the values are: null, booleans, numbers, times, texts, JSON. Several
// behind each other are ordered by the first that differs.
func (v Value) AppendKey(b []byte) []byte {
	switch v.Kind {
	case Null:
		return append(b, 1)
	case Bool:
		return append(b, 2, byte(v.Bits))
	case Int, Float:
		// The float64 next to it first, so that both kinds stand in one order; then the integer itself.
		f, _ := v.Float64()
		b = binary.BigEndian.AppendUint64(append(b, 3), ordered(f))
		if v.Kind == Float {
			return append(b, 1)
		}
		return binary.BigEndian.AppendUint64(append(b, 0), v.Bits^1<<63)
	case Time:
		return binary.BigEndian.AppendUint64(append(b, 4), v.Bits^1<<63)
	case Text:
		return appendEscaped(append(b, 5), v.Text)
	}
	return appendEscaped(append(b, 6), v.Text)
}

func ordered(f float64) uint64 {
	bits := math.Float64bits(f)
	if bits>>63 != 0 {
		return ^bits
	}
	return bits | 1<<63
}

func unordered(bits uint64) float64 {
	if bits>>63 == 0 {
		return math.Float64frombits(^bits)
	}
	return math.Float64frombits(bits &^ (1 << 63))
}

// appendEscaped writes 0 as 0 255, and 0 1 behind the text.
func appendEscaped(b []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			return append(append(b, s...), 0, 1)
		}
		b = append(append(b, s[:i]...), 0, 255)
		s = s[i+1:]
	}
}

// ReadKey reads one value from the front of what AppendKey wrote.
func ReadKey(key string) (v Value, rest string, err error) {
	bad := func() (Value, string, error) {
		return Value{}, "", fault.New("column.ReadKey", fault.Invalid, "a key is damaged")
	}
	if key == "" {
		return bad()
	}
	kind, key := key[0], key[1:]
	switch kind {
	case 1:
		return Value{}, key, nil
	case 2:
		if key == "" || key[0] > 1 {
			return bad()
		}
		return truth(key[0] == 1), key[1:], nil
	case 3:
		if len(key) < 9 {
			return bad()
		}
		f, form, key := unordered(bigEndian(key)), key[8], key[9:]
		if form == 1 {
			if v, err = Number(f); err != nil || v.Kind != Float {
				return bad()
			}
			return v, key, nil
		}
		if form != 0 || len(key) < 8 || float64(int64(bigEndian(key)^1<<63)) != f {
			return bad()
		}
		return Integer(int64(bigEndian(key) ^ 1<<63)), key[8:], nil
	case 4:
		if len(key) < 8 {
			return bad()
		}
		return Value{Kind: Time, Bits: bigEndian(key) ^ 1<<63}, key[8:], nil
	case 5, 6:
		text, rest, ok := readEscaped(key)
		if !ok {
			return bad()
		}
		return Value{Kind: Text + Kind(kind-5), Text: text}, rest, nil
	}
	return bad()
}

func bigEndian(s string) uint64 {
	return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 | uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
}

func readEscaped(s string) (text, rest string, ok bool) {
	var whole []byte
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 || i+1 >= len(s) {
			return "", "", false
		}
		switch s[i+1] {
		case 1:
			if whole == nil {
				return s[:i], s[i+2:], true
			}
			return string(append(whole, s[:i]...)), s[i+2:], true
		case 255:
			whole = append(append(whole, s[:i]...), 0)
			s = s[i+2:]
		default:
			return "", "", false
		}
	}
}

// Compare orders values as their keys do.
func Compare(a, b Value) int {
	if a.number() && b.number() {
		x, _ := a.Float64()
		y, _ := b.Float64()
		switch {
		case x != y:
			return cmp.Compare(x, y)
		case a.Kind == Int && b.Kind == Int:
			return cmp.Compare(int64(a.Bits), int64(b.Bits))
		}
		return cmp.Compare(a.Kind, b.Kind) // the only Float that an Int is rounded to is 1<<63, which is beyond all of them
	}
	switch {
	case a.Kind != b.Kind:
		return cmp.Compare(a.Kind, b.Kind)
	case a.Kind == Text || a.Kind == JSON:
		return strings.Compare(a.Text, b.Text)
	}
	return cmp.Compare(int64(a.Bits), int64(b.Bits))
}

func (v Value) number() bool { return v.Kind == Int || v.Kind == Float }
