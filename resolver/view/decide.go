package view

import (
	"github.com/isthmus-io/isthmus/resolver/message"
)

// Result is how a question was decided, for counts and logs.
type Result uint8

// The results, in the order of how often they are.
const (
	Answered Result = iota
	NoData
	NXDomain
	Forwarded
	Refused
	Failed
	Results // how many there are
)

var resultNames = [Results]string{
	Answered: "answered", NoData: "nodata", NXDomain: "nxdomain", Forwarded: "forwarded", Refused: "refused", Failed: "failed",
}

// String returns the result's name in metrics and logs.
func (r Result) String() string {
	if r < Results {
		return resultNames[r]
	}
	return "unknown"
}

// Rcodes of verdicts (RFC 1035 section 4.1.1).
const (
	rcodeServFail = 2
	rcodeNXDomain = 3
	rcodeRefused  = 5
)

// Codes of RFC 8914.
const (
	edeOther            = 0
	edeNotAuthoritative = 20
	edeNoReachable      = 22
)

// Verdict is what becomes of a question.
type Verdict struct {
	// Body is what was given to Decide, and behind it records: answers, then authorities. They belong right behind a message's one question,
	// which is the query's: their pointers count on that.
	Body                 []byte
	Answers, Authorities uint16
	Rcode                int
	Authoritative        bool

	Forward *Target // not nil: ask these for Name, and put what they say behind Body
	Name    []byte  // wire form, lower case: the query's, or that to which the last CNAME in Body leads, and there it lies

	Result Result
	Reason string // for logs

	EDE     uint16 // RFC 8914
	EDEText string // empty: no extended error

	start  int  // of the records in Body
	at     int  // where in the message Name stands written out
	hops   int  // CNAMEs in Body
	public bool // the public answer is wanted: rules do not count
}

// Decide appends the answer to dst or says whom to ask. Exact names with addresses take one lookup and no allocation. The query must be
// for the class IN.
func (t *Table) Decide(dst []byte, q *message.Query) Verdict {
	i, exact := t.lookup(q.Name)
	if exact {
		var h hot
		switch q.Type {
		case typeA:
			h = t.nodes[i].hot[0]
		case typeAAAA:
			h = t.nodes[i].hot[1]
		}
		switch h.kind {
		case ready:
			return Verdict{
				Body: append(dst, t.text[h.off:h.off+uint32(h.size)]...), Answers: h.count, Authoritative: true,
				Result: Answered, Reason: "name of this network", start: len(dst),
			}
		case empty:
			body := append(dst, t.text[h.off:h.off+uint32(h.size)]...)
			return Verdict{
				Body: append(body, t.soa...), Answers: h.count, Authorities: 1, Authoritative: true,
				Result: NoData, Reason: "name of this network", start: len(dst),
			}
		case slow:
		}
	} else {
		i = t.above(q.Name)
	}
	return t.walk(Verdict{Body: dst, Name: q.Name, start: len(dst), at: message.HeaderSize}, q, i, exact)
}

// walk decides v.Name, whose closest node is i, and what its CNAMEs lead to.
func (t *Table) walk(v Verdict, q *message.Query, i uint32, exact bool) Verdict {
	for first := v.hops == 0; ; first = false {
		p := t.place(v.Name, i, exact)
		z := &t.zones[p.zone]
		switch {
		case !p.ours:
			return t.forward(v, q, p, first)
		case !p.exists && z.redirect && t.upstream != nil:
			v.public = true
			return t.forward(v, q, p, first)
		case !p.exists:
			v = t.negative(v, p, NXDomain)
			v.Rcode, v.Reason, v.EDEText = rcodeNXDomain, z.missing, z.advice
			if z.redirect {
				v.EDEText = "the public DNS would be asked for this name, and no upstream is set"
			}
			return v
		}
		v.Authoritative, v.Result, v.Reason = true, Answered, "name of this network"
		n := &t.nodes[p.records]
		if p.records == 0 || n.flags&alias == 0 || q.Type == typeCNAME || q.Type == typeANY {
			return t.fromRecords(v, q, p)
		}
		if v.hops >= maxHops {
			return v.fail("CNAME loop", edeOther, "the private names of "+message.Text(q.Name)+" lead in a circle")
		}
		v = t.link(v, q, n.ttl, t.target(n))
		i, exact = t.lookup(v.Name)
		if !exact {
			i = t.above(v.Name)
		}
	}
}

// link appends a CNAME of v.Name, after which v is about target.
func (t *Table) link(v Verdict, q *message.Query, ttl uint32, target []byte) Verdict {
	v.Body = appendFixed(v.owner(v.Body), typeCNAME, ttl, len(target))
	v.at = v.offset(q)
	v.Body = append(v.Body, target...)
	v.Name = v.Body[len(v.Body)-len(target):]
	v.Answers++
	v.hops++
	return v
}

// offset is where in the message the end of Body stands. Chains are bounded, so a pointer always reaches it.
func (v *Verdict) offset(q *message.Query) int {
	return message.HeaderSize + len(q.Name) + 4 + len(v.Body) - v.start
}

// owner appends v.Name as the owner of a record.
func (v *Verdict) owner(b []byte) []byte { return v.suffix(b, len(v.Name)) }

// suffix appends the last size bytes of v.Name.
func (v *Verdict) suffix(b []byte, size int) []byte {
	if size == 1 {
		return append(b, 0)
	}
	at := v.at + len(v.Name) - size
	return append(b, 0xc0|byte(at>>8), byte(at))
}

// fromRecords answers a name that exists from its own records.
func (t *Table) fromRecords(v Verdict, q *message.Query, p place) Verdict {
	n := &t.nodes[p.records]
	isApex := p.exact && t.nodes[p.node].flags&apex != 0
	switch q.Type {
	case typeANY:
		if p.records == 0 && !isApex {
			break
		}
		// RFC 8482 section 4.2: one made-up record instead of everything.
		ttl := uint32(negativeTTL)
		if p.records != 0 {
			ttl = n.ttl
		}
		v.Body = append(appendFixed(v.owner(v.Body), typeHINFO, ttl, len(hinfo)), hinfo...)
		v.Answers++
		return v
	case typeSOA:
		if isApex {
			v.Body = append(v.owner(v.Body), t.soa...)
			v.Answers++
			return v
		}
	}
	if p.records != 0 {
		if body, count := t.set(n, q.Type); count > 0 {
			return v.records(body, count)
		}
	}
	return t.negative(v, p, NoData)
}

const hinfo = "\x07RFC8482\x00"

// records appends records which are owned by the question, with v.Name as their owner.
func (v Verdict) records(body []byte, count uint16) Verdict {
	v.Answers += count
	if v.at == message.HeaderSize {
		v.Body = append(v.Body, body...)
		return v
	}
	for range count {
		end := recordHead + (int(body[recordHead-2])<<8 | int(body[recordHead-1]))
		v.Body = append(v.owner(v.Body), body[2:end]...)
		body = body[end:]
	}
	return v
}

// negative says that there is nothing. After a CNAME that is said of its target (RFC 6604).
func (t *Table) negative(v Verdict, p place, r Result) Verdict {
	v.Authoritative, v.Result, v.Reason = true, r, "name of this network"
	v.Body = append(v.suffix(v.Body, p.soa), t.soa...)
	v.Authorities++
	return v
}

// forward names the servers to ask for a name that is not ours, or not there.
func (t *Table) forward(v Verdict, q *message.Query, p place, first bool) Verdict {
	target := t.upstream
	if !v.public {
		if r := t.ruleOf(p); r != nil {
			target = r
		}
	}
	switch {
	case !q.RD && !first:
		return v // RFC 1034 section 4.3.2: the CNAME, and the asker goes on from there
	case target == nil && first:
		v.Result, v.Rcode, v.Reason = Refused, rcodeRefused, "foreign name, no upstreams"
		v.EDE, v.EDEText = edeNotAuthoritative, "not a name of this network, and no upstream is set for others"
		return v
	case target == nil:
		return v.fail("CNAME leads out, no upstreams", edeOther, "the name leads to "+message.Text(v.Name)+" outside this network, and no upstream is set")
	case !q.RD:
		v.Result, v.Rcode, v.Reason = Refused, rcodeRefused, "foreign name without recursion desired"
		v.EDE, v.EDEText = edeNotAuthoritative, "not a name of this network; ask with recursion desired"
		return v
	case len(target.Servers) == 0:
		return v.fail("a rule without servers", edeNoReachable, "the "+target.Reason+" has no server that can be asked")
	}
	v.Forward, v.Result, v.Reason = target, Forwarded, target.Reason
	if !first {
		v.Reason = "CNAME leads out"
	} else if v.public {
		v.Reason = "public answer for a name that a private zone lacks"
	}
	return v
}

// ruleOf returns the rule for a name, if there is one.
func (t *Table) ruleOf(p place) *Target {
	n := &t.nodes[p.node]
	if p.exact && n.exact != 0 {
		return t.rules[n.exact]
	}
	return t.rules[n.suffix] // the first is nil
}

// fail takes back what was said so far.
func (v Verdict) fail(reason string, code uint16, text string) Verdict {
	return Verdict{
		Body: v.Body[:v.start], Rcode: rcodeServFail, Result: Failed, Reason: reason, EDE: code, EDEText: text, start: v.start,
	}
}
