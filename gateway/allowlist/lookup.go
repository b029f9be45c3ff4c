package allowlist

import (
	"net/netip"
	"time"
)

// Lookup returns the rule that decides about a source that asks for a name on a port, or false when no rule holds. The name is as a
// ClientHello gives it, in lower case; "" is a client that sent none, for whom only rules without names hold.
func (t *Table) Lookup(source netip.Addr, port uint16, name string, now time.Time) (Match, bool) {
	rs, at, width := t.around(source)
	for at >= 0 {
		n := &rs.nodes[at]
		if rank := t.best(rs, n, port, name, now); rank >= 0 {
			return t.match(n, rank, width), true
		}
		at = n.around
	}
	return Match{}, false
}

// Outlook is what can be said before the name is known.
type Outlook uint8

// What there is to say.
const (
	None    Outlook = iota // no rule lets the source in on this port, whatever the name; some may deny some names
	Depends                // the name decides
	Denied                 // the rule denies the source on this port, whatever the name
)

// Outlook tells what can be said of a source before its ClientHello; the match is the rule when it is Denied. Depends errs to the
// friendly side: rules may deny every name another one lets in.
func (t *Table) Outlook(source netip.Addr, port uint16, now time.Time) (Match, Outlook) {
	rs, at, width := t.around(source)
	for at >= 0 {
		n := &rs.nodes[at]
		if rank := t.best(rs, n, port, "", now); rank >= 0 && t.rules[rank].Denies() {
			return t.match(n, rank, width), Denied
		}
		if t.lets(rs, n, port, now) {
			return Match{}, Depends
		}
		at = n.around
	}
	return Match{}, None
}

// Any tells whether a source may be let in on a port for some name.
func (t *Table) Any(source netip.Addr, port uint16, now time.Time) bool {
	_, o := t.Outlook(source, port, now)
	return o == Depends
}

// around returns the longest prefix around a source.
func (t *Table) around(source netip.Addr) (rs *ranges, at int32, width uint8) {
	source = source.Unmap()
	switch {
	case source.Is4():
		return &t.v4.ranges, t.v4.find(uint32(fromAddr(source).lo)), 32
	case source.Is6():
		return &t.v6.ranges, t.v6.find(fromAddr(source)), 128
	}
	return &t.v4.ranges, -1, 32
}

func (t *Table) match(n *node, rank int32, width uint8) Match {
	return Match{Rule: &t.rules[rank], Prefix: netip.PrefixFrom(n.from.addr(width), int(n.bits))}
}
