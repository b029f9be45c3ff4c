package resolver

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the largest datagram sent and asked for: it fits every path without fragments (DNS flag day 2020).
const udpSize = 1232

// exchange is one query on its way through the resolver.
type exchange struct {
	r       *Resolver
	client  netip.AddrPort
	tcp     bool
	req     dns.Msg
	opt     *dns.OPT // the client's, or nil
	verdict *verdict
	foreign bool // the view has upstreams: recursion is available
	began   time.Time
}

// take reads a packet and decides. The reply is nil when there is to be none. later is not nil when upstreams must be asked first:
// it belongs on another goroutine, and its result is the reply.
func (r *Resolver) take(packet []byte, client netip.AddrPort, tcp bool) (reply []byte, later *exchange) {
	// Responses are never answered, or two servers could keep each other busy for ever.
	if len(packet) < 12 || packet[2]&0x80 != 0 {
		r.count(dropped)
		return nil, nil
	}
	x := &exchange{r: r, client: client, tcp: tcp, began: r.clk.Now()}
	if opcode := int(packet[2]>>3) & 0xf; opcode != dns.OpcodeQuery {
		return x.bare(packet, dns.RcodeNotImplemented, notImplemented), nil
	}
	if err := x.req.Unpack(packet); err != nil || len(x.req.Question) != 1 || !x.readEDNS() { // RFC 9619: exactly one question
		return x.bare(packet, dns.RcodeFormatError, malformed), nil
	}
	x.verdict = x.screen()
	if x.verdict == nil {
		q := x.req.Question[0]
		v := r.view.Load()
		x.foreign = len(v.upstream) > 0
		x.verdict = v.decide(&query{
			name: lower(q.Name), spelled: q.Name, qtype: q.Qtype, recurse: x.req.RecursionDesired,
		})
	}
	if x.verdict.ask != nil {
		return nil, x
	}
	return x.reply(nil), nil
}

// bare answers what could not be understood: the header alone, which is all that is certain.
func (x *exchange) bare(packet []byte, rcode int, res result) []byte {
	x.r.count(res)
	out := make([]byte, 12)
	copy(out, packet[:2])
	out[2] = 0x80 | packet[2]&0x79 // opcode and RD come back
	out[3] = byte(rcode)
	return out
}

// readEDNS finds the client's OPT record. More than one is malformed (RFC 6891 section 6.1.1).
func (x *exchange) readEDNS() bool {
	for _, rr := range x.req.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			if x.opt != nil {
				return false
			}
			x.opt = opt
		}
	}
	return true
}

// screen says no to what is not a plain question for the Internet class.
func (x *exchange) screen() *verdict {
	q := x.req.Question[0]
	no := func(reason string, rcode int, res result) *verdict {
		return &verdict{result: res, reason: reason, rcode: rcode, code: dns.ExtendedErrorCodeNotSupported, text: reason}
	}
	switch {
	case x.opt != nil && x.opt.Version() != 0:
		return &verdict{result: badVersion, reason: "EDNS version", rcode: dns.RcodeBadVers}
	case q.Qclass != dns.ClassINET:
		return no("only the class IN is served", dns.RcodeRefused, refused)
	case q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR:
		return no("zones are not transferred", dns.RcodeRefused, refused)
	case q.Qtype == dns.TypeOPT || q.Qtype == dns.TypeNone:
		return no("not a type one can ask for", dns.RcodeFormatError, malformed)
	case q.Qtype >= 128 && q.Qtype < dns.TypeANY: // RFC 6895 section 3.1: meta types
		return no("meta types are not served", dns.RcodeNotImplemented, notImplemented)
	}
	return nil
}

// finish asks the upstreams.
func (x *exchange) finish(ctx context.Context) []byte {
	ctx, cancel := context.WithTimeout(ctx, x.r.cfg.QueryTimeout)
	defer cancel()
	v := x.verdict
	q := x.req.Question[0]
	got, err := x.r.ask(ctx, v.ask, v.name, q.Qtype, x.req.CheckingDisabled, x.opt != nil && x.opt.Do())
	if err != nil {
		v.result, v.reason, v.rcode = failed, err.Error(), dns.RcodeServerFailure
		v.answer, v.authority, v.local = nil, nil, false
		v.code, v.text = dns.ExtendedErrorCodeNoReachableAuthority, "no upstream answered"
	}
	return x.reply(got)
}

// busy answers a query for which there is no room.
func (x *exchange) busy() []byte {
	v := x.verdict
	v.result, v.reason, v.rcode = failed, "too many queries wait for upstreams", dns.RcodeServerFailure
	v.answer, v.authority, v.local = nil, nil, false
	v.code, v.text = dns.ExtendedErrorCodeOther, v.reason
	return x.reply(nil)
}

// reply builds the answer from the verdict and, if upstreams were asked, from theirs.
func (x *exchange) reply(upstream *dns.Msg) []byte {
	v := x.verdict
	m := dns.Msg{
		MsgHdr: dns.MsgHdr{
			Id: x.req.Id, Response: true, Authoritative: v.local, RecursionDesired: x.req.RecursionDesired,
			RecursionAvailable: x.foreign, CheckingDisabled: x.req.CheckingDisabled, Rcode: v.rcode,
		},
		Compress: true, Question: x.req.Question, Answer: v.answer, Ns: v.authority,
	}
	var passed []dns.EDNS0
	if upstream != nil {
		m.Rcode = upstream.Rcode
		m.Answer = append(m.Answer, upstream.Answer...)
		m.Ns = append(m.Ns, upstream.Ns...)
		for _, rr := range upstream.Extra {
			if opt, ok := rr.(*dns.OPT); ok {
				passed = extendedErrors(opt)
				continue
			}
			m.Extra = append(m.Extra, rr)
		}
	}
	limit := dns.MinMsgSize
	if x.opt != nil {
		limit = min(max(limit, int(x.opt.UDPSize())), udpSize)
		x.addOPT(&m, passed)
	} else if m.Rcode > 0xf { // an extended code needs an OPT record to travel in
		m.Rcode = dns.RcodeServerFailure
	}
	if x.tcp {
		limit = dns.MaxMsgSize
	}
	out, err := m.Pack()
	if err == nil && len(out) > limit {
		m.Truncate(limit)
		out, err = m.Pack()
	}
	if err != nil { // a record of an upstream that can be read but not written
		v.result, v.reason = failed, err.Error()
		m.Rcode, m.Answer, m.Ns, m.Extra = dns.RcodeServerFailure, nil, nil, nil
		if out, err = m.Pack(); err != nil {
			x.r.count(dropped)
			return nil
		}
	}
	x.r.count(v.result)
	x.log(m.Rcode)
	return out
}

func (x *exchange) addOPT(m *dns.Msg, passed []dns.EDNS0) {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: passed}
	opt.SetUDPSize(udpSize)
	if x.opt.Do() {
		opt.SetDo()
	}
	if v := x.verdict; v.text != "" {
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: v.code, ExtraText: v.text})
	}
	m.Extra = append(m.Extra, opt)
}

func extendedErrors(opt *dns.OPT) []dns.EDNS0 {
	var out []dns.EDNS0
	for _, o := range opt.Option {
		if _, ok := o.(*dns.EDNS0_EDE); ok {
			out = append(out, o)
		}
	}
	return out
}

func (x *exchange) log(rcode int) {
	ctx := context.Background()
	if !x.r.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	q := x.req.Question[0]
	x.r.log.LogAttrs(ctx, slog.LevelDebug, "resolved",
		slog.String("name", q.Name), slog.String("type", dns.Type(q.Qtype).String()), slog.String("client", x.client.String()),
		slog.String("rcode", dns.RcodeToString[rcode]), slog.String("result", x.verdict.result.String()),
		slog.String("why", x.verdict.reason), slog.Duration("took", x.r.clk.Now().Sub(x.began)))
}

// lower is the ASCII lower case of a name, without a copy when it is that already.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return strings.Map(func(c rune) rune {
				if 'A' <= c && c <= 'Z' {
					return c + 'a' - 'A'
				}
				return c
			}, s)
		}
	}
	return s
}

// frame puts the length in front that TCP wants (RFC 1035 section 4.2.2).
func frame(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, len(msg)+2), uint16(len(msg))), msg...)
}
