package amqp

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// ParseValue reads one value and returns it with the bytes after it. Types are those of [AppendValue]. What it returns shares nothing
// with b. A value beyond the limits, a string that is not UTF-8 and a map of an odd number of items are errors of [ErrMalformed].
func ParseValue(b []byte, lim Limits) (v any, rest []byte, err error) {
	lim = lim.orDefault()
	p := parser{items: lim.Items, hollow: lim.Items}
	return p.value(b, lim.Depth)
}

// parser counts down the values that may still come. They are counted before room is made for them.
type parser struct {
	items  int
	hollow int // of these, values that take no bytes: in arrays of nothings, and the descriptions of an array's items
}

// proportionate bounds what has been received by its bytes alone, as a value takes one or more, but for hollow ones.
func proportionate(hollow int) parser { return parser{items: math.MaxInt32, hollow: hollow} }

const deep = 16

func (p *parser) count(n int) error {
	if n > p.items {
		return malformed("limit", "too many values in one")
	}
	p.items -= n
	return nil
}

func (p *parser) countHollow(n int64) error {
	if n > int64(p.hollow) {
		return malformed("limit", "too many values in an array of nothings or of described values")
	}
	p.hollow -= int(n)
	return nil
}

func (p *parser) value(b []byte, depth int) (v any, rest []byte, err error) {
	if depth == 0 {
		return nil, nil, malformed("limit", "values nested too deep")
	}
	if len(b) > 0 && b[0] == tagDescribed {
		if err := p.count(2); err != nil {
			return nil, nil, err
		}
		var d Described
		if d.Descriptor, rest, err = p.value(b[1:], depth-1); err != nil {
			return nil, nil, err
		}
		if d.Value, rest, err = p.value(rest, depth-1); err != nil {
			return nil, nil, err
		}
		return d, rest, nil
	}
	code, body, rest, err := take(b)
	if err != nil {
		return nil, nil, err
	}
	v, err = p.body(code, body, depth)
	return v, rest, err
}

// body reads a value whose code is known; body is without its size.
func (p *parser) body(code byte, body []byte, depth int) (any, error) {
	switch code {
	case tagNull:
		return nil, nil
	case tagTrue:
		return true, nil
	case tagFalse:
		return false, nil
	case tagBoolean:
		return boolean(body)
	case tagUbyte:
		return body[0], nil
	case tagUshort:
		return uint16(unsigned(body)), nil
	case tagUint0, tagUint1, tagUint:
		return uint32(unsigned(body)), nil
	case tagUlong0, tagUlong1, tagUlong:
		return unsigned(body), nil
	case tagByte:
		return int8(body[0]), nil
	case tagShort:
		return int16(signed(body)), nil
	case tagInt1, tagInt:
		return int32(signed(body)), nil
	case tagLong1, tagLong:
		return signed(body), nil
	case tagFloat:
		return math.Float32frombits(binary.BigEndian.Uint32(body)), nil
	case tagDouble:
		return math.Float64frombits(binary.BigEndian.Uint64(body)), nil
	case tagDec32:
		return Decimal32(body), nil
	case tagDec64:
		return Decimal64(body), nil
	case tagDec128:
		return Decimal128(body), nil
	case tagChar:
		return char(body)
	case tagTime:
		return Timestamp(signed(body)), nil
	case tagUUID:
		return UUID(body), nil
	case tagBinary1, tagBinary4:
		return append([]byte{}, body...), nil
	case tagString1, tagString4:
		if !utf8.Valid(body) {
			return nil, errUTF8
		}
		return string(body), nil
	case tagSymbol1, tagSymbol4:
		if !ascii(body) {
			return nil, errASCII
		}
		return Symbol(body), nil
	}
	count, items, err := counted(code, body)
	if err != nil {
		return nil, err
	}
	switch {
	case isList(code):
		return p.list(count, items, depth)
	case isMap(code):
		return p.mapping(count/2, items, depth)
	}
	return p.array(count, items, depth)
}

var (
	errUTF8  = malformed("1.6.20", "a string that is not UTF-8")
	errASCII = malformed("1.6.21", "a symbol that is not ASCII")
	errTail  = malformed("1.6.22", "bytes after the last item")
)

func boolean(body []byte) (bool, error) {
	if body[0] > 1 {
		return false, malformed("1.6.2", "a boolean of %#02x", body[0])
	}
	return body[0] == 1, nil
}

func char(body []byte) (Char, error) {
	c := binary.BigEndian.Uint32(body)
	if c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
		return 0, malformed("1.6.16", "a char of %#x", c)
	}
	return Char(c), nil
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (p *parser) list(count int, b []byte, depth int) (l List, err error) {
	if err := p.count(count); err != nil {
		return nil, err
	}
	l = make(List, count)
	for i := range l {
		if l[i], b, err = p.value(b, depth-1); err != nil {
			return nil, err
		}
	}
	if len(b) > 0 {
		return nil, errTail
	}
	return l, nil
}

func (p *parser) mapping(count int, b []byte, depth int) (m Map, err error) {
	if err := p.count(2 * count); err != nil {
		return nil, err
	}
	m = make(Map, count)
	for i := range m {
		if m[i].Key, b, err = p.value(b, depth-1); err != nil {
			return nil, err
		}
		if m[i].Value, b, err = p.value(b, depth-1); err != nil {
			return nil, err
		}
	}
	if len(b) > 0 {
		return nil, errTail
	}
	return m, nil
}

// array reads the constructor all items share, then the items.
func (p *parser) array(count int, b []byte, depth int) (a Array, err error) {
	if count == 0 && len(b) == 0 { // without a constructor: not by the letter, but seen
		return Array{}, nil
	}
	var descriptors []any
	for len(b) > 0 && b[0] == tagDescribed {
		if len(descriptors)+1 >= depth {
			return a, malformed("limit", "values nested too deep")
		}
		if err := p.count(1); err != nil {
			return a, err
		}
		var d any
		if d, b, err = p.value(b[1:], depth-1); err != nil {
			return a, err
		}
		descriptors = append(descriptors, d)
	}
	if len(b) == 0 {
		return a, errShort
	}
	code := b[0]
	b = b[1:]
	if !isKnown(code) {
		return a, malformed("1.6", "format code %#02x", code)
	}
	if err := p.count(count); err != nil {
		return a, err
	}
	hollow := int64(count) * int64(len(descriptors))
	switch {
	case code < 0x50: // these have no width
		hollow += int64(count)
	case count > len(b):
		return a, errShort
	}
	if err := p.countHollow(hollow); err != nil {
		return a, err
	}
	if depth -= len(descriptors) + 1; depth <= 0 && count > 0 {
		return a, malformed("limit", "values nested too deep")
	}
	if count == 0 {
		a.Code = code
	} else {
		a.Items = make([]any, count)
	}
	for i := range a.Items {
		head, size, err := extent(code, b)
		if err != nil {
			return a, err
		}
		v, err := p.body(code, b[head:head+size], depth)
		if err != nil {
			return a, err
		}
		for k := len(descriptors) - 1; k >= 0; k-- {
			v = Described{Descriptor: descriptors[k], Value: v}
		}
		a.Items[i], b = v, b[head+size:]
	}
	if len(b) > 0 {
		return a, errTail
	}
	return a, nil
}
