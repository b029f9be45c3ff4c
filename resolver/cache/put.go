package cache

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/isthmus-io/isthmus/resolver/message"
)

// answer is a message read for keeping.
type answer struct {
	body      []byte             // its records without OPT
	ttls      [maxRecords]uint16 // where in the body TTLs stand
	records   int
	counts    [3]uint16
	rcode     byte
	flags     byte
	life      int64  // milliseconds
	low, high uint32 // what its TTLs are brought between
}

const (
	typeA     = 1
	typeNS    = 2
	typeCNAME = 5
	typeSOA   = 6
	typeAAAA  = 28
	typeDNAME = 39
	typeOPT   = 41
	typeDS    = 43
	typeRRSIG = 46
	typeANY   = 255

	rcodeSuccess  = 0
	rcodeServFail = 2
	rcodeNXDomain = 3

	maxRecords = 512 // of a message that is kept
	maxChain   = 16  // CNAMEs of a message that is kept
)

// Put keeps an answer of the key's group of servers to the key's question, and tells whether it did. The message is whole, as it came
// from the wire, and not kept itself. A failure (SERVFAIL) is noted as by Fail.
func (c *Cache) Put(k Key, msg []byte, now time.Time) bool {
	h := c.hash(&k)
	s := c.shard(h)
	var p parser
	a, ok := p.read(&c.cfg, &k, msg)
	if ok && a.rcode == rcodeServFail {
		c.Fail(k, now)
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok {
		ok = s.put(uint32(h), &k, a, now.UnixMilli())
	}
	if !ok {
		s.stats.Refused++
		return false
	}
	s.stats.Kept++
	return true
}

// parser is what reading one message takes.
type parser struct {
	answer answer
	names  [maxChain + 1][message.MaxName]byte // the question's, and where its CNAMEs lead
	sizes  [maxChain + 1]uint8
	hops   int
	owner  [message.MaxName]byte
	whole  [512]byte

	positive bool   // there is what was asked for
	shortest uint32 // TTL
	negative uint32 // what the SOA says; 0: there is none
	opts     int
	optLast  bool // the OPT record is the last one
	optStart int
}

// read reads a message. ok is false when it is not to be kept.
func (p *parser) read(cfg *Config, k *Key, msg []byte) (a *answer, ok bool) {
	a = &p.answer
	if !p.head(k, msg) {
		return nil, false
	}
	r, ok := message.Read(msg)
	start := message.HeaderSize + len(k.Name) + 4
	if !ok || r.Offset() != start {
		return nil, false
	}
	a.rcode = msg[3] & 0xf
	a.flags = 0
	if msg[3]&message.AD != 0 {
		a.flags |= flagAD
	}
	p.sizes[0] = uint8(copy(p.names[0][:], k.Name))
	p.shortest = 1 << 31
	for {
		rec, ok := r.Next()
		if !ok {
			break
		}
		if !p.record(k, msg, rec, start) {
			return nil, false
		}
	}
	if r.Bad() || r.Offset() != len(msg) {
		return nil, false
	}
	if a.rcode == rcodeServFail {
		return a, true
	}
	if p.hops > 0 {
		a.flags |= flagCNAME
	}
	switch {
	case p.opts == 0:
		a.body = msg[start:]
	case p.optLast:
		a.body = msg[start:p.optStart]
	default:
		if !p.rebuild(msg) {
			return nil, false
		}
	}
	return a, p.lifetime(cfg)
}

// head checks header and question.
func (p *parser) head(k *Key, msg []byte) bool {
	n := len(k.Name)
	if n == 0 || n > message.MaxName || len(msg) < message.HeaderSize+n+4 || len(msg) > 0xffff {
		return false
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	const opcode = 0xf << 11
	if flags&message.QR == 0 || flags&(opcode|message.TC) != 0 || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return false
	}
	switch flags & 0xf {
	case rcodeSuccess, rcodeServFail, rcodeNXDomain:
	default:
		return false
	}
	name := append(p.owner[:0], msg[message.HeaderSize:message.HeaderSize+n]...)
	message.Lower(name)
	question := msg[message.HeaderSize+n:]
	return bytes.Equal(name, k.Name) && binary.BigEndian.Uint16(question) == k.Type && binary.BigEndian.Uint16(question[2:]) == k.Class
}

// record checks one record and counts it in.
func (p *parser) record(k *Key, msg []byte, rec message.Record, start int) bool {
	if _, ok := message.AppendRecord(p.whole[:0], msg, rec); !ok {
		return false
	}
	p.optLast = false
	if rec.Type == typeOPT {
		p.opts++
		p.optLast, p.optStart = true, rec.Start
		return p.opts == 1 && rec.Section == message.Additional && rec.TTL>>24 == 0 // no extended rcode
	}
	if rec.Class != k.Class || rec.TTL == 0 || rec.TTL > 1<<31-1 || p.answer.records == maxRecords { // RFC 2181 section 8: such a TTL is 0
		return false
	}
	if size := rec.End - rec.Data; rec.Type == typeA && size != 4 || rec.Type == typeAAAA && size != 16 {
		return false
	}
	owner, _, ok := message.Expand(p.owner[:0], msg, rec.Start)
	if !ok {
		return false
	}
	message.Lower(owner)
	switch rec.Section {
	case message.Answer:
		ok = p.answers(k, msg, rec, owner)
	case message.Authority:
		ok = p.authority(msg, rec, owner)
	case message.Additional:
	}
	p.answer.ttls[p.answer.records] = uint16(rec.Data - 6 - start)
	p.answer.records++
	p.answer.counts[rec.Section]++
	p.shortest = min(p.shortest, rec.TTL)
	return ok
}

// answers takes records of names on the chain of CNAMEs, and DNAMEs above them.
func (p *parser) answers(k *Key, msg []byte, rec message.Record, owner []byte) bool {
	at := p.hops
	for at >= 0 && !bytes.Equal(owner, p.chain(at)) {
		at--
	}
	if at < 0 {
		return (rec.Type == typeDNAME || rec.Type == typeRRSIG) && isAbove(owner, p.chain(p.hops))
	}
	if rec.Type == k.Type || k.Type == typeANY {
		p.positive = true
	}
	if rec.Type != typeCNAME || k.Type == typeCNAME || k.Type == typeANY {
		return true
	}
	if at != p.hops || p.hops == maxChain {
		return false // two CNAMEs for one name, or too many
	}
	target, _, ok := message.Expand(p.names[p.hops+1][:0], msg[:rec.End], rec.Data)
	if !ok {
		return false
	}
	message.Lower(target)
	for i := range p.hops + 1 {
		if bytes.Equal(p.chain(i), target) {
			return false
		}
	}
	p.hops++
	p.sizes[p.hops] = uint8(len(target))
	return true
}

// chain is the name that i CNAMEs lead to.
func (p *parser) chain(i int) []byte { return p.names[i][:p.sizes[i]] }

// authority looks at who says that there is nothing, and for how long.
func (p *parser) authority(msg []byte, rec message.Record, owner []byte) bool {
	switch rec.Type {
	case typeNS, typeDS:
		return isAbove(owner, p.chain(p.hops))
	case typeSOA:
		if !isAbove(owner, p.chain(p.hops)) {
			return false
		}
		_, off, ok := message.Expand(p.owner[:0], msg[:rec.End], rec.Data)
		if !ok {
			return false
		}
		if _, off, ok = message.Expand(p.owner[:0], msg[:rec.End], off); !ok || off+20 != rec.End {
			return false
		}
		if minimum := binary.BigEndian.Uint32(msg[rec.End-4:]); minimum < 1<<31 { // RFC 2308 section 5
			p.negative = min(rec.TTL, minimum)
		}
	}
	return true
}

// isAbove tells whether zone is name or above it.
func isAbove(zone, name []byte) bool {
	for {
		if len(zone) >= len(name) {
			return bytes.Equal(zone, name)
		}
		name = name[1+int(name[0]):]
	}
}

// lifetime says for how long the answer is kept; false is not at all.
func (p *parser) lifetime(cfg *Config) bool {
	a := &p.answer
	life := time.Duration(p.shortest) * time.Second
	a.low, a.high = uint32(cfg.MinTTL/time.Second), uint32(cfg.MaxTTL/time.Second)
	if p.positive && a.rcode == rcodeSuccess {
		life = max(min(life, cfg.MaxTTL), cfg.MinTTL)
	} else {
		life = min(life, time.Duration(p.negative)*time.Second, cfg.MaxNegative)
		a.low, a.high = 0, uint32(life/time.Second)
	}
	a.life = life.Milliseconds()
	return a.life > 0
}

// rebuild writes the records anew without the OPT record that stands among them.
func (p *parser) rebuild(msg []byte) bool {
	a := &p.answer
	a.body, a.records = make([]byte, 0, len(msg)), 0
	r, _ := message.Read(msg)
	for {
		rec, ok := r.Next()
		if !ok {
			return true
		}
		if rec.Type == typeOPT {
			continue
		}
		at := len(a.body)
		if a.body, ok = message.AppendRecord(a.body, msg, rec); !ok || len(a.body) > 0xffff {
			return false
		}
		owner, _, _ := message.Expand(p.owner[:0], msg, rec.Start)
		a.ttls[a.records] = uint16(at + len(owner) + 4)
		a.records++
	}
}
