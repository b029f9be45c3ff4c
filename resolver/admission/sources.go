package admission

import (
	"net/netip"
	"slices"
)

// Sources is a set of addresses. Nil is the empty one.
type Sources struct{ four, six []span } // each in order and apart

type span struct{ first, last netip.Addr }

// Private is who may ask when nobody is named: this machine, private and shared addresses, and neighbours on the link (RFC 1918, 6598,
// 4193, 3927, 4291).
func Private() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range []string{
		"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10",
	} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// NewSources returns the union of prefixes. Invalid ones count for nothing.
func NewSources(prefixes []netip.Prefix) *Sources {
	s := &Sources{}
	for _, p := range prefixes {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		switch {
		case !p.IsValid():
		case p.Addr().Is4():
			s.four = append(s.four, spanOf(p))
		default:
			s.six = append(s.six, spanOf(p))
		}
	}
	s.four, s.six = apart(s.four), apart(s.six)
	return s
}

func spanOf(p netip.Prefix) span {
	first := p.Masked().Addr().WithZone("")
	ip := first.AsSlice()
	for i := p.Bits(); i < len(ip)*8; i++ {
		ip[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(ip)
	return span{first, last}
}

// apart sorts spans and joins those that overlap.
func apart(all []span) []span {
	slices.SortFunc(all, func(a, b span) int { return a.first.Compare(b.first) })
	out := all[:0]
	for _, r := range all {
		if n := len(out); n > 0 && r.first.Compare(out[n-1].last) <= 0 {
			if out[n-1].last.Less(r.last) {
				out[n-1].last = r.last
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// Has tells whether an address is in the set. Its zone does not count, and an IPv4 address may come as a mapped one.
func (s *Sources) Has(a netip.Addr) bool {
	if s == nil || !a.IsValid() {
		return false
	}
	a = a.Unmap()
	ranges := s.four
	if a.Is6() {
		a, ranges = a.WithZone(""), s.six
	}
	low, high := 0, len(ranges)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if ranges[mid].first.Compare(a) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low > 0 && a.Compare(ranges[low-1].last) <= 0
}
