package twin

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Sizes of scalars as IoT Hub counts them (device twin size).
const (
	numberSize = 8
	boolSize   = 4
)

// scalar reads a string, number, truth value or null that begins with c, and returns its canonical text and its size.
func (r *reader) scalar(c byte) (string, int, error) {
	switch {
	case c == '"':
		from := r.at
		s, err := r.text()
		if err != nil {
			return "", 0, err
		}
		if len(s) > MaxString && !r.loose {
			return "", 0, r.wrong("the string has %d bytes, %d are allowed", len(s), MaxString)
		}
		if raw := r.in[from:r.at]; len(raw) == len(s)+2 { // nothing was escaped
			return raw, counted(s), nil
		}
		return string(appendQuoted(nil, s)), counted(s), nil
	case c == '-' || c >= '0' && c <= '9':
		text, err := r.number()
		return text, numberSize, err
	}
	for _, w := range [...]struct {
		text string
		size int
	}{{"null", 0}, {"true", boolSize}, {"false", boolSize}} {
		if strings.HasPrefix(r.in[r.at:], w.text) {
			r.at += len(w.text)
			return w.text, w.size, nil
		}
	}
	return "", 0, r.syntax("a value")
}

// counted is the size of a string: its bytes without those of control characters, C0 and C1.
func counted(s string) int {
	n := len(s)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			n--
		case c == 0xc2 && i+1 < len(s) && s[i+1] < 0xa0:
			n -= 2
		}
	}
	return n
}

// text reads a string and returns what it means; r.at is at the opening quote.
func (r *reader) text() (string, error) {
	r.at++
	from := r.at
	for i := from; i < len(r.in); i++ {
		switch c := r.in[i]; {
		case c == '"':
			r.at = i + 1
			return r.in[from:i], nil
		case c == '\\':
			return r.escaped(from, i)
		case c < ' ':
			r.at = i
			return "", r.syntax("no control character")
		}
	}
	r.at = len(r.in)
	return "", r.syntax("a closing quote")
}

// escaped reads a string on from its first backslash.
func (r *reader) escaped(from, i int) (string, error) {
	out := append(make([]byte, 0, 64), r.in[from:i]...)
	for i < len(r.in) {
		switch c := r.in[i]; {
		case c == '"':
			r.at = i + 1
			return string(out), nil
		case c < ' ':
			r.at = i
			return "", r.syntax("no control character")
		case c != '\\':
			out = append(out, c)
			i++
		default:
			char, length := unescape(r.in[i:])
			if length == 0 {
				r.at = i
				return "", r.syntax("an escape that JSON has, of a character that Unicode has")
			}
			if char == 0 {
				return "", r.wrong("a string may not hold the character U+0000")
			}
			out = utf8.AppendRune(out, char)
			i += length
		}
	}
	r.at = len(r.in)
	return "", r.syntax("a closing quote")
}

// unescape reads what follows a backslash; the length is 0 when it is no escape, or half of a surrogate pair.
func unescape(s string) (rune, int) {
	if len(s) < 2 {
		return 0, 0
	}
	if i := strings.IndexByte(`"\/bfnrt`, s[1]); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), 2
	}
	first, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(first) {
		return first, 6
	}
	second, ok := hex4(s[6:])
	if whole := utf16.DecodeRune(first, second); ok && whole != utf8.RuneError {
		return whole, 12
	}
	return 0, 0
}

func hex4(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var v rune
	for i := 2; i < 6; i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | rune(c)
	}
	return v, true
}

// appendQuoted writes a string in the one way we write it: only what must be escaped is.
func appendQuoted(out []byte, s string) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		out = append(out, s[from:i]...)
		from = i + 1
		if short := strings.IndexByte("\"\\\b\f\n\r\t", c); short >= 0 {
			out = append(out, '\\', `"\bfnrt`[short])
		} else {
			out = append(out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(append(out, s[from:]...), '"')
}

// number reads a number (RFC 8259 section 6) and returns it as it was written.
func (r *reader) number() (string, error) {
	from, i := r.at, r.at
	digits := func() bool {
		begin := i
		for i < len(r.in) && r.in[i] >= '0' && r.in[i] <= '9' {
			i++
		}
		return i > begin
	}
	is := func(set string) bool {
		if i < len(r.in) && strings.IndexByte(set, r.in[i]) >= 0 {
			i++
			return true
		}
		return false
	}
	is("-")
	whole := true
	ok := is("0") || digits()
	if ok && is(".") {
		whole, ok = false, digits()
	}
	if ok && is("eE") {
		is("+-")
		whole, ok = false, digits()
	}
	text := r.in[from:i]
	if r.at = i; !ok {
		return "", r.syntax("a digit")
	}
	if r.loose {
		return text, nil
	}
	if whole {
		if v, err := strconv.ParseInt(text, 10, 64); err != nil || v < MinInteger || v > MaxInteger {
			return "", r.wrong("the integer is not between %d and %d", int64(MinInteger), int64(MaxInteger))
		}
	} else if len(text) > maxNumber {
		return "", r.wrong("the number is written with %d characters, %d are allowed", len(text), maxNumber)
	} else if _, err := strconv.ParseFloat(text, 64); err != nil {
		return "", r.wrong("the number does not fit into 64 bits")
	}
	return text, nil
}

// maxNumber bounds how a number that is no integer may be written: no program writes more digits of a float64 than 17, but some write
// zeros.
const maxNumber = 64
