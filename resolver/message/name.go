package message

import (
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// MaxName is the longest name in wire form (RFC 1035 section 2.3.4).
const MaxName = 255

var errText = fault.New("message.AppendName", fault.Invalid, "it is no domain name").
	Advise("write labels of 1 to 63 bytes with dots between, 255 bytes in all")

// AppendName appends a name in wire form and lower case. The text may have its last dot or not; "." is the root; "\." and "\123"
// stand for bytes as in a zone file (RFC 1035 section 5.1).
func AppendName(dst []byte, text string) ([]byte, error) {
	start := len(dst)
	if text == "." {
		return append(dst, 0), nil
	}
	if text == "" {
		return dst, errText
	}
	length := len(dst) // where the present label's length stands
	dst = append(dst, 0)
	label := func() bool {
		n := len(dst) - length - 1
		if n < 1 || n > 63 {
			return false
		}
		dst[length] = byte(n)
		length = len(dst)
		dst = append(dst, 0)
		return true
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '.':
			if !label() {
				return dst[:start], errText
			}
			continue
		case c == '\\' && i+3 < len(text) && digits(text[i+1:i+4]):
			n := int(text[i+1]-'0')*100 + int(text[i+2]-'0')*10 + int(text[i+3]-'0')
			if n > 255 {
				return dst[:start], errText
			}
			c = byte(n)
			i += 3
		case c == '\\':
			i++
			if i == len(text) || '0' <= text[i] && text[i] <= '9' {
				return dst[:start], errText
			}
			c = text[i]
		}
		if len(dst)-start >= MaxName {
			return dst[:start], errText
		}
		dst = append(dst, lower(c))
	}
	if length != len(dst)-1 && !label() {
		return dst[:start], errText
	}
	if len(dst)-start > MaxName {
		return dst[:start], errText
	}
	return dst, nil
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c-'A' < 26 {
		c |= 0x20
	}
	return c
}

// Lower makes a name in wire form lower case, in place.
func Lower(name []byte) {
	for i, c := range name {
		name[i] = lower(c)
	}
}

// Text writes a whole name in wire form as zone files do, with its last dot. Bytes that do not print are escaped. A name that is cut
// is written as far as it goes.
func Text(name []byte) string {
	if len(name) == 0 || name[0] == 0 {
		return "."
	}
	var b strings.Builder
	for len(name) > 0 && name[0] != 0 {
		n := min(int(name[0]), len(name)-1)
		for _, c := range name[1 : 1+n] {
			switch {
			case c == '.' || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';' || c == '@' || c == '$':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c <= ' ' || c > '~':
				b.WriteByte('\\')
				b.WriteByte('0' + c/100)
				b.WriteByte('0' + c/10%10)
				b.WriteByte('0' + c%10)
			default:
				b.WriteByte(c)
			}
		}
		b.WriteByte('.')
		name = name[1+n:]
	}
	return b.String()
}

// skipName returns the offset behind a name that may end in a pointer, or -1.
func skipName(packet []byte, off int) int {
	for off >= 0 && off < len(packet) {
		switch n := int(packet[off]); {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			if off+2 > len(packet) {
				return -1
			}
			return off + 2
		case n > 63:
			return -1
		default:
			off += 1 + n
		}
	}
	return -1
}

// Expand appends the name at off, with its pointers followed and its spelling kept, and returns the offset behind it. ok is false, and
// dst as it was, for a name that is cut, longer than 255 bytes, or whose pointers do not lead backwards.
func Expand(dst, packet []byte, off int) (out []byte, next int, ok bool) {
	start, next := len(dst), -1
	for piece := off; ; { // a pointer must lead before the piece it stands in
		if off < 0 || off >= len(packet) {
			return dst[:start], 0, false
		}
		n := int(packet[off])
		switch {
		case n >= 0xc0:
			if off+2 > len(packet) {
				return dst[:start], 0, false
			}
			to := n&0x3f<<8 | int(packet[off+1])
			if next < 0 {
				next = off + 2
			}
			if to >= piece || to < HeaderSize {
				return dst[:start], 0, false
			}
			piece, off = to, to
			continue
		case n > 63 || off+1+n > len(packet) || len(dst)-start+1+n > MaxName:
			return dst[:start], 0, false
		}
		dst = append(dst, packet[off:off+1+n]...)
		off += 1 + n
		if n == 0 {
			if next < 0 {
				next = off
			}
			return dst, next, true
		}
	}
}
