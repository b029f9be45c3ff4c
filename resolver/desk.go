package resolver

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/resolver/message"
	"github.com/isthmus-io/isthmus/resolver/upstream"
)

// desk answers queries, one at a time, without allocating what the answers do not need. Every goroutine that reads has its own.
type desk struct {
	inquiry
	now    time.Time
	slip   bool            // the last query over the limit was dropped
	counts [results]uint64 // not told yet
}

func (r *Resolver) newDesk() *desk { return &desk{inquiry: inquiry{r: r}} }

// open begins a batch of queries, which all see the same view.
func (d *desk) open() { d.now, d.st = d.r.clk.Now(), d.r.state.Load() }

// close tells the counts of a batch.
func (d *desk) close() {
	for i, n := range d.counts {
		if n > 0 {
			d.r.metrics.counts[i].Add(n)
			d.counts[i] = 0
		}
	}
}

// answer appends the reply to a packet to out, which is empty. No reply: there is to be none, or, when more is true, upstreams must be
// asked first: see desk.exchange.
func (d *desk) answer(out, packet []byte, from netip.AddrPort, via transport) (reply []byte, more bool) {
	err := d.q.Parse(packet)
	// Responses are never answered, or two servers could keep each other busy for ever.
	if err != nil && (errors.Is(err, message.ErrShort) || errors.Is(err, message.ErrResponse)) {
		d.counts[dropped]++
		return nil, false
	}
	d.begin(from, via, d.now)
	d.v.Body = d.q.Begin(out)
	if !d.admit(err) {
		return nil, false
	}
	if d.result == forwarded {
		if err == nil {
			d.screen()
		} else {
			d.malformed(err)
		}
	}
	if d.result == forwarded {
		d.decide()
		if !d.settle(d.now, false) {
			return nil, true
		}
	}
	return d.done(), false
}

// done ends an inquiry at the desk.
func (d *desk) done() []byte {
	reply := d.reply(d.now)
	d.counts[d.result]++
	d.log(d.now)
	return reply
}

// admit looks at who asks. It is false when nothing is to be answered; a result other than forwarded is the answer.
func (d *desk) admit(err error) bool {
	d.result = forwarded
	from := d.from.Addr()
	if !d.st.clients.Has(from) {
		if n := d.r.strange.Happened(d.now, reportEvery); n > 0 {
			d.r.log.Warn("queries of sources that may not ask", slog.Uint64("queries", n), slog.String("source", from.String()))
		}
		// To refuse says at once what is wrong, where silence would be searched for in cables and firewalls. It is no longer than the
		// question, and limited, so that it is of no use against somebody whose address was forged.
		if err != nil || d.via == overUDP && !d.r.refuses.Take(from, d.now) {
			d.counts[strangers]++
			return false
		}
		d.say(strangers, dns.RcodeRefused, "source may not ask", dns.ExtendedErrorCodeProhibited, "this network's resolver does not answer your address")
		return true
	}
	if d.via != overUDP || from.IsLoopback() && !d.r.cfg.LimitLoopback || d.r.rates.Take(from, d.now) || d.r.cookies.Good(d.q.Cookie, from, d.now) {
		return true
	}
	if n := d.r.limited.Happened(d.now, reportEvery); n > 0 {
		d.r.log.Warn("queries of sources that ask too often", slog.Uint64("queries", n), slog.String("source", from.String()), slog.Int("limit", d.r.cfg.RatePerSource))
	}
	// Every second is answered with what brings a true client back: a cookie, or the wish for TCP. Both are short.
	d.slip = !d.slip
	if d.slip || err != nil {
		d.counts[limited]++
		return false
	}
	if d.q.Cookie != nil {
		d.say(limited, dns.RcodeBadCookie, "source asks too often", 0, "")
	} else {
		d.say(limited, dns.RcodeSuccess, "source asks too often", 0, "")
		d.tc = true
	}
	return true
}

// reportEvery is how often the log hears of what happens all the time.
const reportEvery = time.Minute

// malformed answers what could not be understood: the header alone, which is all that is certain.
func (d *desk) malformed(err error) {
	switch {
	case errors.Is(err, message.ErrNoQuestion) && d.q.Cookie != nil && d.q.Version == 0: // RFC 7873 section 5.4: only the cookie is wanted
		d.say(answered, dns.RcodeSuccess, "a cookie was asked for", 0, "")
		return
	case errors.Is(err, message.ErrOpcode):
		d.q.End = message.HeaderSize
		d.say(notImplemented, dns.RcodeNotImplemented, "operation", 0, "")
	default:
		d.q.End = message.HeaderSize
		d.say(malformed, dns.RcodeFormatError, "malformed", 0, "")
	}
	d.bare = true
}

// screen says no to what is not a plain question for the Internet class.
func (d *desk) screen() {
	no := func(reason string, rcode int, res result) {
		d.say(res, rcode, reason, dns.ExtendedErrorCodeNotSupported, reason)
	}
	q := &d.q
	switch {
	case q.EDNS && q.Version != 0:
		d.say(badVersion, dns.RcodeBadVers, "EDNS version", 0, "")
	case q.Class != dns.ClassINET:
		no("only the class IN is served", dns.RcodeRefused, refused)
	case q.Type == dns.TypeAXFR || q.Type == dns.TypeIXFR:
		no("zones are not transferred", dns.RcodeRefused, refused)
	case q.Type == dns.TypeOPT || q.Type == dns.TypeNone:
		no("not a type one can ask for", dns.RcodeFormatError, malformed)
	case q.Type >= 128 && q.Type < dns.TypeANY: // RFC 6895 section 3.1: meta types
		no("meta types are not served", dns.RcodeNotImplemented, notImplemented)
	case len(q.Options) > 0:
		if via, ok := q.Option(upstream.LoopOption); ok && upstream.HasToken(via, d.r.pool.Token()) {
			d.loop("it has passed this resolver before", dns.RcodeRefused)
			return
		}
		if _, ok := q.Option(WhyOption); ok {
			d.why = &chain{}
		}
	}
}

// loop refuses a query that goes in a circle.
func (d *desk) loop(how string, rcode int) {
	if n := d.r.looping.Happened(d.now, reportEvery); n > 0 {
		d.r.log.Warn("queries go in a circle: an upstream or a rule's target asks this resolver", slog.Uint64("queries", n), slog.String("source", d.from.Addr().String()),
			slog.String("name", message.Text(d.q.Spelled)), slog.String("how", how))
	}
	d.say(looped, rcode, "forwarding loop: "+how, dns.ExtendedErrorCodeOther, "forwarding loop: "+how)
}
