package clienthello

import (
	"encoding/binary"
	"errors"
)

// ErrIncomplete is what Parse returns while more bytes are needed.
var ErrIncomplete = errors.New("clienthello: not whole yet")

// Hello is what a client says before it is answered.
type Hello struct {
	ServerName string // in lower case without a trailing dot, at most 253 bytes; "" when the client sent none

	protocols []byte // the ALPN list as it came: a length byte before each
}

// Extensions that are read, RFC 6066 clause 1.1 and RFC 7301 clause 6.
const (
	extServerName = 0
	extALPN       = 16
)

// Parse reads the ClientHello that b begins with; what comes behind it does not matter. The error is [ErrIncomplete] or a
// [Malformed]. The hello's protocols are read from b when they are asked for, so b must not change before.
func Parse(b []byte) (Hello, error) {
	m, need, err := follow(b)
	if err != nil {
		return Hello{}, err
	}
	if need > 0 {
		return Hello{}, ErrIncomplete
	}
	return parse(m.body(b))
}

// parse reads the body of the message, RFC 8446 clause 4.1.2.
func parse(body []byte) (h Hello, err error) {
	c := cursor(body)
	version, fits := c.take(2)
	if !fits || version[0] != 3 {
		return Hello{}, BadMessage
	}
	_, random := c.take(32)
	session, ok := c.vector8()
	suites, ok2 := c.vector16()
	compressions, ok3 := c.vector8()
	if !random || !ok || !ok2 || !ok3 || len(session) > 32 || len(suites) < 2 || len(suites)%2 != 0 || len(compressions) == 0 {
		return Hello{}, BadMessage
	}
	if len(c) == 0 {
		return Hello{}, nil // clients before TLS 1.3 may end here
	}
	extensions, ok := c.vector16()
	if !ok || len(c) != 0 {
		return Hello{}, BadMessage
	}
	var met typeSet
	for len(extensions) > 0 {
		kind, ok := extensions.uint16()
		data, ok2 := extensions.vector16()
		if !ok || !ok2 {
			return Hello{}, BadMessage
		}
		if !met.add(kind) {
			return Hello{}, DuplicateExtension
		}
		switch kind {
		case extServerName:
			h.ServerName, err = parseNames(data)
		case extALPN:
			h.protocols, err = parseProtocols(data)
		}
		if err != nil {
			return Hello{}, err
		}
	}
	return h, nil
}

// parseProtocols checks an ALPN extension: at least one protocol, none empty.
func parseProtocols(data cursor) ([]byte, error) {
	list, ok := data.vector16()
	if !ok || len(data) != 0 || len(list) == 0 {
		return nil, BadProtocols
	}
	for rest := list; len(rest) > 0; {
		if p, ok := rest.vector8(); !ok || len(p) == 0 {
			return nil, BadProtocols
		}
	}
	return list, nil
}

// ALPN returns the protocols the client offers, in its order; nil when it offers none.
func (h Hello) ALPN() []string {
	var out []string
	for rest := cursor(h.protocols); len(rest) > 0; {
		p, _ := rest.vector8()
		out = append(out, string(p))
	}
	return out
}

// Offers tells whether the client offers a protocol, without allocating.
func (h Hello) Offers(protocol string) bool {
	for rest := cursor(h.protocols); len(rest) > 0; {
		if p, _ := rest.vector8(); string(p) == protocol {
			return true
		}
	}
	return false
}

// cursor is what is left to read.
type cursor []byte

func (c *cursor) take(n int) (cursor, bool) {
	if len(*c) < n {
		return nil, false
	}
	out := (*c)[:n]
	*c = (*c)[n:]
	return out, true
}

func (c *cursor) uint16() (uint16, bool) {
	b, ok := c.take(2)
	if !ok {
		return 0, false
	}
	return binary.BigEndian.Uint16(b), true
}

// vector8 and vector16 take a vector with a length of one or two bytes in front, RFC 8446 clause 3.4.
func (c *cursor) vector8() (cursor, bool) {
	n, ok := c.take(1)
	if !ok {
		return nil, false
	}
	return c.take(int(n[0]))
}

func (c *cursor) vector16() (cursor, bool) {
	n, ok := c.uint16()
	if !ok {
		return nil, false
	}
	return c.take(int(n))
}

// typeSet tells types of extensions apart. Common ones are bits; of the others a client has a handful, and who sends thousands gets
// a bitmap rather than quadratic work.
type typeSet struct {
	low   uint64
	n     int
	other [16]uint16
	many  []uint64
}

// add returns false when the type is there already.
func (s *typeSet) add(t uint16) bool {
	if t < 64 {
		met := s.low&(1<<t) != 0
		s.low |= 1 << t
		return !met
	}
	for _, o := range s.other[:s.n] {
		if o == t {
			return false
		}
	}
	if s.n < len(s.other) {
		s.other[s.n] = t
		s.n++
		return true
	}
	if s.many == nil {
		s.many = make([]uint64, 1<<16/64)
	}
	met := s.many[t/64]&(1<<(t%64)) != 0
	s.many[t/64] |= 1 << (t % 64)
	return !met
}
