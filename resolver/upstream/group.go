package upstream

import (
	"fmt"
	"runtime"
	"slices"
	"time"
)

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
