package allowlist

import (
	"slices"
	"strings"
	"time"
)

// few is how many rules of one prefix are looked at one after the other.
const few = 4

// index finds among many rules of one prefix those that can hold, by name, or by port for those without a name. The lists are ranks,
// ascending.
type index struct {
	exact    map[string][]int32
	suffixes map[string][]int32
	labels   int // of the longest suffix
	ports    map[uint16][]int32
	all      []int32 // no names, no ports

	anyPort until // some rule, with names or without, lets somebody in on every port
	onPort  map[uint16]until
}

func newIndex(ranks []int32, all []Rule) *index {
	x := &index{exact: map[string][]int32{}, suffixes: map[string][]int32{}, ports: map[uint16][]int32{}, onPort: map[uint16]until{}}
	for _, n := range ranks {
		r := &all[n]
		x.let(r)
		for _, name := range r.names.exact {
			x.exact[name] = appendOnce(x.exact[name], n)
		}
		for _, suffix := range r.names.suffixes {
			x.suffixes[suffix] = appendOnce(x.suffixes[suffix], n)
			x.labels = max(x.labels, strings.Count(suffix, ".")+1)
		}
		if !r.names.all() {
			continue
		}
		for _, p := range r.ports {
			x.ports[p] = appendOnce(x.ports[p], n)
		}
		if len(r.ports) == 0 {
			x.all = append(x.all, n)
		}
	}
	return x
}

func (x *index) let(r *Rule) {
	if r.Denies() {
		return
	}
	if len(r.ports) == 0 {
		x.anyPort = x.anyPort.or(r)
	}
	for _, p := range r.ports {
		x.onPort[p] = x.onPort[p].or(r)
	}
}

// appendOnce adds n, which is not below any in the list.
func appendOnce(list []int32, n int32) []int32 {
	if len(list) > 0 && list[len(list)-1] == n {
		return list
	}
	return append(list, n)
}

// lists calls f with every list of rules that hold for the name and, when they have no name, for the port.
func (x *index) lists(port uint16, name string, f func([]int32)) {
	f(x.all)
	f(x.ports[port])
	if name == "" {
		return
	}
	f(x.exact[name])
	if len(x.suffixes) == 0 {
		return
	}
	for at := tail(name, x.labels); at > 0; {
		f(x.suffixes[name[at:]])
		dot := strings.IndexByte(name[at:], '.')
		if dot < 0 {
			return
		}
		at += dot + 1
	}
}

// tail returns where the last labels of a name begin, behind at least one other; 0 when there is no other.
func tail(name string, labels int) int {
	at := len(name)
	for ; labels > 0; labels-- {
		dot := strings.LastIndexByte(name[:at], '.')
		if dot < 0 {
			break
		}
		at = dot
	}
	if at == len(name) {
		return 0
	}
	return at + 1
}

// best returns the rank of the first rule of a prefix that holds, -1 when none does.
func (t *Table) best(rs *ranges, n *node, port uint16, name string, now time.Time) int32 {
	holds := func(r *Rule) bool { return r.forPort(port) && !r.expired(now) }
	if n.index == nil {
		for _, rank := range rs.rules[n.first:n.end] {
			if r := &t.rules[rank]; r.names.has(name) && holds(r) {
				return rank
			}
		}
		return -1
	}
	best := int32(-1)
	n.index.lists(port, name, func(ranks []int32) {
		for _, rank := range ranks {
			if best >= 0 && rank >= best {
				return
			}
			if holds(&t.rules[rank]) {
				best = rank
				return
			}
		}
	})
	return best
}

// lets tells whether a rule of a prefix lets in some name through the port.
func (t *Table) lets(rs *ranges, n *node, port uint16, now time.Time) bool {
	if n.index != nil {
		return n.index.anyPort.holds(now) || n.index.onPort[port].holds(now)
	}
	return slices.ContainsFunc(rs.rules[n.first:n.end], func(rank int32) bool {
		r := &t.rules[rank]
		return !r.Denies() && r.forPort(port) && !r.expired(now)
	})
}

// until is how long something holds. The zero value never does.
type until struct {
	end  time.Time
	ever bool // there is no end
}

func (u until) holds(now time.Time) bool { return u.ever || now.Before(u.end) }

// or is as long as the longer of u and a rule.
func (u until) or(r *Rule) until {
	if r.Expires.IsZero() {
		return until{ever: true}
	}
	if u.ever || r.Expires.Before(u.end) {
		return u
	}
	return until{end: r.Expires}
}
