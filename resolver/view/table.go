package view

import (
	"encoding/binary"
	"hash/maphash"
	"strings"
)

// Table is a View made ready. It is never changed once New has returned it, and safe for concurrent use.
type Table struct {
	seed  maphash.Seed
	slots []slot // open addressing, at most half full
	mask  uint32
	depth int    // labels of the deepest node
	names int    // that exist, without the root
	nodes []node // the root is the first
	text  []byte // names, and records owned by the question (0xC00C)
	soa   []byte // a SOA record without its owner, the same for all

	zones    []zone    // the first is none
	rules    []*Target // the first is none
	upstream *Target   // nil: none
	sources  []string  // of each node, where it comes from
	problems []string
}

type slot struct {
	tag  uint32 // of the name's hash
	node uint32 // its number plus one; 0: free
}

// node is a name that exists, or that a rule names. There are no pointers in it, so that a collection need not look at a hundred
// thousand of them, and it is one line of the processor's cache.
type node struct {
	name     uint32 // offset in text
	more     uint32 // offset in text of its records of other types than addresses; 0: none
	hot      [2]hot // for A and AAAA
	ttl      uint32
	zone     uint32 // the longest that holds it
	suffix   uint32 // the rule with the longest domain that holds it
	exact    uint32 // the rule for just this name
	encloser uint32 // it or the closest above it that exists
	wild     uint32 // its child "*"; 0: none
	size     uint8  // of name
	depth    uint8  // labels
	flags    uint8
	_        [4]byte
}

// Flags of a node.
const (
	exists   = 1 << iota
	filled   // it has records
	alias    // they are a CNAME
	wildcard // its first label is "*"
	apex     // it is a linked zone
)

// hot is an answer ready to be copied. The text begins with a pointer for each place in a question's name, so that those which only
// say where the SOA's owner stands take no room.
type hot struct {
	off   uint32
	size  uint16
	count uint16 // answers in it
	kind  kind
}

type kind uint8

const (
	slow  kind = iota // not prepared
	ready             // the whole answer
	empty             // CNAMEs, then the owner of the SOA record that is to follow
)

type zone struct {
	node     uint32
	redirect bool
	missing  string // why a name that it lacks does not exist
	advice   string // for the client
}

func newZone(node uint32, text string) zone {
	z := zone{node: node, missing: "not in the linked zone " + text}
	if strings.Contains("."+text, ".privatelink.") {
		z.advice = "the private zone " + text + " lacks this name; NxDomainRedirect on its link would ask the public DNS"
	}
	return z
}

// Problems says what was left out and why, a bounded number of sentences.
func (t *Table) Problems() []string { return t.problems }

// Names is how many names exist, those among them which exist only above others.
func (t *Table) Names() int { return t.names }

func tagOf(seed maphash.Seed, name []byte) uint32 { return uint32(maphash.Bytes(seed, name)) }

// lookup finds the node of a name in wire form and lower case.
func (t *Table) lookup(name []byte) (uint32, bool) { return t.at(tagOf(t.seed, name), name) }

func (t *Table) at(tag uint32, name []byte) (uint32, bool) {
	for i := tag & t.mask; ; i = (i + 1) & t.mask {
		s := t.slots[i]
		if s.node == 0 {
			return 0, false
		}
		if s.tag == tag && string(t.nameOf(&t.nodes[s.node-1])) == string(name) {
			return s.node - 1, true
		}
	}
}

func (t *Table) nameOf(n *node) []byte { return t.text[n.name : n.name+uint32(n.size)] }

// above finds the closest node above a name that is no node itself.
func (t *Table) above(name []byte) uint32 {
	labels := 0
	for off := 0; name[off] != 0; off += 1 + int(name[off]) {
		labels++
	}
	for {
		name = name[1+int(name[0]):]
		if labels--; labels > t.depth {
			continue
		}
		if labels == 0 {
			return 0
		}
		if i, ok := t.lookup(name); ok {
			return i
		}
	}
}

// place is where a name stands in the table.
type place struct {
	records uint32 // the node with the records that answer; 0: none
	zone    uint32
	node    uint32 // the name's own, or the closest above
	soa     int    // bytes at the name's end that own the SOA record
	exact   bool   // node is the name's own
	exists  bool   // the name exists, perhaps only above others
	ours    bool   // the view answers for it
}

// locate looks a name up.
func (t *Table) locate(name []byte) place {
	i, ok := t.lookup(name)
	if !ok {
		i = t.above(name)
	}
	return t.place(name, i, ok)
}

// place says what it means that a name's closest node is i.
func (t *Table) place(name []byte, i uint32, exact bool) place {
	n := &t.nodes[i]
	p := place{node: i, exact: exact, zone: n.zone, soa: len(name)}
	switch {
	case exact && n.flags&filled != 0:
		p.records, p.exists = i, true
	case exact && n.flags&exists != 0:
		p.exists = true
	default:
		// The wildcard of the closest name that exists, and no other (RFC 4592 section 3.3.1).
		if above := &t.nodes[n.encloser]; above.wild != 0 {
			p.exists = true
			if t.nodes[above.wild].flags&filled != 0 {
				p.records = above.wild
				p.soa = int(above.size)
			}
		}
	}
	if p.zone != 0 {
		p.soa = int(t.nodes[t.zones[p.zone].node].size)
	}
	p.ours = p.zone != 0 || p.records != 0
	return p
}

// set finds a node's records of one type, owned by the question.
func (t *Table) set(n *node, rtype uint16) (body []byte, count uint16) {
	if n.flags&alias == 0 {
		switch rtype {
		case typeA:
			return t.addresses(n.hot[0])
		case typeAAAA:
			return t.addresses(n.hot[1])
		}
	}
	if n.more == 0 {
		return nil, 0
	}
	for s := t.text[n.more:]; ; {
		at, size := binary.BigEndian.Uint16(s), binary.BigEndian.Uint16(s[4:])
		switch at {
		case rtype:
			return s[setHead : setHead+int(size)], binary.BigEndian.Uint16(s[2:])
		case 0:
			return nil, 0
		}
		s = s[setHead+int(size):]
	}
}

func (t *Table) addresses(h hot) (body []byte, count uint16) {
	if h.kind != ready {
		return nil, 0
	}
	return t.text[h.off : h.off+uint32(h.size)], h.count
}

// target is where a node's CNAME leads, in wire form.
func (t *Table) target(n *node) []byte {
	body, _ := t.set(n, typeCNAME)
	return body[recordHead:]
}
