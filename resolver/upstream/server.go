package upstream

import (
	"fmt"
	"runtime"
	"slices"
	"time"
)

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

// Group is servers to ask in their order. It needs no closing: what is known of its servers is kept for a while after the last group
// that names them is gone.
type Group struct {
	pool    *Pool
	servers []*server
}

// Group returns servers as a group. Health is shared with every other group of the pool that names the same server, older ones
// included. Servers that are not valid, repeated, or beyond the 64th are left out; [Server.Validate] has the words.
func (p *Pool) Group(servers []Server) *Group {
	g := &Group{pool: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range servers {
		if v.Validate() != nil {
			continue
		}
		v = v.withDefaults()
		if len(g.servers) == maxServers || slices.ContainsFunc(g.servers, func(s *server) bool { return s.Server == v }) {
			continue
		}
		s := p.servers[v]
		if s == nil {
			s = &server{Server: v}
			copy(s.client[:], p.dice.take(cookieLen))
			if v.Transport == HTTPS {
				s.https = p.newFetcher(v)
			}
			p.servers[v] = s
		}
		if s.groups++; s.groups == 1 && !s.skipTo.IsZero() { // nobody probed it meanwhile
			p.probeBy(s.skipTo)
		}
		g.servers = append(g.servers, s)
	}
	runtime.AddCleanup(g, p.letGo, g.servers)
	return g
}

// letGo is told that nobody has a group any more.
func (p *Pool) letGo(servers []*server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clk.Now()
	for _, s := range servers {
		if s.groups--; s.groups == 0 {
			s.unused = now
			p.sweepSoon(now)
		}
	}
}

// ServerStatus is what is known of one server.
type ServerStatus struct {
	Server       Server
	Healthy      bool
	Fails        int           // in a row
	SkippedUntil time.Time     // zero when it is healthy
	RTT          time.Duration // smoothed; 0 before the first answer
	Queries      uint64        // tries
	Failures     uint64        // tries without an answer
	Cookies      bool          // it sends cookies (RFC 7873), which every answer over UDP must repeat
	Notes        []string      // what it cannot do, each a sentence
}

// Status tells of the group's servers in their order.
func (g *Group) Status() []ServerStatus {
	p := g.pool
	now := p.clk.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]ServerStatus, 0, len(g.servers))
	for _, s := range g.servers {
		st := ServerStatus{
			Server: s.Server, Healthy: s.skipTo.IsZero(), Fails: s.fails, SkippedUntil: s.skipTo, RTT: s.rtt,
			Queries: s.queries, Failures: s.failures, Cookies: s.cookied,
		}
		note := func(format string, args ...any) { st.Notes = append(st.Notes, fmt.Sprintf(format, args...)) }
		if now.Before(s.plainUntil) {
			note("it does not repeat the case of names, which makes its answers easier to forge; tried again at %s", s.plainUntil.UTC().Format(time.RFC3339))
		}
		if now.Before(s.oldUntil) {
			note("it does not know EDNS, so answers are small and without DNSSEC; tried again at %s", s.oldUntil.UTC().Format(time.RFC3339))
		}
		if now.Before(s.lazyUntil) {
			note("it does not always send cookies, so answers are taken without")
		}
		if s.noLoop {
			note("it does not take the option by which loops are found")
		}
		out = append(out, st)
	}
	return out
}
