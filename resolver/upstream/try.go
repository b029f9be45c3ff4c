package upstream

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

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
		errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}
