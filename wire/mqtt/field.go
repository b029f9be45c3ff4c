package mqtt

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// fields reads the parts of a packet's body one after the other; the first failure sticks.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) fail(clause, what string) {
	if f.err == nil {
		f.err = malformed(clause, what)
	}
}

func (f *fields) byte(what string) byte {
	if f.err != nil || len(f.rest) < 1 {
		f.fail("2.2.3", "ends before "+what)
		return 0
	}
	b := f.rest[0]
	f.rest = f.rest[1:]
	return b
}

func (f *fields) uint16(what string) uint16 {
	if f.err != nil || len(f.rest) < 2 {
		f.fail("2.2.3", "ends before "+what)
		return 0
	}
	v := be16(f.rest)
	f.rest = f.rest[2:]
	return v
}

// id reads a packet identifier, which is never 0 (MQTT-2.3.1-1).
func (f *fields) id() uint16 {
	v := f.uint16("the packet identifier")
	if v == 0 {
		f.fail("2.3.1-1", "packet identifier 0")
	}
	return v
}

// binary reads two bytes of length and that many bytes.
func (f *fields) binary(what string) []byte {
	n := int(f.uint16(what))
	if f.err != nil || len(f.rest) < n {
		f.fail("1.5.3", "ends inside "+what)
		return nil
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}

// text reads a UTF-8 string (MQTT 1.5.3).
func (f *fields) text(what string) []byte {
	b := f.binary(what)
	if f.err == nil && !validText(b) {
		f.fail("1.5.3-1", what+" is no UTF-8 text")
		return nil
	}
	return b
}

func (f *fields) end() error {
	if f.err == nil && len(f.rest) > 0 {
		f.fail("2.2.3", fmt.Sprintf("%d bytes too many", len(f.rest)))
	}
	return f.err
}

// MQTT-1.5.3-1 and 1.5.3-2: well-formed UTF-8 (Go's decoder refuses surrogates) without U+0000.
func validText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

func appendText[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, byte(len(s)>>8), byte(len(s)))
	return append(dst, s...)
}

func checkLength(what string, n int) error {
	if n > 65535 {
		return fmt.Errorf("%w: %s of %d bytes", ErrTooLarge, what, n)
	}
	return nil
}
