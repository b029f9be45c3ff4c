package upstream

import (
	"time"

	"github.com/miekg/dns"
)

// arrived takes datagrams from a socket; cut ones were longer than there was room. It reports whether the socket is done with.
func (p *Pool) arrived(s *socket, msgs [][]byte, cut []bool, reads []reading, w *work) bool {
	for i, m := range msgs {
		if cut[i] {
			m[2] |= truncatedBit
		}
		if !reads[i].read(m) {
			p.metrics.dropped[dropMalformed].Inc()
			msgs[i] = nil
		}
	}
	now := p.clk.Now()
	p.mu.Lock()
	s.taking = true
	for i, m := range msgs {
		if m != nil {
			p.datagram(s, m, &reads[i], now, w)
		}
	}
	over := s.taken()
	p.mu.Unlock()
	p.do(w)
	return over
}

// taken ends the taking of answers and reports whether there are none to come.
func (s *socket) taken() bool {
	s.taking = false
	return s.retired && len(s.pending) == 0
}

// datagram decides about one message that came to a socket.
func (p *Pool) datagram(sock *socket, msg []byte, r *reading, now time.Time, w *work) {
	f := sock.pending[r.id]
	if f == nil {
		p.metrics.dropped[dropUnasked].Inc()
		return
	}
	t, s := &f.try, sock.server
	switch e := r.compare(f.sent); {
	case e == foreign:
		p.metrics.dropped[dropQuestion].Inc()
		return
	case e == recased && t.mixed:
		p.metrics.dropped[dropCase].Inc()
		p.doubt(f, forCase, now, w)
		return
	}
	if t.cookied && !s.takeCookie(r.cookie, now) {
		p.metrics.dropped[dropCookie].Inc()
		if r.cookie == nil {
			p.doubt(f, forCookie, now, w)
		}
		return
	}
	switch {
	case r.rcode == dns.RcodeBadCookie && t.cookied && r.cookie != nil:
		if t.retried {
			p.doubt(f, forBadOnes, now, w)
			return
		}
		t.retried = true
		p.launch(f, now, w)
	case t.simpler(r):
		p.launch(f, now, w)
	case r.truncated:
		s.understood(t.level, now)
		p.unload(f)
		p.keepBest(f, f.answer(msg, r, now, w))
		p.doubt(f, forSize, now, w)
	default:
		p.succeed(f, msg, r, now, w)
	}
}

// doubt asks the same over TCP.
func (p *Pool) doubt(f *flight, because why, now time.Time, w *work) {
	p.metrics.overTCP.Inc()
	f.try.overTCP = because
	p.launch(f, now, w)
}

// simpler tells whether an answer says that the server did not understand the question as it was put, and puts it simpler.
func (t *try) simpler(r *reading) bool {
	switch {
	case r.rcode == dns.RcodeFormatError && t.level == full:
		t.level = noLoop
	case (r.rcode == dns.RcodeFormatError || r.rcode == dns.RcodeNotImplemented) && !r.opt && t.level < noEDNS:
		t.level = noEDNS
	default:
		return false
	}
	return true
}

// takeCookie checks the cookie of an answer and keeps the server's part. It says no to another's cookie, and to none from a server
// that sends them (RFC 7873 section 5.3).
func (s *server) takeCookie(c []byte, now time.Time) bool {
	if c == nil {
		return !s.cookied
	}
	if len(c) < cookieLen || [cookieLen]byte(c) != s.client {
		return false
	}
	if n := len(c) - cookieLen; n >= 8 && n <= 32 {
		s.cookied = !now.Before(s.lazyUntil)
		s.cookie = append(s.cookie[:0], c[cookieLen:]...)
	}
	return true
}

// withoutCookies notes that a server has ceased to send them, or that only some of those behind its address do.
func (s *server) withoutCookies(now time.Time) {
	s.cookied, s.cookie = false, s.cookie[:0]
	s.lazyUntil = now.Add(withoutCase)
}
