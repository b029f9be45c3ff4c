package column

import (
	"strconv"
	"unicode/utf8"
)

// node is a member that some expressions name, and the members of it that others do.
type node struct {
	name    string
	slot    int // in found; -1 when no expression ends here
	members []node
}

// found is where a value stands in the body.
type found struct {
	from, to int32 // to is 0 when the member is not there
}

// maxDepth is how deep picking goes; what is deeper is left to the parser.
const maxDepth = 64

// picker reads a body once and notes where the members are that the tree names. It takes only bodies in which nothing is unusual, by the
// grammar of RFC 8259 and stricter; for others it gives up.
type picker struct {
	s     []byte
	at    int
	found []found
}

// pick returns false when the parser has to look at the body.
func (p *picker) pick(body []byte, tree []node, slots int) bool {
	p.s, p.at = body, 0
	p.found = append(p.found[:0], make([]found, slots)...)
	p.space()
	if !p.object(tree, 0) {
		return false
	}
	p.space()
	return p.at == len(p.s)
}

func (p *picker) space() {
	for p.at < len(p.s) {
		switch p.s[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *picker) next() byte {
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

func (p *picker) object(tree []node, depth int) bool {
	if p.next() != '{' || depth > maxDepth {
		return false
	}
	p.at++
	p.space()
	if p.next() == '}' {
		p.at++
		return true
	}
	for {
		from := p.at + 1
		if !p.text(false) {
			return false
		}
		name := p.s[from : p.at-1]
		p.space()
		if p.next() != ':' {
			return false
		}
		p.at++
		p.space()
		var n *node
		for i := range tree {
			if tree[i].name == string(name) {
				n = &tree[i]
				break
			}
		}
		if !p.member(n, depth) {
			return false
		}
		p.space()
		switch p.next() {
		case ',':
			p.at++
			p.space()
		case '}':
			p.at++
			return true
		default:
			return false
		}
	}
}

func (p *picker) member(n *node, depth int) bool {
	if n == nil {
		return p.value(depth)
	}
	if n.slot >= 0 && p.found[n.slot].to != 0 { // twice in one object: which one counts is the parser's business
		return false
	}
	from := p.at
	switch {
	case len(n.members) == 0:
		if !p.value(depth) {
			return false
		}
	case p.next() == '{':
		if p.any(n.members) || !p.object(n.members, depth+1) {
			return false
		}
	default:
		return false
	}
	if n.slot >= 0 {
		p.found[n.slot] = found{int32(from), int32(p.at)}
	}
	return true
}

// any tells whether a member of the tree was found already.
func (p *picker) any(tree []node) bool {
	for i := range tree {
		if tree[i].slot >= 0 && p.found[tree[i].slot].to != 0 || p.any(tree[i].members) {
			return true
		}
	}
	return false
}

func (p *picker) value(depth int) bool {
	switch c := p.next(); c {
	case '"':
		return p.text(true)
	case '{':
		return p.object(nil, depth+1)
	case '[':
		return p.array(depth + 1)
	case 't':
		return p.literal("true")
	case 'f':
		return p.literal("false")
	case 'n':
		return p.literal("null")
	default:
		return p.number()
	}
}

func (p *picker) array(depth int) bool {
	if depth > maxDepth {
		return false
	}
	p.at++
	p.space()
	if p.next() == ']' {
		p.at++
		return true
	}
	for {
		if !p.value(depth) {
			return false
		}
		p.space()
		switch p.next() {
		case ',':
			p.at++
			p.space()
		case ']':
			p.at++
			return true
		default:
			return false
		}
	}
}

// text passes a string. Escapes are for the parser unless the string may be passed over.
func (p *picker) text(escapes bool) bool {
	if p.next() != '"' {
		return false
	}
	s := p.s
	for i := p.at + 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			p.at = i + 1
			return true
		case c == '\\':
			if !escapes || i+1 >= len(s) {
				return false
			}
			i++
			switch s[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(s) {
					return false
				}
				if _, err := strconv.ParseUint(string(s[i+1:i+5]), 16, 16); err != nil {
					return false
				}
				i += 4
			default:
				return false
			}
		case c < 0x20:
			return false
		}
	}
	return false
}

func (p *picker) literal(word string) bool {
	if len(p.s)-p.at < len(word) || string(p.s[p.at:p.at+len(word)]) != word {
		return false
	}
	p.at += len(word)
	return true
}

func (p *picker) digits() bool {
	from := p.at
	for p.at < len(p.s) && p.s[p.at]-'0' < 10 {
		p.at++
	}
	return p.at > from
}

func (p *picker) number() bool {
	if p.next() == '-' {
		p.at++
	}
	if p.next() == '0' {
		p.at++
	} else if !p.digits() {
		return false
	}
	if p.next() == '.' {
		p.at++
		if !p.digits() {
			return false
		}
	}
	if c := p.next(); c == 'e' || c == 'E' {
		p.at++
		if c := p.next(); c == '+' || c == '-' {
			p.at++
		}
		return p.digits()
	}
	return true
}

// read makes a value of what was found; ok is false when the parser has to.
func (p *picker) read(slot int) (v Value, ok bool, err error) {
	f := p.found[slot]
	if f.to == 0 {
		return Value{}, true, nil
	}
	s := p.s[f.from:f.to]
	switch s[0] {
	case 'n':
		return Value{}, true, nil
	case 't', 'f':
		return truth(s[0] == 't'), true, nil
	case '{', '[':
		return Value{}, false, nil
	case '"':
		s = s[1 : len(s)-1]
		for _, c := range s {
			if c == '\\' || c >= utf8.RuneSelf {
				return Value{}, false, nil
			}
		}
		return Value{Kind: Text, Text: string(s)}, true, nil
	}
	if n, whole := small(s); whole {
		return Integer(n), true, nil
	}
	v, err = parseNumber(string(s))
	return v, true, err
}

// small reads an integer of at most 18 digits.
func small(s []byte) (n int64, ok bool) {
	minus := s[0] == '-'
	if minus {
		s = s[1:]
	}
	if len(s) > 18 {
		return 0, false
	}
	for _, c := range s {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if minus {
		n = -n
	}
	return n, true
}
