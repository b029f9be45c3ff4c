package resolver

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resolver/cache"
	"github.com/isthmus-io/isthmus/resolver/datagram"
	"github.com/isthmus-io/isthmus/resolver/message"
	"github.com/isthmus-io/isthmus/resolver/upstream"
)

// exchange is an inquiry that waits for upstreams.
type exchange struct {
	mu sync.Mutex // guards all below: between the answer and the moment when a stale one is due
	inquiry
	packet  []byte // the query's, its own
	body    []byte // room for the reply
	options []byte // room for passed
	route   *route // who is asked
	name    []byte // for what
	replied bool
	waiting chan struct{} // closed at the end, for who waits until a stale answer is due; nil without

	sock *datagram.Socket // for a datagram, with the way back
	back datagram.Return
	to   func([]byte) // for all others; it does not block and keeps nothing

	answered func(upstream.Answer)
}

func newExchange(r *Resolver) *exchange {
	x := &exchange{inquiry: inquiry{r: r}}
	x.answered = x.arrived
	return x
}

// exchange takes the inquiry at the desk with it. When there is no room for more it is nil, and the reply says so.
func (d *desk) exchange() (x *exchange, reply []byte) {
	r := d.r
	if d.fromPeer() && r.asking.has(asked{string(d.v.Name), d.q.Type}) {
		d.loop("the server that is asked for it asks for it", dns.RcodeServerFailure)
		return nil, d.done()
	}
	if !r.reserveFor(d.from.Addr()) {
		if n := r.crowded.Happened(d.now, reportEvery); n > 0 {
			r.log.Warn("queries find no place among those that wait for upstreams", slog.Uint64("queries", n), slog.String("source", d.from.Addr().String()),
				slog.String("name", message.Text(d.q.Spelled)), slog.Int("places", r.cfg.MaxForwards))
		}
		if !d.settle(d.now, true) {
			d.fail("too many queries wait for upstreams", dns.ExtendedErrorCodeOther, "too many queries wait for upstreams")
		}
		return nil, d.done()
	}
	x = r.spare.Get().(*exchange) //nolint:forcetypeassert // its own
	x.packet = append(x.packet[:0], d.q.Packet...)
	_ = x.q.Parse(x.packet) // says what it said before
	x.begin(d.from, d.via, d.began)
	x.st, x.why, x.result, x.v = d.st, d.why, d.result, d.v
	x.body = append(x.body[:0], d.v.Body...)
	x.v.Body, x.v.Name = x.body, x.q.Name
	if x.v.Answers > 0 { // the name stands where the last CNAME ends
		x.v.Name = x.body[len(x.body)-len(d.v.Name):]
	}
	x.replied, x.waiting = false, nil
	return x, nil
}

// fromPeer tells whether the client's address is one that is asked itself.
func (d *desk) fromPeer() bool {
	if len(d.st.peers) == 0 {
		return false
	}
	_, ok := d.st.peers[d.from.Addr()]
	return ok
}

// reserveFor takes a place for a source, which may not have them all: who asks for names that nobody answers would otherwise keep the others
// from theirs.
func (r *Resolver) reserveFor(from netip.Addr) bool {
	if !r.shares.Take(from) {
		return false
	}
	if !r.reserve() {
		r.shares.Give(from)
		return false
	}
	return true
}

func (r *Resolver) reserve() bool {
	if r.inFlight.Add(1) > int64(r.cfg.MaxForwards) {
		r.inFlight.Add(-1)
		return false
	}
	return true
}

// start asks the upstreams. The exchange answers its client and puts itself away.
func (x *exchange) start() {
	x.mu.Lock()
	if s, ok := x.r.cache.Look(x.inquiry.key(x.st.routes[x.v.Forward])); ok && s.State == cache.Stale {
		x.waiting = make(chan struct{})
		x.r.patient.Go(x.wait)
	}
	x.mu.Unlock()
	x.ask()
}

// ask puts the question of the verdict.
func (x *exchange) ask() {
	x.mu.Lock()
	x.route = x.st.routes[x.v.Forward]
	x.name = append(x.name[:0], x.v.Name...)
	group, q := x.route.group, upstream.Query{Name: x.name, Type: x.q.Type, CD: x.q.CD, AD: true, DO: x.q.DO}
	q.Via, _ = x.q.Option(upstream.LoopOption)
	watched := len(x.st.peers) > 0
	x.mu.Unlock()
	if watched {
		x.r.asking.add(asked{string(q.Name), q.Type})
	}
	x.r.pool.Ask(context.Background(), group, q, x.answered)
}

// arrived takes what the upstreams said. It is called by the pool, must not block, and the message is good until it returns.
func (x *exchange) arrived(a upstream.Answer) {
	r := x.r
	now := r.clk.Now()
	x.mu.Lock()
	if len(x.st.peers) > 0 {
		r.asking.remove(asked{string(x.name), x.q.Type})
	}
	k := x.inquiry.key(x.route)
	k.Name = x.name // a stale answer may have taken the verdict further
	switch {
	case a.Joined: // who came first keeps it
	case a.Err == nil && !a.Truncated:
		r.cache.Put(k, a.Message, now)
	case a.Err != nil && fault.KindOf(a.Err) == fault.Timeout:
		r.cache.Fail(k, now)
	}
	var reply []byte
	if !x.replied {
		if !x.use(a, now) {
			x.mu.Unlock()
			x.ask() // a CNAME led to what others know
			return
		}
		x.replied = true
		reply = x.complete(now)
	}
	x.mu.Unlock()
	if reply != nil {
		x.send(reply)
	}
	x.end()
}

// complete returns the reply and counts it.
func (x *exchange) complete(now time.Time) []byte {
	reply := x.reply(now)
	x.r.metrics.counts[x.result].Add(1)
	x.log(now)
	return reply
}

// use makes an answer part of the reply, and tells whether that is complete.
func (x *exchange) use(a upstream.Answer, now time.Time) bool {
	if x.why != nil {
		x.why.asked(x.route, a)
	}
	if unwilling(a) {
		hops := x.v.Answers
		if x.settle(now, true) {
			return true
		}
		if x.v.Answers != hops { // what was stale led elsewhere
			return false
		}
		x.unanswered(a)
		return true
	}
	rd, ok := message.Read(a.Message)
	if !ok || rd.Offset() != message.HeaderSize+len(x.v.Name)+4 {
		x.fail("an upstream sent a malformed answer", dns.ExtendedErrorCodeInvalidData, "an upstream sent a malformed answer")
		return true
	}
	if x.redirected(a.Message) {
		return x.settle(now, false)
	}
	x.result = forwarded
	x.v.Rcode, x.ad, x.tc = int(a.RCode&0xf), a.Message[3]&message.AD != 0, a.Truncated
	x.pass(a.Message)
	if x.v.Answers > 0 || !x.copyRecords(a.Message) {
		x.appendRecords(a.Message)
	}
	return true
}

// unwilling tells of an answer that is as good as none.
func unwilling(a upstream.Answer) bool {
	return a.Err != nil || a.RCode != dns.RcodeSuccess && a.RCode != dns.RcodeNameError
}

// unanswered says what is said when there is no answer and no stale one either.
func (x *exchange) unanswered(a upstream.Answer) {
	if a.Err == nil {
		rcode := int(a.RCode)
		if rcode > 0xf {
			rcode = dns.RcodeServerFailure
		}
		x.say(forwarded, rcode, "an upstream said so", 0, "")
		x.pass(a.Message)
		return
	}
	text := "no upstream answered"
	if fault.KindOf(a.Err) == fault.Exhausted {
		text = "too many queries wait for upstreams"
	}
	x.fail(a.Err.Error(), dns.ExtendedErrorCodeNoReachableAuthority, text)
}

// pass takes over the extended errors of an answer.
func (x *exchange) pass(msg []byte) {
	const most = 256 // bytes
	x.options = x.options[:0]
	for rd, ok := message.Read(msg); ok; {
		rec, more := rd.Next()
		if !more {
			break
		}
		if rec.Type != dns.TypeOPT || rec.Section != message.Additional {
			continue
		}
		for rest := msg[rec.Data:rec.End]; len(rest) > 0; {
			code, data, after, whole := message.NextOption(rest)
			if !whole {
				break
			}
			if rest = after; code == message.OptionEDE && len(data) >= 2 && len(x.options)+len(data) < most {
				x.options = message.AppendOption(x.options, code, data)
			}
		}
	}
	x.passed = x.options
}

// wait gives a stale answer when the upstreams take too long for a client (RFC 8767 section 5). They are still waited for, to have
// their answer for the next one.
func (x *exchange) wait() {
	due, stop := x.r.clk.After(x.r.cfg.StaleAfter)
	defer stop()
	select {
	case <-x.waiting:
		return
	case <-due:
	}
	x.mu.Lock()
	if x.replied {
		x.mu.Unlock()
		return
	}
	now := x.r.clk.Now()
	v, res := x.v, x.result
	if !x.settle(now, true) { // it leads to what must be asked for, and the answer that is waited for may lead elsewhere
		x.v, x.result = v, res
		x.mu.Unlock()
		return
	}
	x.replied = true
	reply := x.complete(now)
	x.mu.Unlock()
	x.send(reply)
}

// send is outside of the lock: nobody else writes the reply any more.
func (x *exchange) send(reply []byte) {
	if x.sock != nil {
		_ = x.sock.Send(&x.back, reply) // a client that is gone asks again
		return
	}
	x.to(reply)
}

// end puts the exchange away. One that somebody waited beside is left to the collector.
func (x *exchange) end() {
	x.r.inFlight.Add(-1)
	x.r.shares.Give(x.from.Addr())
	if x.waiting != nil {
		close(x.waiting)
		return
	}
	x.body = x.v.Body[:0]
	if cap(x.body) > 4096 || cap(x.sub) > 4096 || cap(x.packet) > 4096 {
		x.body, x.sub, x.packet = nil, nil, nil
	}
	x.st, x.why, x.sock, x.to, x.route, x.passed = nil, nil, nil, nil, nil, nil
	x.v.Body, x.v.Name, x.v.Forward = nil, nil, nil
	x.r.spare.Put(x)
}

// prefetch asks for what is about to end in the cache, for the next who wants it.
func (r *Resolver) prefetch(rt *route, k cache.Key) {
	if !r.reserve() {
		return
	}
	k.Name = append([]byte(nil), k.Name...)
	r.pool.Ask(context.Background(), rt.group, upstream.Query{Name: k.Name, Type: k.Type, CD: k.CD, AD: true, DO: k.DO}, func(a upstream.Answer) {
		if a.Err == nil && !a.Truncated && !a.Joined && !unwilling(a) {
			r.cache.Put(k, a.Message, r.clk.Now())
		}
		r.inFlight.Add(-1)
	})
}
