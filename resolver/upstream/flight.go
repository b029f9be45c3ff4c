package upstream

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/fault"
)

// flight is a question in flight, for one or more who wait, or a probe. All of it is guarded by Pool.mu, once Ask has filled it in;
// flights are used again, and gen tells the uses and tries apart.
type flight struct {
	key     key
	name    [maxName]byte // lower case
	nameLen int
	via     []byte
	waiters []waiter
	probe   *server // only this one is asked, and nobody waits
	listed  bool    // in Pool.flights

	deadline time.Time // of all tries together
	links    [2]link

	tried  uint64 // servers of the group, one bit each
	rounds int
	lost   bool   // a try had no answer at all, so that another round may have one
	best   []byte // an answer of a server that was unwilling, or cut: better than none
	bestOf Answer
	lastly error

	gen  uint32 // of the try
	sent []byte // the question as it was put, which an answer must repeat
	try  try
}

// try is a question at one server.
type try struct {
	server   *server
	began    time.Time
	deadline time.Time

	sock  *socket // the carrier: one of these, or none while it is opened
	strm  *stream
	fetch context.CancelFunc
	id    uint16 // on the carrier
	on    bool   // a carrier has it

	level   level
	mixed   bool
	cookied bool // our cookie was sent
	overTCP why
	retried bool // BADCOOKIE was answered once
	again   bool // it was sent again on a new connection
}

// why says for what reason a question to a udp server is over TCP.
type why uint8

const (
	notTCP     why = iota
	forSize        // the answer was cut
	forCase        // the answer had another case, and may be forged
	forCookie      // the answer lacked the cookie, and may be forged
	forBadOnes     // the server does not take the cookie it gave
)

// clear makes a flight ready for another question. gen stays: others may still compare it.
func (f *flight) clear() {
	clear(f.waiters)
	f.waiters, f.via, f.sent = f.waiters[:0], f.via[:0], f.sent[:0]
	f.key, f.nameLen, f.probe, f.listed = key{}, 0, nil, false
	f.deadline, f.tried, f.rounds, f.lost = time.Time{}, 0, 0, false
	f.best, f.bestOf, f.lastly, f.try = nil, Answer{}, nil, try{}
}

// proceed asks the next server of the group, or ends the question when there is none.
func (p *Pool) proceed(f *flight, now time.Time, w *work) {
	if s := p.next(f); s != nil {
		p.begin(f, s, now, w)
		return
	}
	p.finish(f, w, p.outcome(f))
}

// next chooses a server: the first healthy one not asked yet; when there is none and nobody gave any answer, the skipped one whose
// pause ends first; and when all were asked and an answer may only have been lost, all over again.
func (p *Pool) next(f *flight) *server {
	if f.probe != nil {
		if f.tried != 0 {
			return nil
		}
		f.tried = 1
		return f.probe
	}
	servers := f.key.group.servers
	for {
		soonest := -1
		for i, s := range servers {
			if f.tried>>i&1 != 0 {
				continue
			}
			if s.skipTo.IsZero() {
				f.tried |= 1 << i
				return s
			}
			if soonest < 0 || s.skipTo.Before(servers[soonest].skipTo) {
				soonest = i
			}
		}
		switch {
		case f.best != nil:
			return nil
		case soonest >= 0:
			f.tried |= 1 << soonest
			return servers[soonest]
		case !f.lost || f.rounds+1 == maxTries:
			return nil
		}
		f.tried, f.lost = 0, false
		f.rounds++
	}
}

// outcome is the answer when nobody gave a good one.
func (p *Pool) outcome(f *flight) Answer {
	if f.best != nil {
		return f.bestOf
	}
	if f.lost || f.lastly == nil {
		return Answer{Err: fault.New("upstream.Ask", fault.Timeout, "no server answered in time").
			Because(f.lastly).Advise("see which servers are skipped, and whether this machine can reach them")}
	}
	return Answer{Err: fault.New("upstream.Ask", fault.Unavailable, "no server could be asked").
		Because(f.lastly).Advise("see which servers are skipped, and whether this machine can reach them")}
}

// begin starts a try.
func (p *Pool) begin(f *flight, s *server, now time.Time, w *work) {
	f.gen++
	f.try = try{server: s, began: now, deadline: now.Add(p.cfg.Timeout), level: s.levelAt(now)}
	s.queries++
	p.tries.push(f)
	p.wakeBefore(f.try.deadline)
	p.launch(f, now, w)
}

// launch puts the question of a try onto a carrier; again, when something about it changed.
func (p *Pool) launch(f *flight, now time.Time, w *work) {
	p.unload(f)
	f.gen++
	switch t := f.try.server.Transport; {
	case t == HTTPS:
		p.overHTTPS(f)
	case t == UDP && f.try.overTCP == notTCP:
		p.overUDP(f, now, w)
	default:
		p.overStream(f, now)
	}
}

// unload takes a try off its carrier; an answer that still comes finds nobody.
func (p *Pool) unload(f *flight) {
	t := &f.try
	switch {
	case !t.on:
	case t.sock != nil:
		delete(t.sock.pending, t.id)
		p.closeEmpty(t.sock)
	case t.strm != nil:
		t.strm.forget(t.id)
	case t.fetch != nil:
		t.fetch()
	}
	t.on, t.sock, t.strm, t.fetch = false, nil, nil, nil
}

// leave ends the present try.
func (p *Pool) leave(f *flight) {
	p.unload(f)
	p.tries.remove(f)
	f.gen++
}

// drop takes a flight out of the tables. Who calls it looks after the waiters.
func (p *Pool) drop(f *flight) {
	p.all.remove(f)
	if f.listed {
		delete(p.flights, f.key)
		f.listed = false
	}
	if f.probe != nil {
		f.probe.probing = false
	}
}

// finish ends a question: its waiters get the answer as soon as the lock is free.
func (p *Pool) finish(f *flight, w *work, a Answer) {
	p.leave(f)
	p.drop(f)
	p.asks -= len(f.waiters)
	for i := range f.waiters {
		if f.waiters[i].stop != nil {
			delete(p.leaving, f.waiters[i].seq)
		}
	}
	if w.asking { // done is never called from Ask
		p.late = append(p.late, ending{flight: f, answer: a})
		p.wakeUp()
		return
	}
	w.ends = append(w.ends, ending{flight: f, answer: a})
}

// succeed ends a try with an answer, which may be one that another server could do better.
func (p *Pool) succeed(f *flight, msg []byte, r *reading, now time.Time, w *work) {
	a := f.answer(msg, r, now, w)
	if r.rcode != dns.RcodeFormatError && r.rcode != dns.RcodeNotImplemented {
		f.try.server.understood(f.try.level, now)
	}
	if r.unwilling() {
		p.keepBest(f, a)
		p.leave(f)
		p.proceed(f, now, w)
		return
	}
	p.finish(f, w, a)
}

// answer makes of a message what waiters get, and notes that the server lives.
func (f *flight) answer(msg []byte, r *reading, now time.Time, w *work) Answer {
	s := f.try.server
	rtt := now.Sub(f.try.began)
	s.answered(rtt, w)
	msg[0], msg[1] = 0, 0
	if r.question != nil {
		copy(r.question, f.name[:f.nameLen])
	}
	return Answer{Message: msg, Server: &s.Server, RTT: rtt, RCode: r.rcode, Truncated: r.truncated}
}

// keepBest keeps an answer that is given when nobody has a better one.
func (p *Pool) keepBest(f *flight, a Answer) {
	if f.best == nil || f.bestOf.RCode != 0 && a.RCode == 0 {
		f.best = append([]byte{}, a.Message...)
		a.Message = f.best
		f.bestOf = a
	}
}

// fail ends a try without an answer. Lost: perhaps only a datagram was, so the same server may be asked again.
func (p *Pool) fail(f *flight, err error, lost bool, now time.Time, w *work) {
	t := &f.try
	s := t.server
	f.lastly = err
	switch t.overTCP {
	case forCase: // it answers over UDP, and over TCP nobody can say whether it changes case
		s.plainUntil = now.Add(withoutCase)
	case forCookie, forBadOnes:
		s.withoutCookies(now)
	}
	if t.overTCP > forSize && now.Before(t.deadline) {
		t.overTCP = notTCP
		p.launch(f, now, w)
		return
	}
	f.lost = f.lost || lost
	s.failures++
	p.metrics.failures.Inc()
	if t.overTCP == notTCP && !ourOwn(err) {
		p.blame(s, t.began, now, err, w)
	}
	p.leave(f)
	p.proceed(f, now, w)
}

// ourOwn tells whether an error is of this machine, and says nothing of the server.
func ourOwn(err error) bool {
	return errors.Is(err, errNoSockets) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, syscall.EADDRINUSE)
}
