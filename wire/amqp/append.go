package amqp

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// AppendValue writes one value after dst in its shortest encoding. The types of AMQP are in Go:
//
//	null nil          boolean bool       ubyte uint8        ushort uint16      uint uint32       ulong uint64
//	byte int8         short int16        int int32          long int64         float float32     double float64
//	decimal32/64/128 Decimal32/64/128    char Char          timestamp Timestamp                  uuid UUID
//	binary []byte     string string      symbol Symbol      list List          map Map           array Array
//	a described value Described
//
// []Symbol is written as an array of symbols. A value of another Go type, a string that is not UTF-8, a symbol that is not ASCII, a Char
// that is no character and an Array of several types are errors; dst is then returned as it was.
func AppendValue(dst []byte, v any) ([]byte, error) {
	w := writer{dst: dst}
	w.value(v, 0)
	if w.err != nil {
		return dst, w.err
	}
	return w.dst, nil
}

const deepest = 64 // a value nested deeper than this was not made on purpose

type writer struct {
	dst []byte
	err error
}

func (w *writer) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("amqp: cannot write "+format, args...)
	}
}

func (w *writer) value(v any, depth int) {
	if depth > deepest {
		w.fail("values nested deeper than %d", deepest)
		return
	}
	switch v := v.(type) {
	case nil:
		w.dst = append(w.dst, tagNull)
	case bool:
		w.dst = AppendBool(w.dst, v)
	case uint8:
		w.dst = append(w.dst, tagUbyte, v)
	case uint16:
		w.dst = binary.BigEndian.AppendUint16(append(w.dst, tagUshort), v)
	case uint32:
		w.dst = AppendUint(w.dst, v)
	case uint64:
		w.dst = AppendUlong(w.dst, v)
	case int8:
		w.dst = append(w.dst, tagByte, byte(v))
	case int16:
		w.dst = binary.BigEndian.AppendUint16(append(w.dst, tagShort), uint16(v))
	case int32:
		w.dst = AppendInt(w.dst, v)
	case int64:
		w.dst = AppendLong(w.dst, v)
	case float32, float64, Decimal32, Decimal64, Decimal128, Char, UUID:
		w.dst = append(w.dst, wideTag(v))
		w.wide(v, depth)
	case Timestamp:
		w.dst = AppendTimestamp(w.dst, v)
	case []byte:
		w.dst = AppendBinary(w.dst, v)
	case string:
		w.text(v)
		w.dst = appendText(w.dst, tagString1, v)
	case Symbol:
		w.symbol(v)
		w.dst = appendText(w.dst, tagSymbol1, string(v))
	case List:
		w.list(v, depth)
	case Map:
		w.mapping(v, depth)
	case Array:
		w.array(v.Items, v.Code, depth)
	case []Symbol:
		w.symbols(v)
	case Described:
		w.dst = append(w.dst, tagDescribed)
		w.value(v.Descriptor, depth+1)
		w.value(v.Value, depth+1)
	default:
		w.fail("a Go %T", v)
	}
}

func (w *writer) text(s string) {
	if !utf8.ValidString(s) {
		w.fail("a string that is not UTF-8")
	}
}

func (w *writer) symbol(s Symbol) {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			w.fail("the symbol %q, which is not ASCII", string(s))
			return
		}
	}
}

func (w *writer) list(l List, depth int) {
	if len(l) == 0 {
		w.dst = append(w.dst, tagList0)
		return
	}
	start := len(w.dst)
	w.dst = startCompound(w.dst, tagList4)
	for _, v := range l {
		w.value(v, depth+1)
	}
	w.dst = shorten(w.dst, start, len(l))
}

func (w *writer) mapping(m Map, depth int) {
	start := len(w.dst)
	w.dst = startCompound(w.dst, tagMap4)
	for _, p := range m {
		w.value(p.Key, depth+1)
		w.value(p.Value, depth+1)
	}
	w.dst = shorten(w.dst, start, 2*len(m))
}

// startCompound leaves room for the size and the count.
func startCompound(dst []byte, tag byte) []byte { return append(dst, tag, 0, 0, 0, 0, 0, 0, 0, 0) }

const compoundHead = 9

// finish fills in the size and the count of what startCompound began at start.
func finish(dst []byte, start, count int) {
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-5))
	binary.BigEndian.PutUint32(dst[start+5:], uint32(count))
}

// shorten finishes a list, map or array, with one-byte size and count when they fit.
func shorten(dst []byte, start, count int) []byte {
	n := len(dst) - start - compoundHead
	if n+1 > math.MaxUint8 || count > math.MaxUint8 {
		finish(dst, start, count)
		return dst
	}
	dst[start] -= 0x10 // from the four-byte code to its one-byte sibling
	dst[start+1], dst[start+2] = byte(n+1), byte(count)
	copy(dst[start+3:], dst[start+compoundHead:])
	return dst[:start+3+n]
}

// appendText writes text or bytes; tag is the code with a one-byte size.
func appendText[T ~string | ~[]byte](dst []byte, tag byte, s T) []byte {
	if len(s) <= math.MaxUint8 {
		dst = append(dst, tag, byte(len(s)))
	} else {
		dst = binary.BigEndian.AppendUint32(append(dst, tag+0x10), uint32(len(s)))
	}
	return append(dst, s...)
}

// AppendString writes a string; what is not UTF-8 in it as replacement characters.
func AppendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return appendText(dst, tagString1, s)
}

// AppendSymbol writes a symbol; what is not ASCII in it as question marks.
func AppendSymbol(dst []byte, s Symbol) []byte {
	start := len(dst)
	dst = appendText(dst, tagSymbol1, string(s))
	for i := len(dst) - len(s); i > start && i < len(dst); i++ {
		if dst[i] >= utf8.RuneSelf {
			dst[i] = '?'
		}
	}
	return dst
}

// AppendBinary writes bytes.
func AppendBinary(dst, b []byte) []byte { return appendText(dst, tagBinary1, b) }

// AppendBinaryHead writes the constructor and the size of n bytes that the caller writes behind it.
func AppendBinaryHead(dst []byte, n int) []byte {
	if n <= math.MaxUint8 {
		return append(dst, tagBinary1, byte(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, tagBinary4), uint32(n))
}

// AppendBool writes a boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, tagTrue)
	}
	return append(dst, tagFalse)
}

// AppendUint writes a uint.
func AppendUint(dst []byte, v uint32) []byte {
	switch {
	case v == 0:
		return append(dst, tagUint0)
	case v <= math.MaxUint8:
		return append(dst, tagUint1, byte(v))
	}
	return binary.BigEndian.AppendUint32(append(dst, tagUint), v)
}

// AppendUlong writes a ulong.
func AppendUlong(dst []byte, v uint64) []byte {
	switch {
	case v == 0:
		return append(dst, tagUlong0)
	case v <= math.MaxUint8:
		return append(dst, tagUlong1, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, tagUlong), v)
}

// AppendInt writes an int.
func AppendInt(dst []byte, v int32) []byte {
	if int32(int8(v)) == v {
		return append(dst, tagInt1, byte(v))
	}
	return binary.BigEndian.AppendUint32(append(dst, tagInt), uint32(v))
}

// AppendLong writes a long.
func AppendLong(dst []byte, v int64) []byte {
	if int64(int8(v)) == v {
		return append(dst, tagLong1, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, tagLong), uint64(v))
}

// AppendTimestamp writes a timestamp.
func AppendTimestamp(dst []byte, v Timestamp) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tagTime), uint64(v))
}
