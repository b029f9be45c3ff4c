package asker

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver"
)

// patience is how long a resolver has: a little more than ours takes to give up on its upstreams.
const patience = 6 * time.Second

// Step is one thing that had a say in an answer.
type Step struct {
	What   string `json:"what"`   // a kind of package view's, or cache, upstream, redirect or result
	Detail string `json:"detail"` // in words
}

// Of an answer as it came about, not of how it was decided.
var happened = []string{"cache", "upstream", "redirect", "result"}

// Happened tells whether the step is of what was done for this question alone: what a plan cannot tell.
func (s Step) Happened() bool { return slices.Contains(happened, s.What) }

// Reply is what a resolver answered.
type Reply struct {
	Resolver  netip.AddrPort `json:"resolver"`
	Rcode     string         `json:"rcode"`             // NOERROR, NXDOMAIN, ...
	Answers   []string       `json:"answers,omitempty"` // records as zone files write them, single spaces between the fields
	Errors    []string       `json:"errors,omitempty"`  // extended errors (RFC 8914) in words
	Steps     []Step         `json:"steps,omitempty"`   // none: the resolver does not explain itself
	Truncated bool           `json:"truncated,omitempty"`
	Took      time.Duration  `json:"took"` // nanoseconds, the way there included
}

// Type reads a type of record: A, aaaa, TYPE65 (RFC 3597 section 5).
func Type(text string) (uint16, error) {
	upper := strings.ToUpper(text)
	if n, ok := dns.StringToType[upper]; ok && n != dns.TypeNone {
		return n, nil
	}
	if digits, ok := strings.CutPrefix(upper, "TYPE"); ok {
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil && n > 0 {
			return uint16(n), nil
		}
	}
	return 0, fault.Newf("asker.Type", fault.Invalid, "%q is no type of record", text[:min(len(text), 40)]).
		Advise("write A, AAAA, CNAME, MX, SRV, PTR, TXT, CAA, or TYPE and a number")
}

// Name checks that text is a domain name that can be asked for and writes it without its last dot, in lower case.
func Name(text string) (string, error) {
	if _, ok := dns.IsDomainName(text); !ok || text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", fault.Newf("asker.Name", fault.Invalid, "%q is no domain name", text[:min(len(text), 300)]).
			Advise("write a whole name, such as contoso.azure-devices.net")
	}
	if text == "." {
		return text, nil
	}
	return strings.ToLower(strings.TrimSuffix(text, ".")), nil
}

// Reverse is the name whose PTR record names an address (RFC 1035 section 3.5, RFC 3596 section 2.5), without its last dot.
func Reverse(ip netip.Addr) string {
	name, err := dns.ReverseAddr(ip.Unmap().WithZone("").String())
	if err != nil { // it was no address
		return ""
	}
	return strings.TrimSuffix(name, ".")
}

// Ask asks a resolver for a name, recursion desired. The fault is Unavailable or Timeout when it cannot be reached or gives no DNS
// answer; an answer such as REFUSED is a Reply.
func Ask(ctx context.Context, at netip.AddrPort, name string, qtype uint16, clk clock.Clock) (Reply, error) {
	const op = "asker.Ask"
	if _, err := Name(name); err != nil {
		return Reply{}, err
	}
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(1232, false)
	q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: resolver.WhyOption}}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := clk.Now()
	c := dns.Client{Net: "tcp", Timeout: patience}
	m, _, err := c.ExchangeContext(ctx, q, at.String())
	if err != nil {
		return Reply{}, unanswered(at, err)
	}
	if !m.Response || len(m.Question) != 1 || m.Question[0].Qtype != qtype || !strings.EqualFold(m.Question[0].Name, q.Question[0].Name) {
		return Reply{}, fault.Newf(op, fault.Unavailable, "%s answers another question", at).Advise("check that a DNS server listens there")
	}
	r := Reply{Resolver: at, Rcode: dns.RcodeToString[m.Rcode], Truncated: m.Truncated, Took: clk.Now().Sub(began)}
	if r.Rcode == "" {
		r.Rcode = "RCODE" + strconv.Itoa(m.Rcode)
	}
	for _, rr := range m.Answer {
		r.Answers = append(r.Answers, clean(strings.Join(strings.Fields(rr.String()), " ")))
	}
	for _, rr := range m.Extra {
		switch rr := rr.(type) {
		case *dns.TXT:
			if strings.EqualFold(rr.Hdr.Name, resolver.WhyName) && len(rr.Txt) > 0 {
				r.Steps = append(r.Steps, Step{plain(rr.Txt[0]), plain(strings.Join(rr.Txt[1:], ""))})
			}
		case *dns.OPT:
			r.extended(rr)
		}
	}
	return r, nil
}

func (r *Reply) extended(o *dns.OPT) {
	for _, e := range o.Option {
		if e, ok := e.(*dns.EDNS0_EDE); ok {
			text := dns.ExtendedErrorCodeToString[e.InfoCode]
			if text == "" {
				text = "error " + strconv.Itoa(int(e.InfoCode))
			}
			if e.ExtraText != "" {
				text += ": " + clean(e.ExtraText)
			}
			r.Errors = append(r.Errors, text)
		}
	}
}

// unanswered says why there is no answer.
func unanswered(at netip.AddrPort, err error) error {
	const op = "asker.Ask"
	if n, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && n.Timeout() {
		return fault.Newf(op, fault.Timeout, "the resolver %s did not answer in %s", at, patience).
			Advise("ask from a machine of its network, or check the way to it").Because(err)
	}
	cause := err
	if e, ok := errors.AsType[*net.OpError](err); ok {
		cause = e.Err
	}
	return fault.Newf(op, fault.Unavailable, "the resolver %s cannot be asked: %v", at, cause).
		Advise("ask from a machine of its network, or check that it runs").Because(err)
}

// plain undoes the escapes in which the text of a TXT record is given (RFC 1035 section 5.1).
func plain(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i:i+3], 10, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return clean(b.String())
}

// clean takes out what could repaint a terminal or forge a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
