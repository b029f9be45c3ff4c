package httpdoor

import (
	"strings"
	"unicode/utf8"
)

// plainText reads the value of a header. SDKs write texts as ISO 8859-1, as headers were once defined (RFC 7230, 3.2.4), others as UTF-8.
func plainText(v string) string {
	if utf8.ValidString(v) {
		return v
	}
	out := make([]rune, len(v))
	for i := range len(v) {
		out[i] = rune(v[i])
	}
	return string(out)
}

// headerText writes a text as the value of a header: as ISO 8859-1, which is how SDKs read it, when it can be, otherwise as UTF-8. What no
// header can hold becomes a space.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	ascii := true
	for _, r := range s {
		if r > 0xff {
			return s
		}
		ascii = ascii && r < 0x80
	}
	if ascii {
		return s
	}
	out := make([]byte, 0, len(s))
	for _, r := range s {
		out = append(out, byte(r))
	}
	return string(out)
}
