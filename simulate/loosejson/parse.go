package loosejson

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep arrays and objects may stand in each other.
const maxDepth = 64

// SyntaxError says where text stops being JSON. Lines and columns count from 1, columns in characters.
type SyntaxError struct {
	Line, Column int
	What         string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.What)
}

// Parse reads one value and nothing after it.
func Parse(text string) (Value, error) {
	if !utf8.ValidString(text) {
		text = string([]rune(text)) // U+FFFD for each wrong byte, as encoding/json has it
	}
	p := parser{text: strings.TrimPrefix(text, "\ufeff")}
	v := p.value(0)
	if p.space(); p.err == nil && p.at < len(p.text) {
		p.fail("something follows the end")
	}
	if p.err != nil {
		return Value{}, p.err
	}
	return v, nil
}

// parser stands at a place in the text; the first failure sticks and ends the text.
type parser struct {
	text string
	at   int
	err  error
}

func (p *parser) fail(what string) {
	if p.err != nil {
		return
	}
	before := p.text[:min(p.at, len(p.text))]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	p.err = &SyntaxError{line, column, what}
	p.at = len(p.text)
}

// peek is the next byte, 0 at the end; U+0000 stands in no JSON.
func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// space passes blanks and comments.
func (p *parser) space() {
	for p.at < len(p.text) {
		rest := p.text[p.at:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			p.at++
		case strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			p.at += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				p.fail("a comment has no end")
				return
			}
			p.at += n + 4
		default:
			return
		}
	}
}

func (p *parser) value(depth int) Value {
	p.space()
	switch c := p.peek(); {
	case depth > maxDepth:
		p.fail("arrays and objects stand too deep in each other")
	case c == '{' || c == '[':
		return p.members(depth, c == '{')
	case c == '"' || c == '\'':
		return Value{Kind: String, Text: p.quoted()}
	case p.err != nil:
	case p.at >= len(p.text):
		p.fail("it ends where a value was expected")
	default:
		return p.word()
	}
	return Value{}
}

// word reads a value without quotes: true, false, null or a number.
func (p *parser) word() Value {
	start := p.at
	name := p.bare()
	switch {
	case name == "true" || name == "false":
		return Value{Kind: Bool, Text: name}
	case name == "null":
		return Value{}
	case isNumber(name):
		return Value{Kind: Number, Text: name}
	}
	p.at = start
	p.fail("a value was expected: text stands in quotes")
	return Value{}
}

// bare reads up to the next sign that has a meaning.
func (p *parser) bare() string {
	start := p.at
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n,:{}[]\"'/", p.text[p.at]) < 0 {
		p.at++
	}
	return p.text[start:p.at]
}

func (p *parser) members(depth int, object bool) Value {
	v, end, what := Value{Kind: Array}, byte(']'), "an array"
	if object {
		v.Kind, end, what = Object, '}', "an object"
	}
	for p.at++; ; {
		if p.space(); p.err != nil {
			return v
		}
		if p.peek() == end {
			p.at++
			return v
		}
		var m Member
		if object {
			m.Name = p.name()
			if p.space(); p.err == nil && p.peek() != ':' {
				p.fail("a colon was expected after the name " + strconv.Quote(m.Name))
			}
			p.at++
		}
		m.Value = p.value(depth + 1)
		v.Members = append(v.Members, m)
		switch p.space(); {
		case p.err != nil:
			return v
		case p.peek() == ',':
			p.at++
		case p.peek() != end:
			p.fail("a comma or the end of " + what + " was expected")
		}
	}
}

func (p *parser) name() string {
	if c := p.peek(); c == '"' || c == '\'' {
		return p.quoted()
	}
	name := p.bare()
	if name == "" {
		p.fail("a name was expected")
	}
	return name
}

// quoted reads a string. Line breaks may stand in it.
func (p *parser) quoted() string {
	start, quote := p.at, p.text[p.at]
	p.at++
	for i := p.at; i < len(p.text); i++ { // nothing escaped: no copy
		if p.text[i] == quote {
			s := p.text[p.at:i]
			p.at = i + 1
			return s
		}
		if p.text[i] == '\\' {
			break
		}
	}
	var b strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch c {
		case quote:
			return b.String()
		case '\\':
			p.escape(&b)
		default:
			b.WriteByte(c)
		}
	}
	if p.err == nil {
		p.at = start
		p.fail("a text has no end")
	}
	return ""
}

func (p *parser) escape(b *strings.Builder) {
	c := p.peek()
	p.at++
	switch c {
	case '"', '\'', '\\', '/':
		b.WriteByte(c)
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'u':
		r := p.hex()
		if utf16.IsSurrogate(r) && strings.HasPrefix(p.text[min(p.at, len(p.text)):], `\u`) {
			p.at += 2
			r = utf16.DecodeRune(r, p.hex())
		}
		b.WriteRune(r) // a lone surrogate becomes U+FFFD
	default:
		p.at -= 2
		p.fail("an escape is not known")
	}
}

func (p *parser) hex() rune {
	if p.at+4 <= len(p.text) {
		if n, err := strconv.ParseUint(p.text[p.at:p.at+4], 16, 16); err == nil {
			p.at += 4
			return rune(n)
		}
	}
	p.fail("four hexadecimal digits were expected")
	return 0
}
