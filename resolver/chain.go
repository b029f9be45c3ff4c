package resolver

import (
	"github.com/miekg/dns"
)

// maxHops bounds a chain of CNAMEs inside the view.
const maxHops = 8

// query is the question as the deciders see it.
type query struct {
	name    string // lower case, with trailing dot
	spelled string // as it was asked
	qtype   uint16
	recurse bool // the client asks for recursion
}

// verdict is what a decider says about a query.
type verdict struct {
	result    result
	reason    string // for the log of decisions
	rcode     int
	local     bool // answered with authority
	answer    []dns.RR
	authority []dns.RR

	ask  []*upstream // ask these for name and append what they say
	name string

	code uint16 // RFC 8914
	text string // ... for the client; none when empty
}

// decider looks at a query; nil means it has no opinion and the next one is asked. Deciders only read.
type decider func(v *view, q *query) *verdict

func (v *view) decide(q *query) *verdict {
	for _, d := range v.chain {
		if out := d(v, q); out != nil {
			return out
		}
	}
	return &verdict{result: refused, reason: "no decider", rcode: dns.RcodeRefused}
}

// fromView answers names of the view and of linked zones.
func fromView(v *view, q *query) *verdict {
	out := &verdict{local: true, result: answered, reason: "name of this network"}
	name, spelled := q.name, q.spelled
	for hop := 0; ; hop++ {
		f := v.find(name)
		switch {
		case !f.ours && hop == 0:
			return nil
		case !f.ours:
			return chase(v, out, name)
		case f.entry == nil && f.apex && q.qtype == dns.TypeSOA:
			out.answer = append(out.answer, withOwner(f.soa, spelled))
			return out
		case f.entry == nil && f.empty:
			return nothing(out, f, nodata, dns.RcodeSuccess)
		case f.entry == nil:
			out.reason = "not in the linked zone " + f.soa.Hdr.Name
			return nothing(out, f, nxdomain, dns.RcodeNameError)
		case f.entry.cname == nil || q.qtype == dns.TypeCNAME || q.qtype == dns.TypeANY:
			n := len(out.answer)
			out.answer = f.records(out.answer, q.qtype, spelled)
			if len(out.answer) == n {
				return nothing(out, f, nodata, dns.RcodeSuccess)
			}
			return out
		case hop == maxHops:
			return &verdict{
				result: failed, reason: "CNAME loop", rcode: dns.RcodeServerFailure,
				code: dns.ExtendedErrorCodeOther, text: "the private names of " + q.name + " lead in a circle",
			}
		}
		out.answer = append(out.answer, withOwner(f.entry.cname, spelled))
		name = f.entry.cname.Target
		spelled = name
	}
}

// nothing says NODATA or NXDOMAIN. After a CNAME that is said of its target (RFC 6604).
func nothing(out *verdict, f found, r result, rcode int) *verdict {
	out.result, out.rcode = r, rcode
	out.authority = append(out.authority, f.soa)
	return out
}

// chase hands a CNAME that leads out of the view to the upstreams.
func chase(v *view, out *verdict, target string) *verdict {
	if len(v.upstream) == 0 {
		return &verdict{
			result: failed, reason: "CNAME leads out, no upstreams", rcode: dns.RcodeServerFailure,
			code: dns.ExtendedErrorCodeOther, text: "the name leads to " + target + " outside this network, and no upstream is set",
		}
	}
	out.reason, out.result = "CNAME leads out", forwarded
	out.ask, out.name = v.upstream, target
	return out
}

func toUpstreams(v *view, q *query) *verdict {
	if len(v.upstream) == 0 {
		return nil
	}
	if !q.recurse {
		return &verdict{
			result: refused, reason: "foreign name without recursion desired", rcode: dns.RcodeRefused,
			code: dns.ExtendedErrorCodeNotAuthoritative, text: "not a name of this network; ask with recursion desired",
		}
	}
	return &verdict{result: forwarded, reason: "foreign name", ask: v.upstream, name: q.spelled}
}

func refuse(*view, *query) *verdict {
	return &verdict{
		result: refused, reason: "foreign name, no upstreams", rcode: dns.RcodeRefused,
		code: dns.ExtendedErrorCodeNotAuthoritative, text: "not a name of this network, and no upstream is set for others",
	}
}

// records appends the entry's records of one type, owned by owner.
func (f found) records(dst []dns.RR, qtype uint16, owner string) []dns.RR {
	e := f.entry
	var set []dns.RR
	switch qtype {
	case dns.TypeA:
		set = e.a
	case dns.TypeAAAA:
		set = e.aaaa
	case dns.TypeTXT:
		set = e.txts
	case dns.TypeCNAME:
		if e.cname != nil {
			return append(dst, withOwner(e.cname, owner))
		}
	case dns.TypeSOA:
		if f.apex {
			return append(dst, withOwner(f.soa, owner))
		}
	case dns.TypeANY:
		// RFC 8482 section 4.2: one made-up record instead of everything.
		return append(dst, &dns.HINFO{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: e.ttl}, Cpu: "RFC8482"})
	}
	for _, rr := range set {
		dst = append(dst, withOwner(rr, owner))
	}
	return dst
}

// withOwner copies a prepared record, spelled as in the question.
func withOwner(rr dns.RR, owner string) dns.RR {
	switch rr := rr.(type) {
	case *dns.A:
		c := *rr
		c.Hdr.Name = owner
		return &c
	case *dns.CNAME:
		c := *rr
		c.Hdr.Name = owner
		return &c
	}
	c := dns.Copy(rr)
	c.Header().Name = owner
	return c
}
