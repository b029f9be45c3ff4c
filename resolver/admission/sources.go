package admission

import (
	"net/netip"
	"slices"
)

// Sources is a set of addresses. Nil is the empty one.
type Sources struct {
	ranges []span // of IPv6 addresses, IPv4 as mapped, in order and apart
}

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
		if !p.IsValid() {
			continue
		}
		p = p.Masked()
		bits := p.Bits()
		if p.Addr().Is4() {
			bits += 96
		}
		first := netip.AddrFrom16(p.Addr().As16())
		ip := first.As16()
		for i := bits; i < 128; i++ {
			ip[i/8] |= 0x80 >> (i % 8)
		}
		s.ranges = append(s.ranges, span{first, netip.AddrFrom16(ip)})
	}
	slices.SortFunc(s.ranges, func(a, b span) int { return a.first.Compare(b.first) })
	apart := s.ranges[:0]
	for _, r := range s.ranges {
		if n := len(apart); n > 0 && r.first.Compare(apart[n-1].last) <= 0 {
			if apart[n-1].last.Less(r.last) {
				apart[n-1].last = r.last
			}
			continue
		}
		apart = append(apart, r)
	}
	s.ranges = apart
	return s
}

// Has tells whether an address is in the set. Its zone does not count.
func (s *Sources) Has(a netip.Addr) bool {
	if s == nil || !a.IsValid() {
		return false
	}
	a = netip.AddrFrom16(a.As16())
	low, high := 0, len(s.ranges)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if s.ranges[mid].first.Compare(a) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low > 0 && a.Compare(s.ranges[low-1].last) <= 0
}
