package view

import (
	"bytes"

	"github.com/isthmus-io/isthmus/resolver/message"
)

// Redirected looks through the answer that v.Forward gave for v.Name, for a CNAME that leads to a name which is decided here: one of the
// view or of a linked zone, or one that another rule is for. If there is one it returns what to answer instead, and true: the CNAMEs up
// to there in v.Body, then our own answer, or once more whom to ask. Where a zone redirects and lacks the name, the answer stands.
//
// answer is a whole message whose question is v.Name; it may lie in the memory behind v.Body. q and v are those of Decide or of the
// Redirected before; the chain is bounded over all of them, so that a loop through other servers ends in SERVFAIL. An answer that is
// malformed is not redirected.
func (t *Table) Redirected(v Verdict, q *message.Query, answer []byte) (Verdict, bool) {
	if v.Forward == nil || q.Type == typeCNAME || q.Type == typeANY {
		return v, false
	}
	r, ok := message.Read(answer)
	if !ok {
		return v, false
	}
	for {
		rec, ok := r.Next()
		if !ok || rec.Section != message.Answer {
			return v, false
		}
		if rec.Type == typeCNAME {
			return t.chain(v, q, answer)
		}
	}
}

// chain is a chain of CNAMEs as it was read from an answer.
type chain struct {
	buf  [maxHops * message.MaxName]byte
	end  [maxHops]int // of each target, in buf
	ttl  [maxHops]uint32
	hops int
}

// last is the name the chain has reached.
func (c *chain) last(first []byte) []byte {
	if c.hops == 0 {
		return first
	}
	return c.target(c.hops - 1)
}

func (c *chain) target(i int) []byte {
	start := 0
	if i > 0 {
		start = c.end[i-1]
	}
	return c.buf[start:c.end[i]]
}

// follow reads the next CNAME of the chain. Records of other names than the chain's end are passed over, in one go through the answer:
// servers write chains in their order.
func (c *chain) follow(r *message.Reader, first, answer []byte) bool {
	var owner [message.MaxName]byte
	for {
		rec, ok := r.Next()
		if !ok || rec.Section != message.Answer {
			return false
		}
		if rec.Type != typeCNAME || rec.Class != classIN {
			continue
		}
		name, _, ok := message.Expand(owner[:0], answer, rec.Start)
		if !ok {
			return false
		}
		if message.Lower(name); !bytes.Equal(name, c.last(first)) {
			continue
		}
		start := 0
		if c.hops > 0 {
			start = c.end[c.hops-1]
		}
		target, _, ok := message.Expand(c.buf[:start], answer[:rec.End], rec.Data)
		if !ok {
			return false
		}
		message.Lower(target[start:])
		c.end[c.hops], c.ttl[c.hops] = len(target), rec.TTL
		c.hops++
		return true
	}
}

func (t *Table) chain(v Verdict, q *message.Query, answer []byte) (Verdict, bool) {
	var c chain
	r, _ := message.Read(answer)
	for {
		if v.hops+c.hops == maxHops {
			if v.hops == 0 {
				return v, false // theirs alone, and so is the mistake
			}
			return v.fail("CNAME loop", edeOther, "the chain of names that begins with "+message.Text(q.Name)+" does not end"), true
		}
		if !c.follow(&r, v.Name, answer) {
			return v, false
		}
		if name := c.last(nil); t.takesOver(v, name) {
			break
		}
	}
	out := v
	out.Forward = nil
	for i := range c.hops {
		out = t.link(out, q, c.ttl[i], c.target(i))
	}
	i, exact := t.lookup(out.Name)
	if !exact {
		i = t.above(out.Name)
	}
	out = t.walk(out, q, i, exact)
	out.Authoritative = out.Authoritative && v.Authoritative // the first name counts (RFC 1035 section 4.1.1)
	return out, true
}

// takesOver tells whether a name that an answer of v.Forward leads to is decided here.
func (t *Table) takesOver(v Verdict, name []byte) bool {
	p := t.locate(name)
	if p.ours {
		return p.exists || !t.zones[p.zone].redirect || t.upstream == nil
	}
	if v.public {
		return false
	}
	r := t.ruleOf(p)
	return r != nil && r.Domain != "." && r.Key != v.Forward.Key
}
