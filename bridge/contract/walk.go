package contract

import (
	"bytes"
	"hash"
	"unicode/utf8"
)

// scratch is what one event at a time is worked on with.
type scratch struct {
	reader
	mac hash.Hash
	m   *messageType

	bufs   [][]byte // what is written; a value that leaves the one it stands in goes to the next
	nest   int      // which of bufs is written to
	active []*node  // a stack: where in the tree of paths the values that are open have arrived
	path   []part   // a stack: where in the body they are; only if fields change their place
	keys   [][]byte // a stack: the names of the objects that are open
	seen   []int32  // how often each rule has met a value
	saved  []int32  // a stack: seen, as it was when a value began that must have something
	depth  int
	tmp    []byte
	number decimal
	out    tree
}

// part is a name or an index on the way to a value.
type part struct {
	name    []byte // between its quotation marks; nil in arrays
	escaped bool
	index   int
}

// how says what is to become of values.
type how struct {
	write    bool // what crosses in its place goes to the buffer
	all      bool // a rule further up lets cross what has no rule of its own; write holds then
	identity bool // the place in the buffer is the place that the path says
	listed   bool // a rule further up has said something about it
}

// body makes the outgoing body.
func (s *scratch) body(m *messageType, in []byte) ([]byte, error) {
	s.begin(m, in)
	switch {
	case len(in) > maxBody:
		return nil, tooLong
	case !utf8.Valid(in):
		return nil, noText
	case s.next() != '{':
		return nil, broken("the body is no JSON object")
	}
	s.active = append(s.active, m.root)
	wrote, err := s.object(0, 1, how{write: m.stream, identity: m.stream})
	if err != nil {
		return nil, err
	}
	if s.next(); s.pos < len(in) {
		return nil, noJSON
	}
	for _, r := range m.rules {
		if r.required && s.seen[r.index] == 0 {
			return nil, broken(r.said + " is missing")
		}
	}
	switch {
	case !m.stream:
		return s.out.write(s), nil
	case !wrote:
		return []byte("{}"), nil
	}
	return bytes.Clone(s.bufs[0]), nil
}

func (s *scratch) begin(m *messageType, in []byte) {
	s.m, s.in, s.pos, s.depth, s.nest = m, in, 0, 0, 0
	s.active, s.path, s.keys, s.saved = s.active[:0], s.path[:0], s.keys[:0], s.saved[:0]
	if len(s.bufs) == 0 {
		s.bufs = append(s.bufs, nil)
	}
	for i := range s.bufs {
		s.bufs[i] = s.bufs[i][:0]
	}
	if cap(s.seen) < len(m.rules) {
		s.seen = make([]int32, len(m.rules))
	}
	s.seen = s.seen[:len(m.rules)]
	clear(s.seen)
	s.out.begin()
}

// maxKept is how much of a buffer is kept for the next event.
const maxKept = 1 << 20

// end lets go of the event.
func (s *scratch) end() {
	s.in = nil
	clear(s.keys[:cap(s.keys)])
	clear(s.path[:cap(s.path)])
	clear(s.active[:cap(s.active)])
	s.out.end()
	for i := range s.bufs {
		if cap(s.bufs[i]) > maxKept {
			s.bufs[i] = nil
		}
	}
	if cap(s.tmp) > maxKept {
		s.tmp = nil
	}
	if cap(s.number.digits) > maxKept {
		s.number.digits = nil
	}
	if cap(s.keys) > maxKept/16 {
		s.keys = nil
	}
}

// container reads an object or an array, of which active[lo:hi] is the place in the tree of paths.
func (s *scratch) container(lo, hi int, h how) (wrote bool, err error) {
	if s.in[s.pos] == '{' {
		return s.object(lo, hi, h)
	}
	return s.array(lo, hi, h)
}

func (s *scratch) object(lo, hi int, h how) (wrote bool, err error) {
	if s.depth++; s.depth > maxDepth {
		return false, tooDeep
	}
	s.pos++
	var start int
	if h.write {
		start = s.put('{')
	}
	keys, wrote := len(s.keys), h.all
	var many map[string]struct{}
	if s.next() == '}' {
		s.pos++
	} else {
		for any := false; ; {
			if s.next() != '"' {
				return false, noJSON
			}
			raw, escaped, err := s.text()
			if err != nil {
				return false, err
			}
			name := raw
			if escaped {
				name = unescape(nil, raw)
			}
			if !s.once(keys, name, &many) {
				return false, twice
			}
			if s.next() != ':' {
				return false, noJSON
			}
			s.pos++
			from := len(s.active)
			for _, n := range s.active[lo:hi] {
				if c := n.child(name); c != nil {
					s.active = append(s.active, c)
				}
				if n.star != nil {
					s.active = append(s.active, n.star)
				}
			}
			r := pick(s.active[from:])
			if !s.m.stream {
				s.path = append(s.path, part{name: raw, escaped: escaped})
			}
			mark := 0
			if h.write {
				mark = s.putKey(any, r, h, raw)
			}
			w, err := s.value(from, r, h)
			if err != nil {
				return false, err
			}
			if h.write && !w {
				s.bufs[s.nest] = s.bufs[s.nest][:mark]
			}
			any = any || w
			s.active = s.active[:from]
			if !s.m.stream {
				s.path = s.path[:len(s.path)-1]
			}
			c := s.next()
			s.pos++
			if c == '}' {
				wrote = wrote || any
				break
			}
			if c != ',' {
				return false, noJSON
			}
		}
	}
	s.keys = s.keys[:keys]
	s.depth--
	s.finish(h, wrote, start, '}')
	return wrote && h.write, nil
}

func (s *scratch) array(lo, hi int, h how) (wrote bool, err error) {
	if s.depth++; s.depth > maxDepth {
		return false, tooDeep
	}
	s.pos++
	var start int
	if h.write {
		start = s.put('[')
	}
	wrote = h.all
	if s.next() == ']' {
		s.pos++
	} else {
		any := false
		for index := 0; ; index++ {
			from := len(s.active)
			for _, n := range s.active[lo:hi] {
				if n.star != nil {
					s.active = append(s.active, n.star)
				}
			}
			r := pick(s.active[from:])
			if !s.m.stream {
				s.path = append(s.path, part{index: index})
			}
			mark := 0
			if h.write {
				mark = len(s.bufs[s.nest])
				if any {
					s.put(',')
				}
			}
			w, err := s.value(from, r, h)
			if err != nil {
				return false, err
			}
			if h.write && !w {
				s.bufs[s.nest] = s.bufs[s.nest][:mark]
			}
			any = any || w
			s.active = s.active[:from]
			if !s.m.stream {
				s.path = s.path[:len(s.path)-1]
			}
			c := s.next()
			s.pos++
			if c == ']' {
				wrote = wrote || any
				break
			}
			if c != ',' {
				return false, noJSON
			}
		}
	}
	s.depth--
	s.finish(h, wrote, start, ']')
	return wrote && h.write, nil
}

// put writes one byte and returns where.
func (s *scratch) put(c byte) int {
	b := s.bufs[s.nest]
	s.bufs[s.nest] = append(b, c)
	return len(b)
}

func (s *scratch) putKey(more bool, r *rule, h how, raw []byte) (mark int) {
	b := s.bufs[s.nest]
	mark = len(b)
	if more {
		b = append(b, ',')
	}
	if r != nil && r.local != nil && s.m.stream && !r.drop {
		b = append(b, r.local...)
	} else {
		b = append(append(append(b, '"'), raw...), '"', ':')
	}
	s.bufs[s.nest] = b
	return mark
}

// finish writes the end of a container, or takes back its beginning when there is nothing in it that crosses.
func (s *scratch) finish(h how, wrote bool, start int, end byte) {
	switch {
	case !h.write:
	case wrote:
		s.put(end)
	default:
		s.bufs[s.nest] = s.bufs[s.nest][:start]
	}
}

// maxLook is up to how many names of an object are compared one by one.
const maxLook = 32

// once notes a name of the object whose names begin at keys[from], and tells whether it is new there.
func (s *scratch) once(from int, name []byte, many *map[string]struct{}) bool {
	if *many != nil {
		if _, there := (*many)[string(name)]; there {
			return false
		}
		(*many)[string(name)] = struct{}{}
		return true
	}
	for _, k := range s.keys[from:] {
		if len(k) == len(name) && string(k) == string(name) {
			return false
		}
	}
	s.keys = append(s.keys, name)
	if len(s.keys)-from > maxLook {
		*many = make(map[string]struct{}, 2*maxLook)
		for _, k := range s.keys[from:] {
			(*many)[string(k)] = struct{}{}
		}
	}
	return true
}
