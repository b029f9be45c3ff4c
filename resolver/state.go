package resolver

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/isthmus-io/isthmus/resolver/admission"
	"github.com/isthmus-io/isthmus/resolver/message"
	"github.com/isthmus-io/isthmus/resolver/upstream"
	"github.com/isthmus-io/isthmus/resolver/view"
)

// state is all that a query is decided against. It is swapped as one and never changed.
type state struct {
	table     *view.Table
	clients   *admission.Sources
	routes    map[*view.Target]*route
	order     []*route // rules, then upstreams
	peers     map[netip.Addr]struct{}
	recursion uint16 // the flag RA, if any name is forwarded
	problems  []string
}

// route is where a target's questions go.
type route struct {
	target *view.Target
	group  *upstream.Group
	cache  uint32 // the number under which its answers are kept
	mine   bool   // this resolver itself is among its servers, and is not asked
}

// newState prepares the ways to the servers of a table. Called with r.mu held.
func (r *Resolver) newState(t *view.Table, clients *admission.Sources) *state {
	s := &state{table: t, clients: clients, routes: map[*view.Target]*route{}, peers: map[netip.Addr]struct{}{}, problems: t.Problems()}
	if t.Recursion() {
		s.recursion = message.RA
	}
	numbers := map[string]uint32{}
	for _, target := range t.Targets() {
		// Equal servers keep their number from view to view, and their answers with it. A number is never given twice, so what was kept
		// for servers that no view names is not found any more, and makes room as it grows old.
		n, ok := r.numbers[target.Key]
		if !ok {
			r.lastNumber++
			n = r.lastNumber
		}
		numbers[target.Key] = n
		rt := &route{target: target, cache: n}
		var servers []upstream.Server
		for _, sv := range target.Servers {
			if r.isSelf(sv.Address) {
				rt.mine = true
				s.problems = append(s.problems, fmt.Sprintf("%s is this resolver itself and is not asked", named(target, sv)))
				continue
			}
			servers = append(servers, upstream.Server{Address: sv.Address, Transport: upstream.Transport(sv.Transport), Name: sv.Name})
			if a := sv.Address.Addr().Unmap(); !a.IsLoopback() { // others of this machine ask from there as well
				s.peers[a] = struct{}{}
			}
		}
		rt.group = r.pool.Group(servers)
		s.routes[target] = rt
		s.order = append(s.order, rt)
	}
	r.numbers = numbers
	return s
}

func named(t *view.Target, s view.Server) string {
	if t.Rule == "" {
		return fmt.Sprintf("upstream %v", s.Address)
	}
	return fmt.Sprintf("target %v of rule %s", s.Address, t.Rule)
}

// isSelf tells whether asking addr would be asking ourselves. What only looks different shows itself by the token in the query.
func (r *Resolver) isSelf(addr netip.AddrPort) bool {
	return slices.ContainsFunc(*r.bound.Load(), func(b netip.AddrPort) bool {
		return b == addr || b.Port() == addr.Port() && b.Addr().IsUnspecified() && addr.Addr().IsLoopback()
	})
}
