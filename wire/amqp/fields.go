package amqp

import (
	"fmt"
	"unicode/utf8"
)

// fields reads the fields of a described list one after the other (1.4). Missing trailing fields read as null. The first error stays;
// after it everything reads as null.
type fields struct {
	rest  []byte
	left  int // fields in rest
	index int // of the field read last, from 1
	of    uint64
	err   error
}

// openList reads the head of a described list whose descriptor is code and has been read. rest is what follows the list.
func openList(b []byte, code uint64) (f fields, rest []byte, err error) {
	tag, body, rest, err := take(b)
	if err != nil {
		return f, nil, err
	}
	if !isList(tag) {
		return f, nil, malformed("1.4", "type %#02x is a list, not code %#02x", code, tag)
	}
	f.left, f.rest, err = counted(tag, body)
	f.of = code
	return f, rest, err
}

// openNested reads the head of a described list that is a field, and of a type named want.
func openNested(b []byte, want uint64) (f fields, err error) {
	code, b, err := descriptor(b)
	if err != nil {
		return f, err
	}
	if code != want {
		return f, malformed("1.4", "type %#02x is wanted, not %#02x", want, code)
	}
	f, _, err = openList(b, code)
	return f, err
}

// done tells the first error, after looking for what the type has no field for.
func (f *fields) done() error {
	for f.err == nil && f.left > 0 {
		if tag, _ := f.next(); tag != tagNull {
			f.fail("there is no such field")
		}
	}
	if f.err == nil && len(f.rest) > 0 {
		f.err = errTail
	}
	return f.err
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = malformed("1.4", "field %d of type %#02x: %s", f.index, f.of, fmt.Sprintf(format, args...))
	}
}

// wrap puts the field's place before an error that is of ErrMalformed already.
func (f *fields) wrap(err error) {
	if f.err == nil {
		f.err = fmt.Errorf("field %d of type %#02x: %w", f.index, f.of, err)
	}
}

func (f *fields) mismatch(want string, tag byte) {
	f.fail("%s is wanted, not code %#02x", want, tag)
}

// next reads a field that has no descriptor. A missing one has tagNull.
func (f *fields) next() (tag byte, body []byte) {
	f.index++
	if f.err != nil || f.left == 0 {
		return tagNull, nil
	}
	f.left--
	if len(f.rest) > 0 && f.rest[0] == tagDescribed {
		f.fail("a described value is not wanted")
		return tagNull, nil
	}
	tag, body, rest, err := take(f.rest)
	if err != nil {
		f.err = err
		return tagNull, nil
	}
	f.rest = rest
	return tag, body
}

// raw reads a field as it stands, with its descriptor if it has one; nil when it is null.
func (f *fields) raw() []byte {
	f.index++
	if f.err != nil || f.left == 0 {
		return nil
	}
	f.left--
	rest, err := skip(f.rest)
	if err != nil {
		f.err = err
		return nil
	}
	value := f.rest[:len(f.rest)-len(rest)]
	f.rest = rest
	if value[0] == tagNull {
		return nil
	}
	return value
}

func (f *fields) require(set bool) {
	if !set {
		f.fail("it is mandatory")
	}
}

func (f *fields) uint() (v Optional[uint32]) {
	switch tag, body := f.next(); tag {
	case tagUint0, tagUint1, tagUint:
		return Some(uint32(unsigned(body)))
	case tagNull:
	default:
		f.mismatch("a uint", tag)
	}
	return v
}

func (f *fields) mustUint() uint32 {
	v := f.uint()
	f.require(v.Set)
	return v.Value
}

func (f *fields) ulong() (v Optional[uint64]) {
	switch tag, body := f.next(); tag {
	case tagUlong0, tagUlong1, tagUlong:
		return Some(unsigned(body))
	case tagNull:
	default:
		f.mismatch("a ulong", tag)
	}
	return v
}

func (f *fields) ushort() (v Optional[uint16]) {
	switch tag, body := f.next(); tag {
	case tagUshort:
		return Some(uint16(unsigned(body)))
	case tagNull:
	default:
		f.mismatch("a ushort", tag)
	}
	return v
}

func (f *fields) ubyte() (v Optional[uint8]) {
	switch tag, body := f.next(); tag {
	case tagUbyte:
		return Some(body[0])
	case tagNull:
	default:
		f.mismatch("a ubyte", tag)
	}
	return v
}

func (f *fields) timestamp() (v Optional[Timestamp]) {
	switch tag, body := f.next(); tag {
	case tagTime:
		return Some(Timestamp(signed(body)))
	case tagNull:
	default:
		f.mismatch("a timestamp", tag)
	}
	return v
}

func (f *fields) boolean() (v Optional[bool]) {
	switch tag, body := f.next(); tag {
	case tagTrue, tagFalse:
		return Some(tag == tagTrue)
	case tagBoolean:
		b, err := boolean(body)
		if err != nil {
			f.wrap(err)
		}
		return Some(b)
	case tagNull:
	default:
		f.mismatch("a boolean", tag)
	}
	return v
}

func (f *fields) flag() bool { return f.boolean().Value }

// binary reads bytes that point into the input; nil only when the field is null.
func (f *fields) binary() []byte {
	switch tag, body := f.next(); tag {
	case tagBinary1, tagBinary4:
		return body
	case tagNull:
	default:
		f.mismatch("a binary", tag)
	}
	return nil
}

// bytes is binary with a copy of what it reads.
func (f *fields) bytes() []byte {
	b := f.binary()
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

func (f *fields) string() (v Optional[string]) {
	switch tag, body := f.next(); tag {
	case tagString1, tagString4:
		if !utf8.Valid(body) {
			f.fail("it is not UTF-8")
			return v
		}
		return Some(string(body))
	case tagNull:
	default:
		f.mismatch("a string", tag)
	}
	return v
}

func (f *fields) text() string { return f.string().Value }

func (f *fields) symbol() (v Optional[Symbol]) {
	switch tag, body := f.next(); tag {
	case tagSymbol1, tagSymbol4:
		if !ascii(body) {
			f.fail("it is not ASCII")
			return v
		}
		return Some(Symbol(body))
	case tagNull:
	default:
		f.mismatch("a symbol", tag)
	}
	return v
}
