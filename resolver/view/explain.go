package view

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/resolver/message"
)

// Step is one thing that had a say in an answer, for people.
type Step struct {
	What   string // question, name, zone, rule, upstreams, answer, note
	Detail string // a sentence or a record
}

// The kinds of steps.
const (
	StepQuestion  = "question"  // what is asked
	StepName      = "name"      // a record of the view, and where it comes from
	StepZone      = "zone"      // a linked zone that decides
	StepRule      = "rule"      // a forwarding rule that decides
	StepShorter   = "shorter"   // a rule that holds the name too and is passed over for a longer one
	StepUpstreams = "upstreams" // who is asked when no rule holds the name
	StepAnswer    = "answer"    // how it ends
	StepNote      = "note"      // what may surprise, and what to do about it
)

// Explain says how a question is decided and why: the steps in their order, each for one line. It decides as Decide does, with recursion
// desired. For a name that is none there is one step which says so.
func (t *Table) Explain(name string, qtype uint16) []Step {
	wire, err := message.AppendName(nil, name)
	if err != nil {
		return []Step{{StepQuestion, fmt.Sprintf("%q is no domain name (labels of 1 to 63 bytes, 255 in all)", name)}}
	}
	q := &message.Query{RD: true, Name: wire, Spelled: wire, Type: qtype, Class: classIN}
	e := explainer{t: t}
	e.say(StepQuestion, "%s %s", bare(wire), typeText(qtype))
	e.walk(wire, qtype)
	e.end(t.Decide(nil, q), wire)
	return e.steps
}

// bare writes a name as people do, without its last dot.
func bare(name []byte) string {
	if s := strings.TrimSuffix(message.Text(name), "."); s != "" {
		return s
	}
	return "."
}

func (t *Table) bare(i uint32) string { return bare(t.nameOf(&t.nodes[i])) }

type explainer struct {
	t     *Table
	steps []Step
}

func (e *explainer) say(what, format string, args ...any) {
	e.steps = append(e.steps, Step{what, fmt.Sprintf(format, args...)})
}

// walk goes from name to name as Decide does.
func (e *explainer) walk(name []byte, qtype uint16) {
	t := e.t
	for hops := 0; hops <= maxHops; hops++ {
		p := t.locate(name)
		switch {
		case !p.ours:
			e.say(StepName, "no endpoint, record set or linked zone of this network holds %s", bare(name))
			e.route(p, false)
			e.privatelink(name)
			return
		case p.records == 0:
			e.zone(name, p)
			return
		}
		n := &t.nodes[p.records]
		if n.flags&alias == 0 || qtype == typeCNAME || qtype == typeANY {
			e.records(n, p, name, qtype)
			return
		}
		target := t.target(n)
		e.say(StepName, "%s CNAME %s (TTL %d)%s", bare(name), bare(target), n.ttl, e.source(p, name))
		name = target
	}
}

// source says where a record comes from.
func (e *explainer) source(p place, name []byte) string {
	out := ""
	if from := e.t.sources[p.records]; from != "" {
		out = ", from " + from
	}
	if n := &e.t.nodes[p.records]; n.flags&wildcard != 0 && string(e.t.nameOf(n)) != string(name) {
		out += ", by the wildcard " + e.t.bare(p.records)
	}
	return out
}

func (e *explainer) records(n *node, p place, name []byte, qtype uint16) {
	if p.zone != 0 {
		e.say(StepZone, "%s is linked to this network and holds the name", e.t.bare(e.t.zones[p.zone].node))
	}
	body, count := e.t.set(n, qtype)
	for range count {
		size := int(binary.BigEndian.Uint16(body[recordHead-2:]))
		e.say(StepName, "%s %s %s (TTL %d)%s", bare(name), typeText(qtype), rdataText(qtype, body[recordHead:][:size]), n.ttl, e.source(p, name))
		body = body[recordHead+size:]
	}
	if count == 0 {
		e.say(StepName, "%s exists, and has no record of type %s%s", bare(name), typeText(qtype), e.source(p, name))
	}
}

// zone is for a name without records in a linked zone.
func (e *explainer) zone(name []byte, p place) {
	z := &e.t.zones[p.zone]
	text := e.t.bare(z.node)
	switch {
	case p.exact && e.t.nodes[p.node].flags&apex != 0:
		e.say(StepZone, "%s is a zone linked to this network", text)
	case p.exists:
		e.say(StepZone, "%s, linked to this network, holds names below %s and no records of its own", text, bare(name))
	case z.redirect && e.t.upstream != nil:
		e.say(StepZone, "%s is linked to this network and lacks %s; its link says NxDomainRedirect, so the public answer is asked for", text, bare(name))
		e.route(p, true)
	case z.redirect:
		e.say(StepZone, "%s is linked to this network and lacks %s; its link says NxDomainRedirect, but the network has no upstream to ask", text, bare(name))
		e.say(StepNote, "set dns.upstreams of the network: forwarding rules do not count for a redirect")
	default:
		e.say(StepZone, "%s is linked to this network and lacks %s: its names are the whole truth, nobody else is asked", text, bare(name))
		if z.advice != "" {
			e.say(StepNote, "the public DNS leads to this zone for every resource of its type that has a private endpoint somewhere, also for other tenants': "+
				"approve an endpoint for this one, or give the zone's link the resolutionPolicy NxDomainRedirect to fall back to the public answer")
		}
	}
}

// route says who is asked.
func (e *explainer) route(p place, public bool) {
	t := e.t
	if !public {
		chosen := t.ruleOf(p)
		if chosen != nil {
			e.say(StepRule, "%s %s: %s", chosen.Rule, chosen.extent(), servers(chosen))
			if len(chosen.Servers) == 0 {
				e.say(StepNote, "none of its targets can be asked, and nobody else is asked instead")
			}
		}
		last := chosen
		for i := p.node; ; { // the domains further up, longest first
			n := &t.nodes[i]
			if r := t.rules[n.suffix]; r != nil && r != last {
				e.say(StepShorter, "%s %s would ask %s, but is not the closest", r.Rule, r.extent(), servers(r))
				last = r
			}
			if i == 0 {
				break
			}
			up := t.nameOf(n)
			i, _ = t.lookup(up[1+int(up[0]):]) // everything above a node is a node
		}
		if chosen != nil {
			return
		}
	}
	if t.upstream != nil {
		e.say(StepUpstreams, "%s", servers(t.upstream))
		return
	}
	e.say(StepUpstreams, "the network has none")
	e.say(StepNote, "set dns.upstreams of the network, or link a ruleset with a rule for the name")
}

// extent says which names a rule is for.
func (t *Target) extent() string {
	switch {
	case t.Exact:
		return "for just " + t.Domain
	case t.Domain == ".":
		return "for every name"
	}
	return "for " + t.Domain + " and below"
}

func servers(t *Target) string {
	if len(t.Servers) == 0 {
		return "nobody"
	}
	return t.Key
}

// privatelink looks ahead: the public answer for a service's name often leads to its privatelink name, and that may be ours.
func (e *explainer) privatelink(name []byte) {
	const label = "\x0bprivatelink"
	t := e.t
	for off := 0; name[off] != 0; off += 1 + int(name[off]) {
		if off == 0 {
			continue
		}
		zone := append([]byte(label), name[off:]...)
		i, ok := t.lookup(zone)
		if !ok || t.nodes[i].flags&apex == 0 || off+len(zone) > message.MaxName {
			continue
		}
		private := append(append([]byte(nil), name[:off]...), zone...)
		p, text := t.locate(private), bare(private)
		switch {
		case p.exists:
			e.say(StepNote, "if the answer leads to %s, this network's own record is put in place of what follows%s", text, e.source(p, private))
		case t.zones[p.zone].redirect && t.upstream != nil:
			e.say(StepNote, "if the answer leads to %s, it stays as it is: the linked zone lacks that name, and its link says NxDomainRedirect", text)
		default:
			e.say(StepNote, "if the answer leads to %s, it ends in NXDOMAIN: the linked zone lacks that name; NxDomainRedirect on its link would let the public answer stand", text)
		}
		return
	}
}

// end says what comes of it.
func (e *explainer) end(v Verdict, name []byte) {
	switch v.Result {
	case Answered:
		plural := "s"
		if v.Answers == 1 {
			plural = ""
		}
		e.say(StepAnswer, "NOERROR, %d record%s", v.Answers, plural)
	case NoData:
		e.say(StepAnswer, "NOERROR without a record of that type")
	case NXDomain:
		e.say(StepAnswer, "NXDOMAIN: the name does not exist, which clients may believe for %d s", negativeTTL)
	case Forwarded:
		e.say(StepAnswer, "what they say of %s", bare(v.Name))
	case Refused:
		e.say(StepAnswer, "REFUSED: %s", v.EDEText)
	case Failed:
		e.say(StepAnswer, "SERVFAIL: %s", v.EDEText)
	}
}

var typeNames = map[uint16]string{
	typeA: "A", 2: "NS", typeCNAME: "CNAME", typeSOA: "SOA", typePTR: "PTR", typeMX: "MX", typeTXT: "TXT", typeAAAA: "AAAA", typeSRV: "SRV",
	43: "DS", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", typeANY: "ANY", typeCAA: "CAA",
}

func typeText(t uint16) string {
	if s := typeNames[t]; s != "" {
		return s
	}
	return fmt.Sprintf("TYPE%d", t) // RFC 3597 section 5
}

// rdataText writes the rdata of our own records.
func rdataText(rtype uint16, b []byte) string {
	u16 := func(at int) uint16 { return binary.BigEndian.Uint16(b[at:]) }
	switch rtype {
	case typeA, typeAAAA:
		ip, _ := netip.AddrFromSlice(b)
		return ip.String()
	case typeCNAME, typePTR:
		return bare(b)
	case typeMX:
		return fmt.Sprintf("%d %s", u16(0), bare(b[2:]))
	case typeSRV:
		return fmt.Sprintf("%d %d %d %s", u16(0), u16(2), u16(4), bare(b[6:]))
	case typeTXT:
		var parts []string
		for len(b) > 0 {
			n := 1 + int(b[0])
			parts = append(parts, fmt.Sprintf("%q", b[1:n]))
			b = b[n:]
		}
		return strings.Join(parts, " ")
	case typeCAA:
		n := 2 + int(b[1])
		return fmt.Sprintf("%d %s %q", b[0], b[2:n], b[n:])
	}
	return fmt.Sprintf("%x", b)
}
