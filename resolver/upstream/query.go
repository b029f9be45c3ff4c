package upstream

import (
	"crypto/rand"
	"encoding/binary"

	"github.com/miekg/dns"
)

// LoopOption is the code of a private EDNS option (RFC 6891 section 9: 65001 to 65534 are for local use) that says by which
// resolvers a query has come: tokens of 8 bytes, the newest last. A resolver that finds its own [Pool.Token] there is asked by
// itself and refuses. Servers that do not know the option ignore it (RFC 6891 section 6.1.2).
const LoopOption = 65311

// HasToken tells whether the data of a LoopOption names token.
func HasToken(via []byte, token [8]byte) bool {
	for ; len(via) >= len(token); via = via[len(token):] {
		if [8]byte(via) == token {
			return true
		}
	}
	return false
}

// level is how much a server understands.
type level uint8

const (
	full   level = iota
	noLoop       // it answered FORMERR to the loop option
	noEDNS       // it does not know EDNS
)

// shape is how a question is put to one server.
type shape struct {
	level  level
	mixed  bool   // mixed case (0x20)
	cookie []byte // the client's, then the server's if it is known; none when empty
	padded bool
}

// put writes the query into b, which has room for the largest, and keeps in f.sent what the answer must repeat.
func (p *Pool) put(f *flight, b []byte, id uint16, s shape) []byte {
	b = append(b, byte(id>>8), byte(id), 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0) // recursion desired, one question
	if f.key.flags&flagCD != 0 {
		b[len(b)-9] |= 0x10
	}
	if f.key.flags&flagAD != 0 {
		b[len(b)-9] |= 0x20
	}
	head := b[len(b)-headerLen:]
	begin := len(b) - headerLen
	f.sent = append(f.sent[:0], f.name[:f.nameLen]...)
	if s.mixed {
		p.dice.mixCase(f.sent)
	}
	f.sent = append(f.sent, byte(f.key.qtype>>8), byte(f.key.qtype), 0, byte(dns.ClassINET))
	b = append(b, f.sent...)
	if s.level == noEDNS {
		return b
	}
	head[11] = 1
	var do byte
	if f.key.flags&flagDO != 0 {
		do = 0x80
	}
	b = append(b, 0, 0, byte(dns.TypeOPT), udpSize>>8, udpSize&0xff, 0, 0, do, 0, 0, 0)
	data := len(b)
	if len(s.cookie) > 0 {
		b = append(b, 0, byte(dns.EDNS0COOKIE), 0, byte(len(s.cookie)))
		b = append(b, s.cookie...)
	}
	if s.level == full {
		n := len(f.via) + len(p.cfg.Token)
		b = append(b, LoopOption>>8, LoopOption&0xff, 0, byte(n))
		b = append(b, f.via...)
		b = append(b, p.cfg.Token[:]...)
	}
	if s.padded {
		n := (paddingBlock - (len(b)-begin+4)%paddingBlock) % paddingBlock
		b = append(b, 0, byte(dns.EDNS0PADDING), 0, byte(n))
		for range n {
			b = append(b, 0)
		}
	}
	binary.BigEndian.PutUint16(b[data-2:], uint16(len(b)-data))
	return b
}

// dice gives random bytes that nobody can foresee, from the system a few hundred at a time.
type dice struct {
	buf  [512]byte
	left int
}

func (d *dice) take(n int) []byte {
	if d.left < n {
		_, _ = rand.Read(d.buf[:]) // never fails
		d.left = len(d.buf)
	}
	d.left -= n
	return d.buf[d.left : d.left+n]
}

func (d *dice) uint16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }

// mixCase changes the case of letters at random. Lengths of labels are below 64 and therefore no letters.
func (d *dice) mixCase(name []byte) {
	bits := d.take((len(name) + 7) / 8)
	for i, c := range name {
		if 'a' <= c && c <= 'z' && bits[i/8]>>(i%8)&1 != 0 {
			name[i] = c - ('a' - 'A')
		}
	}
}
