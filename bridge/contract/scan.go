package contract

import (
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of a body that is read.
const (
	maxBody  = 16 << 20
	maxDepth = 128
)

// broken is what is wrong with an event, in words without anything of it.
type broken string

func (b broken) Error() string { return string(b) }

const (
	noJSON  = broken("the body is no JSON")
	noText  = broken("the body is not in UTF-8")
	twice   = broken("the body has one name twice in an object")
	tooDeep = broken("the body is nested too deep: 128 values in one another is the limit")
	tooLong = broken("the body is larger than 16 MiB")
	halves  = broken("the body has half a surrogate pair")
)

// reader reads JSON from the front. Callers have made sure that in is UTF-8.
type reader struct {
	in  []byte
	pos int
}

// next skips white space and returns the byte after it, 0 at the end.
func (r *reader) next() byte {
	for r.pos < len(r.in) {
		switch c := r.in[r.pos]; c {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return c
		}
	}
	return 0
}

// plainByte tells what may stand in a text as it is.
var plainByte = func() (t [256]bool) {
	for c := 0x20; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// text reads a string and returns what is between its quotation marks, and whether that has escapes.
func (r *reader) text() (raw []byte, escaped bool, err error) {
	in := r.in
	start := r.pos + 1
	for i := start; i < len(in); i++ {
		c := in[i]
		if plainByte[c] {
			continue
		}
		switch {
		case c == '"':
			r.pos = i + 1
			return in[start:i], escaped, nil
		case c != '\\' || i+1 >= len(in):
			return nil, false, noJSON
		}
		escaped = true
		i++
		switch in[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			u, ok := hex4(in[i+1:])
			if !ok {
				return nil, false, noJSON
			}
			i += 4
			if utf16.IsSurrogate(u) {
				if i+2 >= len(in) || in[i+1] != '\\' || in[i+2] != 'u' {
					return nil, false, halves
				}
				v, ok := hex4(in[i+3:])
				if !ok {
					return nil, false, noJSON
				}
				if utf16.DecodeRune(u, v) == utf8.RuneError {
					return nil, false, halves
				}
				i += 6
			}
		default:
			return nil, false, noJSON
		}
	}
	return nil, false, noJSON
}

func hex4(b []byte) (u rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			u = u<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			u = u<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return u, true
}

// unescape appends what a string says, given what text returned.
func unescape(to, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			to = append(to, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			to = append(to, '\b')
		case 'f':
			to = append(to, '\f')
		case 'n':
			to = append(to, '\n')
		case 'r':
			to = append(to, '\r')
		case 't':
			to = append(to, '\t')
		case 'u':
			u, _ := hex4(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(u) {
				v, _ := hex4(raw[i+3:])
				u = utf16.DecodeRune(u, v)
				i += 6
			}
			to = utf8.AppendRune(to, u)
		default:
			to = append(to, raw[i])
		}
	}
	return to
}

// appendText appends a text as JSON, the same text always in the same form: escaped is only what must be.
func appendText[T string | []byte](to []byte, s T) []byte {
	const hex = "0123456789abcdef"
	to = append(to, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c < 0x20:
			to = append(to, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			to = append(to, c)
		}
	}
	return append(to, '"')
}

// scalar reads a value that is no object and no array. value is a number's digits, or what is between a text's quotation marks.
func (r *reader) scalar() (k kind, value []byte, escaped bool, err error) {
	switch c := r.next(); {
	case c == '"':
		value, escaped, err = r.text()
		return text, value, escaped, err
	case c == 't':
		return boolean, nil, false, r.word("true")
	case c == 'f':
		return boolean, nil, false, r.word("false")
	case c == 'n':
		return null, nil, false, r.word("null")
	case c == '-' || c >= '0' && c <= '9':
		value, err = r.number()
		return number, value, false, err
	}
	return 0, nil, false, noJSON
}

func (r *reader) word(w string) error {
	if len(r.in)-r.pos < len(w) || string(r.in[r.pos:r.pos+len(w)]) != w {
		return noJSON
	}
	r.pos += len(w)
	return nil
}

// number reads what RFC 8259 section 6 calls one.
func (r *reader) number() ([]byte, error) {
	in, i := r.in, r.pos
	digits := func() bool {
		from := i
		for i < len(in) && in[i] >= '0' && in[i] <= '9' {
			i++
		}
		return i > from
	}
	if in[i] == '-' {
		i++
	}
	switch {
	case i < len(in) && in[i] == '0':
		i++
	case !digits():
		return nil, noJSON
	}
	if i < len(in) && in[i] == '.' {
		i++
		if !digits() {
			return nil, noJSON
		}
	}
	if i < len(in) && in[i]|0x20 == 'e' {
		i++
		if i < len(in) && (in[i] == '+' || in[i] == '-') {
			i++
		}
		if !digits() {
			return nil, noJSON
		}
	}
	s := in[r.pos:i]
	r.pos = i
	return s, nil
}
