package amqpevent

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

// maxDepth is how deep values may stand in each other.
const maxDepth = 16

var errValue = errors.New("a value is cut short, too deep or of no known type")

// width is the size of the value behind a format code of fixed width (1.2.1), -1 for other codes.
func width(code byte) int {
	switch code {
	case 0x40, 0x41, 0x42, 0x43, 0x44, 0x45:
		return 0
	case 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56:
		return 1
	case 0x60, 0x61:
		return 2
	case 0x70, 0x71, 0x72, 0x73, 0x74:
		return 4
	case 0x80, 0x81, 0x82, 0x83, 0x84:
		return 8
	case 0x94, 0x98:
		return 16
	}
	return -1
}

// skip checks the value at the beginning of b to its last byte and returns what follows it.
func skip(b []byte, depth int) ([]byte, error) {
	if len(b) == 0 || depth > maxDepth {
		return nil, errValue
	}
	if b[0] == 0 { // described: descriptor and value
		rest, err := skip(b[1:], depth+1)
		if err != nil {
			return nil, err
		}
		return skip(rest, depth+1)
	}
	return skipAfter(b[0], b[1:], depth)
}

// skipAfter is skip for a value whose format code was read, as those of an array are.
func skipAfter(code byte, b []byte, depth int) ([]byte, error) {
	if n := width(code); n >= 0 {
		if len(b) < n || code == 0x56 && b[0] > 1 {
			return nil, errValue
		}
		return b[n:], nil
	}
	content, rest, err := variable(code, b)
	if err != nil {
		return nil, err
	}
	switch code {
	case 0xa0, 0xb0: // binary
	case 0xa1, 0xb1:
		if !utf8.Valid(content) {
			return nil, errValue
		}
	case 0xa3, 0xb3:
		for _, c := range content {
			if c >= utf8.RuneSelf {
				return nil, errValue
			}
		}
	case 0xc0, 0xd0, 0xc1, 0xd1:
		n, items, err := count(code, content)
		if err != nil || code&1 != 0 && n%2 != 0 {
			return nil, errValue
		}
		for range n {
			if items, err = skip(items, depth+1); err != nil {
				return nil, err
			}
		}
		if len(items) != 0 {
			return nil, errValue
		}
	case 0xe0, 0xf0:
		if err := skipArray(code, content, depth); err != nil {
			return nil, err
		}
	default:
		return nil, errValue
	}
	return rest, nil
}

// variable cuts the content of a value of variable width, compound or array (1.2.2 to 1.2.4).
func variable(code byte, b []byte) (content, rest []byte, err error) {
	var n, head int
	switch code >> 4 {
	case 0xa, 0xc, 0xe:
		if len(b) < 1 {
			return nil, nil, errValue
		}
		n, head = int(b[0]), 1
	case 0xb, 0xd, 0xf:
		if len(b) < 4 || binary.BigEndian.Uint32(b) > 1<<31-1 {
			return nil, nil, errValue
		}
		n, head = int(binary.BigEndian.Uint32(b)), 4
	default:
		return nil, nil, errValue
	}
	if n > len(b)-head {
		return nil, nil, errValue
	}
	return b[head : head+n], b[head+n:], nil
}

// count reads how many values a compound or an array holds.
func count(code byte, content []byte) (n int, items []byte, err error) {
	if code>>4 == 0xc || code>>4 == 0xe {
		if len(content) < 1 {
			return 0, nil, errValue
		}
		return int(content[0]), content[1:], nil
	}
	if len(content) < 4 || binary.BigEndian.Uint32(content) > 1<<31-1 {
		return 0, nil, errValue
	}
	return int(binary.BigEndian.Uint32(content)), content[4:], nil
}

func skipArray(code byte, content []byte, depth int) error {
	n, b, err := count(code, content)
	if err != nil || len(b) == 0 {
		return errValue
	}
	for b[0] == 0 { // the items are described, all in the same way
		if b, err = skip(b[1:], depth+1); err != nil {
			return err
		}
		if depth++; len(b) == 0 || depth > maxDepth {
			return errValue
		}
	}
	item := b[0]
	b = b[1:]
	if width(item) == 0 && n > len(content) { // a few bytes would become as many values as their reader has memory for
		return errValue
	}
	for range n {
		if b, err = skipAfter(item, b, depth+1); err != nil {
			return err
		}
	}
	if len(b) != 0 {
		return errValue
	}
	return nil
}

// contentOf returns the value of a section, behind its descriptor.
func contentOf(section []byte) ([]byte, error) {
	if len(section) == 0 || section[0] != 0 {
		return nil, errValue
	}
	return skip(section[1:], 0)
}

// itemsOf returns the count and the bytes of the items of a section that is a list or a map. null counts as empty.
func itemsOf(section []byte) (n int, items []byte, err error) {
	v, err := contentOf(section)
	if err != nil || len(v) == 0 {
		return 0, nil, errValue
	}
	switch v[0] {
	case 0x40, 0x45:
		return 0, nil, nil
	case 0xc0, 0xc1, 0xd0, 0xd1:
	default:
		return 0, nil, errValue
	}
	content, _, err := variable(v[0], v[1:])
	if err != nil {
		return 0, nil, err
	}
	return count(v[0], content)
}
