package contract

import "bytes"

// value reads the value at which active[lo:] has arrived, and tells whether it was written in its place.
func (s *scratch) value(lo int, r *rule, h how) (wrote bool, err error) {
	hi := len(s.active)
	saved := len(s.saved)
	for _, n := range s.active[lo:hi] {
		for _, i := range n.each {
			s.saved = append(s.saved, s.seen[i])
		}
		if n.rule != nil {
			s.seen[n.rule.index]++
		}
	}
	c := s.next()
	compound := c == '{' || c == '['
	switch {
	case r == nil && compound:
		if hi == lo && !h.all {
			h.write = false // for what is unlisted and for no more
		}
		wrote, err = s.container(lo, hi, h)
	case r == nil:
		wrote, err = s.unlisted(h)
	case !r.drop:
		wrote, err = s.cross(lo, hi, r, h, compound)
	case compound:
		wrote, err = s.container(lo, hi, how{write: h.write, identity: h.identity, listed: true})
	default:
		_, _, _, err = s.scalar()
	}
	if err == nil && len(s.saved) > saved {
		err = s.complete(lo, hi, saved)
	}
	return wrote, err
}

// complete checks that a value that a * stands for has what is required of each, given what was seen before.
func (s *scratch) complete(lo, hi, saved int) error {
	at := saved
	for _, n := range s.active[lo:hi] {
		for _, i := range n.each {
			if s.seen[i] == s.saved[at] {
				return broken(s.m.rules[i].said + " is missing")
			}
			at++
		}
	}
	s.saved = s.saved[:saved]
	return nil
}

// unlisted reads a single value that has no rule of its own.
func (s *scratch) unlisted(h how) (wrote bool, err error) {
	start := s.pos
	if _, _, _, err := s.scalar(); err != nil {
		return false, err
	}
	switch {
	case h.all:
		s.bufs[s.nest] = append(s.bufs[s.nest], s.in[start:s.pos]...)
		return true, nil
	case !h.listed && s.m.strict:
		return false, broken("the body has a field that is not listed")
	}
	return false, nil
}

// cross writes a value that may cross: in its place, or where its rule says.
func (s *scratch) cross(lo, hi int, r *rule, h how, compound bool) (inPlace bool, err error) {
	inPlace = h.write && h.identity && (r.identity || r.local != nil && s.m.stream)
	if !inPlace && h.write { // the value around it is being written to this buffer
		s.nest++
		defer func() { s.nest-- }()
		if s.nest == len(s.bufs) {
			s.bufs = append(s.bufs, nil)
		}
	}
	from := len(s.bufs[s.nest])
	switch {
	case compound && r.scalar():
		return false, broken(r.said + " " + r.judge(container, nil))
	case compound && r.hash:
		err = s.hashContainer()
	case compound:
		_, err = s.container(lo, hi, how{write: true, all: true, identity: r.identity, listed: true})
	default:
		err = s.single(r)
	}
	if err == nil && !inPlace {
		err = s.out.place(s, r, from)
	}
	return inPlace, err
}

// single writes a value that is no object and no array.
func (s *scratch) single(r *rule) error {
	start := s.pos
	k, value, escaped, err := s.scalar()
	if err != nil {
		return err
	}
	if escaped && (r.hash || r.kind == text) {
		s.tmp = unescape(s.tmp[:0], value)
		value = s.tmp
	}
	if words := r.judge(k, value); words != "" {
		return broken(r.said + " " + words)
	}
	if !r.hash {
		s.bufs[s.nest] = append(s.bufs[s.nest], s.in[start:s.pos]...)
		return nil
	}
	if k == boolean {
		value = s.in[start:s.pos]
	}
	s.bufs[s.nest] = append(s.appendHash(append(s.bufs[s.nest], '"'), k, value), '"')
	return nil
}

// hashContainer writes the hash of an object or an array.
func (s *scratch) hashContainer() error {
	canonical, err := s.canonical(nil)
	if err != nil {
		return err
	}
	s.bufs[s.nest] = append(s.appendHash(append(s.bufs[s.nest], '"'), container, canonical), '"')
	return nil
}

// canonical reads a value and appends the one form that equal values share.
func (s *scratch) canonical(to []byte) ([]byte, error) {
	switch s.next() {
	case '{':
		return s.canonicalObject(to)
	case '[':
		if s.depth++; s.depth > maxDepth {
			return nil, tooDeep
		}
		s.pos++
		to = append(to, '[')
		if s.next() == ']' {
			s.pos++
			s.depth--
			return append(to, ']'), nil
		}
		for {
			var err error
			if to, err = s.canonical(to); err != nil {
				return nil, err
			}
			c := s.next()
			s.pos++
			if c == ']' {
				s.depth--
				return append(to, ']'), nil
			}
			if c != ',' {
				return nil, noJSON
			}
			to = append(to, ',')
		}
	}
	start := s.pos
	k, value, escaped, err := s.scalar()
	switch {
	case err != nil:
		return nil, err
	case k == text && escaped:
		return appendText(to, unescape(nil, value)), nil
	case k == number:
		s.number.read(value)
		return s.number.append(to), nil
	}
	return append(to, s.in[start:s.pos]...), nil
}

func (s *scratch) canonicalObject(to []byte) ([]byte, error) {
	if s.depth++; s.depth > maxDepth {
		return nil, tooDeep
	}
	s.pos++
	var members []member
	if s.next() == '}' {
		s.pos++
	} else {
		for {
			if s.next() != '"' {
				return nil, noJSON
			}
			raw, escaped, err := s.text()
			if err != nil {
				return nil, err
			}
			if escaped {
				raw = unescape(nil, raw)
			}
			if s.next() != ':' {
				return nil, noJSON
			}
			s.pos++
			value, err := s.canonical(nil)
			if err != nil {
				return nil, err
			}
			members = append(members, member{raw, value})
			c := s.next()
			s.pos++
			if c == '}' {
				break
			}
			if c != ',' {
				return nil, noJSON
			}
		}
	}
	s.depth--
	if !sortMembers(members) {
		return nil, twice
	}
	to = append(to, '{')
	for i, m := range members {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(append(appendText(to, m.name), ':'), m.value...)
	}
	return append(to, '}'), nil
}

func (m member) compare(o member) int { return bytes.Compare(m.name, o.name) }
