package resolver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver/cache"
	"github.com/isthmus-io/isthmus/resolver/message"
	"github.com/isthmus-io/isthmus/resolver/upstream"
)

// WhyOption is the code of a private EDNS option (RFC 6891 section 9). A client that may ask and sends it, empty, gets beside its answer
// how that came about: TXT records in the additional section, owned by [WhyName], each of two texts or more: what it is about, and what
// is to be said, in pieces of 255 bytes. What it is about is one of the kinds of steps of package view, and then of these:
//
//	cache     what the cache had: fresh or stale, how old; or nothing
//	upstream  who was asked, how long it took, what it said
//	redirect  a CNAME of an upstream led to a name that the view decides
//	result    how the query ended
//
// An explanation is long: ask over TCP, or it is cut and the reply says so.
const WhyOption = 65310

// WhyName owns the records of an explanation.
const WhyName = "why.isthmus."

// chain is how an answer came about, as it happens.
type chain struct{ steps []step }

type step struct{ what, detail string }

const mostSteps = 40

func (c *chain) add(what, format string, args ...any) {
	if len(c.steps) < mostSteps {
		c.steps = append(c.steps, step{what, fmt.Sprintf(format, args...)})
	}
}

func (c *chain) decided(in *inquiry) {
	for _, s := range in.st.table.Explain(message.Text(in.q.Name), in.q.Type) {
		c.add(s.What, "%s", s.Detail)
	}
}

func (c *chain) redirected(in *inquiry) {
	c.add("redirect", "a CNAME of that answer leads to a name decided here: %s", in.v.Reason)
}

func (c *chain) looked(rt *route, hit cache.Hit, ok bool) {
	s := step{what: "cache"}
	switch {
	case !ok:
		s.detail = "nothing of " + source(rt)
	case hit.State == cache.Stale:
		s.detail = fmt.Sprintf("stale, %v old, of %s", hit.Age.Round(time.Millisecond), source(rt))
	default:
		s.detail = fmt.Sprintf("%s, %v old, of %s", dns.RcodeToString[hit.Rcode], hit.Age.Round(time.Millisecond), source(rt))
	}
	if !slices.Contains(c.steps, s) { // it is looked into again when nobody answered
		c.add(s.what, "%s", s.detail)
	}
}

// source says whose answers a route leads to.
func source(rt *route) string {
	if rt.target.Rule == "" {
		return "the upstreams"
	}
	return rt.target.Reason
}

func (c *chain) asked(rt *route, a upstream.Answer) {
	if a.Err != nil {
		because := ""
		if cause := errors.Unwrap(a.Err); cause != nil {
			because = ": " + cause.Error()
		}
		c.add("upstream", "%s, %s: %s%s", serversOf(rt), source(rt), fault.Message(a.Err), because)
		return
	}
	joined := ""
	if a.Joined {
		joined = ", asked for another client already"
	}
	c.add("upstream", "%v, %s: %s after %v%s", a.Server, source(rt), dns.RcodeToString[int(a.RCode)], a.RTT.Round(time.Microsecond), joined)
}

func serversOf(rt *route) string {
	text := ""
	for i, s := range rt.target.Servers {
		if i > 0 {
			text += ", "
		}
		text += s.String()
	}
	return text
}

// appendWhy puts the explanation behind the reply.
func (in *inquiry) appendWhy() {
	reason := in.v.Reason
	if in.result == failed && in.v.EDEText != "" { // what is logged has been said of the upstream
		reason = in.v.EDEText
	}
	in.why.add("result", "%s: %s", in.result, reason)
	for _, s := range in.why.steps {
		in.v.Body = append(in.v.Body, "\x03why\x07isthmus\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00"...)
		at := len(in.v.Body)
		in.v.Body = append(append(in.v.Body, byte(len(s.what))), s.what...)
		for text := s.detail; text != ""; {
			n := min(len(text), 255)
			in.v.Body = append(append(in.v.Body, byte(n)), text[:n]...)
			text = text[n:]
		}
		binary.BigEndian.PutUint16(in.v.Body[at-2:], uint16(len(in.v.Body)-at))
		in.additionals++
	}
}
