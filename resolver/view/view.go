package view

import (
	"fmt"
	"hash/maphash"
	"net/netip"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver/message"
)

// View is everything a network's resolver knows. New keeps nothing of it but strings.
type View struct {
	Names     []plan.Name
	Zones     []string         // linked zones: a name in one that Names does not have does not exist
	Redirect  []string         // those of Zones whose missing names are asked of Upstreams (NxDomainRedirect)
	Forward   []plan.Forward   // rules; the longest domain that holds a name decides
	Upstreams []netip.AddrPort // asked in this order for everything else; none: refuse
}

const (
	maxHops  = 16      // CNAMEs in one chain, those of other servers among them
	maxSet   = 60_000  // bytes of one name's records of one type: they must fit into a message
	maxReady = 1024    // bytes of an answer with CNAMEs that is written in advance
	maxText  = 1 << 30 // bytes of names and records in a table

	// negativeTTL is how long clients may believe that there is nothing, in seconds: short, because an approval ends it at any moment.
	negativeTTL = 10
)

// Types of records that are decided here.
const (
	typeA     = 1
	typeCNAME = 5
	typeSOA   = 6
	typePTR   = 12
	typeHINFO = 13
	typeMX    = 15
	typeTXT   = 16
	typeAAAA  = 28
	typeSRV   = 33
	typeANY   = 255
	typeCAA   = 257

	classIN = 1
)

// New makes the table of a view. serial stands in its SOA records; it should grow from view to view.
func New(v View, serial uint32) *Table {
	t := &Table{seed: maphash.MakeSeed(), soa: soaTail(serial), zones: make([]zone, 1), rules: make([]*Target, 1)}
	b := builder{Table: t}
	b.size(len(v.Names) + len(v.Zones) + len(v.Forward))
	for k := range 256 { // see hot
		t.text = append(t.text, 0xc0|byte((message.HeaderSize+k)>>8), byte(message.HeaderSize+k))
	}
	t.text = append(t.text, 0)
	b.insert(uint32(len(t.text)-1), 1, tagOf(t.seed, t.text[len(t.text)-1:]), 0) // the root
	for _, z := range v.Zones {
		b.zone(z)
	}
	for _, z := range v.Redirect {
		b.redirect(z)
	}
	for i := range v.Names {
		if err := b.name(&v.Names[i]); err != nil {
			t.problem("name %q is left out: %v", v.Names[i].Name, err)
		}
	}
	for i := range v.Forward {
		b.rule(&v.Forward[i])
	}
	b.upstreams(v.Upstreams)
	b.inherit()
	b.prepare()
	return t
}

// problem keeps a bounded number of words for the status.
func (t *Table) problem(format string, args ...any) {
	const most = 20
	if len(t.problems) < most {
		t.problems = append(t.problems, fmt.Sprintf(format, args...))
	}
}

// builder is a Table that is being made.
type builder struct {
	*Table
	parents []uint32 // of each node, the node one label up; it has the lower number
	aliases []uint32 // nodes with a CNAME
	buf     []byte   // the name at hand
	sets    records  // its records
}

// size makes room for a number of names.
func (b *builder) size(names int) {
	n := 64
	for n < 2*names+names/4 {
		n *= 2
	}
	b.slots = make([]slot, n)
	b.mask = uint32(n - 1)
	b.nodes = make([]node, 0, names+names/16+16)
	b.sources = make([]string, 0, cap(b.nodes))
	b.parents = make([]uint32, 0, cap(b.nodes))
	b.text = make([]byte, 0, 1024+96*names)
}

// wire reads a name into b.buf, in lower case.
func (b *builder) wire(name string) ([]byte, error) {
	if name == "" {
		return nil, fmt.Errorf("it is empty")
	}
	var err error
	if b.buf, err = message.AppendName(b.buf[:0], name); err != nil {
		return nil, fmt.Errorf("it is no domain name (labels of 1 to 63 bytes, 255 in all)")
	}
	return b.buf, nil
}

// node returns the number of a name's node, which it makes if there is none, with all above it.
func (b *builder) node(name []byte) uint32 {
	tag := tagOf(b.seed, name)
	if i, ok := b.at(tag, name); ok {
		return i
	}
	off := uint32(len(b.text))
	b.text = append(b.text, name...)
	return b.make(off, len(name), tag)
}

// make makes a node of a name in the text. What is above it shares its bytes.
func (b *builder) make(off uint32, size int, tag uint32) uint32 {
	skip := 1 + int(b.text[off])
	up := b.text[off:][skip:size]
	tagUp := tagOf(b.seed, up)
	parent, ok := b.at(tagUp, up)
	if !ok {
		parent = b.make(off+uint32(skip), size-skip, tagUp)
	}
	return b.insert(off, size, tag, parent)
}

func (b *builder) insert(off uint32, size int, tag, parent uint32) uint32 {
	i := uint32(len(b.nodes))
	n := node{name: off, size: uint8(size), depth: 0}
	if i > 0 {
		n.depth = b.nodes[parent].depth + 1
		b.depth = max(b.depth, int(n.depth))
	}
	b.nodes = append(b.nodes, n)
	b.sources = append(b.sources, "")
	b.parents = append(b.parents, parent)
	if 2*len(b.nodes) > len(b.slots) {
		b.grow()
	}
	b.take(slot{tag, i + 1})
	return i
}

func (b *builder) take(s slot) {
	at := s.tag & b.mask
	for b.slots[at].node != 0 {
		at = (at + 1) & b.mask
	}
	b.slots[at] = s
}

func (b *builder) grow() {
	old := b.slots
	b.slots = make([]slot, 2*len(old))
	b.mask = uint32(len(b.slots) - 1)
	for _, s := range old {
		if s.node != 0 {
			b.take(s)
		}
	}
}

// exist marks a name as existing, and with it all names above (RFC 8020).
func (b *builder) exist(i uint32) {
	for b.nodes[i].flags&exists == 0 {
		b.nodes[i].flags |= exists
		if i > 0 {
			b.names++
		}
		i = b.parents[i]
	}
}

func (b *builder) zone(text string) {
	name, err := b.wire(text)
	if err != nil {
		b.problem("zone %q is left out: %v", text, err)
		return
	}
	i := b.node(name)
	b.exist(i)
	if b.nodes[i].flags&apex == 0 {
		b.nodes[i].flags |= apex
		b.nodes[i].zone = uint32(len(b.zones))
		b.zones = append(b.zones, newZone(i, message.Text(name)))
	}
}

func (b *builder) redirect(text string) {
	name, err := b.wire(text)
	if err == nil {
		if i, ok := b.lookup(name); ok && b.nodes[i].flags&apex != 0 {
			b.zones[b.nodes[i].zone].redirect = true
			return
		}
	}
	b.problem("the redirect of %q means nothing: it is no linked zone", text)
}

// name adds what is said of one name. After an error nothing was added.
func (b *builder) name(n *plan.Name) error {
	name, err := b.wire(n.Name)
	if err != nil {
		return err
	}
	if len(name) == 1 {
		return fmt.Errorf("the root is not for one network to answer")
	}
	if err := b.sets.read(n); err != nil {
		return err
	}
	if len(b.text)+len(name)+b.sets.size() > maxText {
		return fmt.Errorf("there is no room for more")
	}
	i := b.node(name)
	if b.nodes[i].flags&filled != 0 {
		return fmt.Errorf("it is there twice; the first stays")
	}
	b.exist(i)
	node := &b.nodes[i]
	node.flags |= filled
	if isWildcard(name) {
		node.flags |= wildcard
	}
	node.ttl = b.sets.ttl
	b.sources[i] = n.Source
	b.text = b.sets.put(b.text, node)
	if node.flags&alias != 0 {
		b.aliases = append(b.aliases, i)
	}
	return nil
}

func isWildcard(name []byte) bool { return len(name) > 2 && name[0] == 1 && name[1] == '*' }

// inherit tells each node what holds it. Parents come before their children.
func (b *builder) inherit() {
	for i := range b.nodes {
		n, up := &b.nodes[i], &b.nodes[b.parents[i]]
		if n.zone == 0 {
			n.zone = up.zone
		}
		if n.suffix == 0 {
			n.suffix = up.suffix
		}
		n.encloser = up.encloser
		if n.flags&exists != 0 {
			n.encloser = uint32(i)
			if isWildcard(b.nameOf(n)) {
				up.wild = uint32(i)
			}
		}
	}
}

// prepare writes the answers for addresses that are not records of the name itself: that there is none, and what a CNAME leads to.
func (b *builder) prepare() {
	for i := range b.nodes {
		n := &b.nodes[i]
		if n.flags&filled == 0 || n.flags&(alias|wildcard) != 0 {
			continue
		}
		soa := int(n.size)
		if n.zone != 0 {
			soa = int(b.nodes[b.zones[n.zone].node].size)
		}
		for k := range n.hot {
			if n.hot[k].kind == slow {
				n.hot[k] = hot{off: 2 * (uint32(n.size) - uint32(soa)), size: 2, kind: empty}
			}
		}
	}
	var q message.Query
	q.RD = true
	scratch := make([]byte, 0, 4096)
	for _, i := range b.aliases {
		n := &b.nodes[i]
		if n.flags&wildcard != 0 {
			continue // pointers depend on the question's length
		}
		q.Name = b.nameOf(n)
		for k, qtype := range [...]uint16{typeA, typeAAAA} {
			q.Type = qtype
			v := b.walk(Verdict{Body: scratch, Name: q.Name, at: message.HeaderSize}, &q, i, true)
			body, kind := v.Body, ready
			switch v.Result {
			case Answered:
			case NoData:
				body, kind = body[:len(body)-len(b.soa)], empty
			default:
				continue
			}
			if len(body) <= maxReady && len(b.text)+len(body) <= maxText {
				n.hot[k] = hot{off: uint32(len(b.text)), size: uint16(len(body)), count: v.Answers, kind: kind}
				b.text = append(b.text, body...)
			}
		}
	}
}
