package relay

import (
	"net"
	"net/netip"
	"sync"
)

// admission counts the connections held, in all and per source, and closes them all at the end.
type admission struct {
	max, perSource int

	mu       sync.Mutex // guards the fields below
	visitors map[net.Conn]netip.Addr
	sources  map[netip.Addr]int
	strange  map[netip.Addr]int // of them, those not yet identified
	closed   bool
}

func newAdmission(maximum, perSource int) *admission {
	return &admission{max: maximum, perSource: perSource, visitors: map[net.Conn]netip.Addr{}, sources: map[netip.Addr]int{}, strange: map[netip.Addr]int{}}
}

// sourceOf is the unit that limits are counted by. Whoever has one IPv6 address has its whole /64.
func sourceOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// enter admits a connection or says which limit it met: "all", "source" or "closed".
func (a *admission) enter(c net.Conn) (limit string) {
	src := sourceOf(c.RemoteAddr())
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return "closed"
	case len(a.visitors) >= a.max:
		return "all"
	case a.sources[src] >= a.perSource:
		return "source"
	}
	a.visitors[c] = src
	a.sources[src]++
	return ""
}

// meet counts a visitor that has not said who it is; false when its source has as many of them as it may. One machine that says
// nothing, again and again, must not keep everybody else outside.
func (a *admission) meet(c net.Conn, limit int) bool {
	src := sourceOf(c.RemoteAddr())
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.strange[src] >= max(limit, 1) {
		return false
	}
	a.strange[src]++
	return true
}

// met ends what meet began.
func (a *admission) met(c net.Conn) {
	src := sourceOf(c.RemoteAddr())
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.strange[src]--; a.strange[src] <= 0 {
		delete(a.strange, src)
	}
}

func (a *admission) leave(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	src, ok := a.visitors[c]
	if !ok {
		return
	}
	delete(a.visitors, c)
	if a.sources[src]--; a.sources[src] == 0 {
		delete(a.sources, src)
	}
}

func (a *admission) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.visitors)
}

// closeAll ends every connection held and admits no more.
func (a *admission) closeAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for c := range a.visitors {
		_ = c.Close()
	}
}
