package upstream

import "time"

// server is one server with all that is known of it, guarded by Pool.mu but for the Server itself, which never changes.
type server struct {
	Server

	fails    int       // in a row
	failedAt time.Time // when the last of them was counted
	skipTo   time.Time // until then it is passed over; zero: healthy
	probing  bool
	rtt      time.Duration // smoothed
	queries  uint64
	failures uint64

	client     [cookieLen]byte // our cookie for it
	cookie     []byte          // its own, which it wants back
	cookied    bool            // it sends cookies, so an answer without is not its own
	noLoop     bool            // it answered FORMERR to the loop option
	lazyUntil  time.Time       // it sends cookies at times only, so they prove nothing
	plainUntil time.Time       // it does not echo case
	oldUntil   time.Time       // it does not know EDNS

	current []*socket // UDP sockets to choose from
	strm    *stream   // the connection that takes questions; nil when there is none
	https   *fetcher

	groups int       // that name it
	unused time.Time // since when no group does
}

func (s *server) levelAt(now time.Time) level {
	switch {
	case now.Before(s.oldUntil):
		return noEDNS
	case s.noLoop:
		return noLoop
	}
	return full
}

// understood keeps what it took to be answered.
func (s *server) understood(l level, now time.Time) {
	switch {
	case l == noLoop:
		s.noLoop = true
	case l == noEDNS && !now.Before(s.oldUntil):
		s.oldUntil = now.Add(withoutEDNS)
	}
}

// answered notes a sign of life.
func (s *server) answered(rtt time.Duration, w *work) {
	if s.fails > 0 {
		w.tells = append(w.tells, tell{server: s})
	}
	s.fails, s.skipTo = 0, time.Time{}
	if s.rtt == 0 {
		s.rtt = rtt
	} else {
		s.rtt += (rtt - s.rtt) / 8
	}
}

// blame counts a failure and has the server skipped, for twice as long each time. Of the questions that were in flight together, the
// first that fails counts: they tell of one outage.
func (p *Pool) blame(s *server, began, now time.Time, err error, w *work) {
	if s.fails > 0 && began.Before(s.failedAt) {
		return
	}
	s.fails++
	s.failedAt = now
	pause := p.cfg.DeadFor
	for i := 1; i < s.fails && pause < p.cfg.MaxDead; i++ {
		pause *= 2
	}
	pause = min(pause, p.cfg.MaxDead)
	s.skipTo = now.Add(pause)
	w.tells = append(w.tells, tell{server: s, fails: s.fails, pause: pause, err: err})
	p.probeBy(s.skipTo)
}

// probeBy has dead servers looked at no later than at.
func (p *Pool) probeBy(at time.Time) {
	if p.probeAt.IsZero() || at.Before(p.probeAt) {
		p.probeAt = at
		p.wakeBefore(at)
	}
}

// probeDead asks every server whose pause is over the cheapest question there is, so that nobody's own question has to find out.
func (p *Pool) probeDead(now time.Time, w *work) {
	if p.probeAt.IsZero() || now.Before(p.probeAt) {
		return
	}
	p.probeAt = time.Time{}
	for _, s := range p.servers {
		switch {
		case s.skipTo.IsZero() || s.probing || s.groups == 0:
		case now.Before(s.skipTo):
			p.probeBy(s.skipTo)
		default:
			s.probing = true
			f := p.spare.Get().(*flight) //nolint:forcetypeassert // its own
			f.name[0], f.nameLen = 0, 1
			f.key = key{qtype: 2} // NS of the root: in the cache of whoever resolves, and refused at once by others
			f.probe = s
			f.deadline = now.Add(p.cfg.QueryTimeout)
			p.all.push(f)
			p.proceed(f, now, w)
		}
	}
}
