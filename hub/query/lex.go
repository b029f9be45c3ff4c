package query

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
)

type sort uint8

const (
	end     sort = iota
	name         // of a property, a function, a keyword
	text         // a string literal; token.text is what it means
	number       // a number literal
	bracket      // [[...]]: token.text is what is between
	brace        // {...}: likewise
	symbol       // an operator or punctuation
)

type token struct {
	sort   sort
	text   string
	number float64
	at     int // byte of the text where it begins
}

// lexer cuts a text into tokens, one ahead of the parser.
type lexer struct {
	op   string // for errors
	text string
	next int // the first byte that is in no token yet
	last token
}

// fail says what is wrong at a byte of the text. Positions are told in characters, from 1, for people count those.
func (l *lexer) fail(at int, format string, args ...any) *fault.Error {
	where := utf8.RuneCountInString(l.text[:min(at, len(l.text))]) + 1
	return fault.Newf(l.op, fault.Invalid, "at character %d of the query: %s", where, fmt.Sprintf(format, args...))
}

func (l *lexer) scan() (token, error) {
	afterDot := l.last.sort == symbol && l.last.text == "."
	afterName := l.last.sort == name
	for l.next < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.next]) >= 0 {
		l.next++
	}
	t := token{at: l.next}
	var err error
	rest := l.text[l.next:]
	switch r, _ := utf8.DecodeRuneInString(rest); {
	case rest == "":
	case r == '\'' || r == '"':
		t.sort = text
		t.text, err = l.quoted(byte(r))
	case strings.HasPrefix(rest, "[["):
		t.sort = bracket
		t.text, err = l.enclosed("[[", "]]")
	case r == '{':
		t.sort = brace
		t.text, err = l.enclosed("{", "}")
	case begins(r) || afterDot && r >= '0' && r <= '9':
		t.sort = name
		t.text = rest[:nameLength(rest, !afterDot)]
		l.next += len(t.text)
	case r >= '0' && r <= '9':
		t.sort = number
		t.number, err = l.numeral()
	default:
		t.sort = symbol
		t.text, err = l.punctuation(rest, afterName)
	}
	l.last = t
	return t, err
}

func begins(r rune) bool { return r == '_' || r == '$' || r == '@' || unicode.IsLetter(r) }

// nameLength measures a name. One that begins a path with $ may have a hyphen before a letter, as the system property $dt-subject.
func nameLength(s string, first bool) int {
	hyphens := first && s[0] == '$'
	for i, r := range s {
		if begins(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r) {
			continue
		}
		if r == '-' && hyphens && i+1 < len(s) {
			if next, _ := utf8.DecodeRuneInString(s[i+1:]); unicode.IsLetter(next) {
				continue
			}
		}
		return i
	}
	return len(s)
}

func (l *lexer) enclosed(open, shut string) (string, error) {
	inside, _, found := strings.Cut(l.text[l.next+len(open):], shut)
	if !found {
		return "", l.fail(l.next, "%s is not closed by %s", open, shut)
	}
	if strings.TrimSpace(inside) == "" {
		return "", l.fail(l.next, "there is no name between %s and %s", open, shut)
	}
	l.next += len(open) + len(inside) + len(shut)
	return inside, nil
}

// quoted reads a string literal. The quote itself stands in it after a backslash, or twice as in SQL.
func (l *lexer) quoted(quote byte) (string, error) {
	var b strings.Builder
	s, start := l.text, l.next
	for i := start + 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote && i+1 < len(s) && s[i+1] == quote:
			b.WriteByte(quote)
			i++
		case c == quote:
			l.next = i + 1
			return b.String(), nil
		case c == '\\':
			r, n := escape(s[i+1:])
			if n == 0 {
				return "", l.fail(i, `a backslash must be followed by ' " \ / b f n r t or uXXXX`)
			}
			if r == 0 {
				return "", l.fail(i, "a string cannot hold a zero character")
			}
			b.WriteRune(r)
			i += n
		default:
			b.WriteByte(c)
		}
	}
	return "", l.fail(start, "the string is not closed by %c", quote)
}

// escape reads what follows a backslash, and returns how many bytes that was, 0 for nothing known.
func escape(s string) (rune, int) {
	if s == "" {
		return 0, 0
	}
	if i := strings.IndexByte(`'"\/bfnrt`, s[0]); i >= 0 {
		return rune("'\"\\/\b\f\n\r\t"[i]), 1
	}
	r, ok := unicodeEscape(s)
	if !ok {
		return 0, 0
	}
	if r < 0xd800 || r > 0xdfff {
		return r, 5
	}
	// A pair of surrogates is one character; half a pair is none, and means what it means to encoding/json.
	if low, ok := unicodeEscape(strings.TrimPrefix(s[5:], `\`)); ok && s[5] == '\\' && r < 0xdc00 && low >= 0xdc00 && low <= 0xdfff {
		return (r-0xd800)<<10 | (low - 0xdc00) + 0x10000, 11
	}
	return utf8.RuneError, 5
}

func unicodeEscape(s string) (rune, bool) {
	if len(s) < 5 || s[0] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[1:5], 16, 32)
	return rune(n), err == nil
}

// numeral reads a number without its sign: decimal, or hexadecimal after 0x.
func (l *lexer) numeral() (float64, error) {
	s := l.text[l.next:]
	n := 1
	for n < len(s) && (isAlphanumeric(s[n]) || s[n] == '.' || (s[n] == '+' || s[n] == '-') && (s[n-1]|0x20) == 'e' && !isHexadecimal(s)) {
		n++
	}
	v, err := strconv.ParseFloat(s[:n], 64)
	if isHexadecimal(s) {
		var u uint64
		u, err = strconv.ParseUint(s[2:n], 16, 64)
		v = float64(u)
	}
	if err != nil || math.IsInf(v, 0) || strings.ContainsAny(s[:n], "_pP") || s[n-1] == '.' {
		return 0, l.fail(l.next, "%.40q is no number that can be read", s[:n])
	}
	l.next += n
	return v, nil
}

func isHexadecimal(s string) bool { return len(s) > 1 && s[0] == '0' && s[1]|0x20 == 'x' }

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
}

func (l *lexer) punctuation(rest string, afterName bool) (string, error) {
	for _, s := range []string{"==", "!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "+", "-", "*", "/", "%"} {
		if strings.HasPrefix(rest, s) && s != "==" {
			l.next += len(s)
			return s, nil
		} else if strings.HasPrefix(rest, s) {
			break
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	err := l.fail(l.next, "%q means nothing here", r)
	switch {
	case strings.ContainsRune("=&|!", r):
		err = err.Advise("operators are = != < > <= >= AND OR NOT IN NIN")
	case r == ';':
		err = err.Advise("leave the semicolon out: a query is one statement")
	case afterName:
		err = err.Advise("a property with other characters in its name is written in brackets, as in tags.['my property']")
	}
	return "", err
}
