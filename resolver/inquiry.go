package resolver

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/resolver/cache"
	"github.com/isthmus-io/isthmus/resolver/message"
	"github.com/isthmus-io/isthmus/resolver/view"
)

// transport is how a query came.
type transport uint8

const (
	overUDP transport = iota
	overTCP
	overTLS
	overHTTPS
)

var transportNames = [...]string{overUDP: "udp", overTCP: "tcp", overTLS: "tls", overHTTPS: "https"}

func (t transport) String() string { return transportNames[t] }

// inquiry is one query on its way through the resolver, from its packet to its reply. It must not be copied: the query points into it.
type inquiry struct {
	r     *Resolver
	st    *state
	q     message.Query
	from  netip.AddrPort
	via   transport
	began time.Time

	v           view.Verdict // its Body is the reply as far as it is known
	result      result
	additionals uint16
	ad, tc      bool
	bare        bool   // the reply has no OPT record, however the query came
	extended    int    // rcode beyond those of a view; 0: the verdict's
	passed      []byte // extended errors of an upstream, as options

	sub []byte // a message for another name than the question's
	why *chain // what to explain; nil for most
}

// begin takes a query that was parsed.
func (in *inquiry) begin(from netip.AddrPort, via transport, now time.Time) {
	in.from, in.via, in.began = from, via, now
	in.additionals, in.extended = 0, 0
	in.ad, in.tc, in.bare = false, false, false
	in.passed, in.why = nil, nil
}

// say makes the verdict one of our own, without records.
func (in *inquiry) say(res result, rcode int, reason string, code uint16, text string) {
	in.v = view.Verdict{Body: in.v.Body[:in.q.End], Rcode: rcode & 0xf, Reason: reason, EDE: code, EDEText: text}
	in.result, in.extended = res, rcode&^0xf
	in.additionals, in.ad, in.tc, in.passed = 0, false, false, nil
}

// fail answers SERVFAIL.
func (in *inquiry) fail(reason string, code uint16, text string) {
	in.say(failed, dns.RcodeServerFailure, reason, code, text)
}

// decide asks the view.
func (in *inquiry) decide() {
	in.v = in.st.table.Decide(in.v.Body, &in.q)
	in.result = resultOf[in.v.Result]
	if in.why != nil {
		in.why.decided(in)
	}
}

var resultOf = [view.Results]result{
	view.Answered: answered, view.NoData: nodata, view.NXDomain: nxdomain, view.Forwarded: forwarded, view.Refused: refused, view.Failed: failed,
}

// key is under which the cache has the answer to v.Name.
func (in *inquiry) key(rt *route) cache.Key {
	return cache.Key{Name: in.v.Name, Type: in.q.Type, Class: in.q.Class, DO: in.q.DO, CD: in.q.CD, Group: rt.cache}
}

// settle answers from the cache for as long as it can, and tells whether the reply is complete. If not, v.Forward is to be asked.
func (in *inquiry) settle(now time.Time, stale bool) bool {
	for in.v.Forward != nil {
		rt := in.st.routes[in.v.Forward]
		k := in.key(rt)
		get := in.r.cache.Get
		if stale {
			get = in.r.cache.Stale
		}
		hit, ok := get(in.message(), k, now)
		ok = ok && !(stale && hit.Rcode == dns.RcodeServerFailure) // that there was no answer is known already
		if in.why != nil {
			in.why.looked(rt, hit, ok)
		}
		if !ok {
			return false
		}
		if hit.Prefetch {
			in.r.prefetch(rt, k)
		}
		in.take(hit)
	}
	return true
}

// message is the start of a message which asks for v.Name: that of the reply itself while it holds nothing but the question.
func (in *inquiry) message() []byte {
	if in.v.Answers == 0 {
		return in.v.Body
	}
	in.sub = append(in.sub[:0], make([]byte, message.HeaderSize)...)
	in.sub = append(in.sub, in.v.Name...)
	in.sub = append(in.sub, byte(in.q.Type>>8), byte(in.q.Type), byte(in.q.Class>>8), byte(in.q.Class))
	return in.sub
}

// take makes a hit of the cache, which stands behind what message returned, part of the reply.
func (in *inquiry) take(hit cache.Hit) {
	if hit.CNAME || in.v.Answers > 0 {
		message.PutHeader(hit.Body, 0, message.QR, 1, hit.Answers, hit.Authorities, hit.Additionals)
	}
	if hit.CNAME && in.redirected(hit.Body) {
		return
	}
	in.result = cached
	switch {
	case hit.State == cache.Stale:
		in.result = stale
		in.v.EDE, in.v.EDEText = dns.ExtendedErrorCodeStaleAnswer, "no upstream answers"
		if hit.Rcode == dns.RcodeNameError {
			in.v.EDE = dns.ExtendedErrorCodeStaleNXDOMAINAnswer
		}
	case hit.Rcode == dns.RcodeServerFailure:
		in.fail("an upstream failed just now", dns.ExtendedErrorCodeCachedError, "no upstream answered a moment ago")
		return
	}
	in.v.Rcode = hit.Rcode
	in.ad = hit.AD && in.v.Answers == 0 // of our own CNAME nobody has seen a signature
	if in.v.Answers == 0 {
		in.v.Body, in.v.Answers, in.v.Authorities = hit.Body, hit.Answers, hit.Authorities
		in.additionals, in.v.Forward = hit.Additionals, nil
		return
	}
	in.sub = hit.Body
	in.appendRecords(hit.Body)
}

// redirected lets the view have its say about an answer, in which a CNAME may lead to one of its names.
func (in *inquiry) redirected(answer []byte) bool {
	v, ok := in.st.table.Redirected(in.v, &in.q, answer)
	if !ok {
		return false
	}
	in.v, in.result = v, resultOf[v.Result]
	if in.why != nil {
		in.why.redirected(in)
	}
	return true
}

// appendRecords puts the records of a message, but for its OPT record, behind Body. Names are written out, for the message had
// another beginning.
func (in *inquiry) appendRecords(msg []byte) {
	rd, ok := message.Read(msg)
	for ok {
		rec, more := rd.Next()
		if !more {
			break
		}
		if rec.Type == dns.TypeOPT {
			continue
		}
		if in.v.Body, ok = message.AppendRecord(in.v.Body, msg, rec); ok {
			in.counted(rec.Section)
		}
	}
	if !ok || rd.Bad() {
		in.fail("an upstream sent a malformed answer", dns.ExtendedErrorCodeInvalidData, "an upstream sent a malformed answer")
		return
	}
	in.v.Forward = nil
}

// copyRecords puts the records of a message which has the same beginning as the reply behind it, as they are. It is false when its OPT
// record does not stand last or something is malformed.
func (in *inquiry) copyRecords(msg []byte) bool {
	rd, ok := message.Read(msg)
	start, end := rd.Offset(), rd.Offset()
	var counts [3]uint16
	for last := false; ok; {
		rec, more := rd.Next()
		if !more {
			break
		}
		if last {
			return false
		}
		if last = rec.Type == dns.TypeOPT; last {
			continue
		}
		counts[rec.Section]++
		end = rec.End
		in.sub, ok = message.AppendRecord(in.sub[:0], msg, rec) // are its names good?
	}
	if !ok || rd.Bad() {
		return false
	}
	in.v.Body = append(in.v.Body, msg[start:end]...)
	in.v.Answers, in.v.Authorities, in.additionals, in.v.Forward = counts[0], counts[1], counts[2], nil
	return true
}

func (in *inquiry) counted(s message.Section) {
	switch s {
	case message.Answer:
		in.v.Answers++
	case message.Authority:
		in.v.Authorities++
	case message.Additional:
		in.additionals++
	}
}
