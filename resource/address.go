package resource

import (
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// The first four addresses of a range (network, gateway, two for DNS) and its last are never given to endpoints, as in Azure's
// subnets; so the first endpoint of 10.7.0.0/24 is 10.7.0.4.
const reservedAtStart = 4

// ValidateRanges checks that ranges are IPv4, aligned, of /8 to /29, and do not overlap each other.
func ValidateRanges(ranges []netip.Prefix) error {
	op := "resource.ValidateRanges"
	for i, r := range ranges {
		switch {
		case !r.IsValid() || !r.Addr().Is4():
			return fault.Newf(op, fault.Invalid, "spec.addressRanges: %s is not IPv4", r).Advise("private endpoints have IPv4 addresses: write something like 10.7.0.0/24")
		case r != r.Masked():
			return fault.Newf(op, fault.Invalid, "spec.addressRanges: %s has host bits set", r).Advise("write %s", r.Masked())
		case r.Bits() < 8 || r.Bits() > 29:
			return fault.Newf(op, fault.Invalid, "spec.addressRanges: %s is too large or too small", r).Advise("use /8 to /29")
		}
		for _, o := range ranges[:i] {
			if r.Overlaps(o) {
				return fault.Newf(op, fault.Invalid, "spec.addressRanges: %s and %s overlap", o, r).
					Advise("ranges of one network must be apart; ranges of different networks may overlap")
			}
		}
	}
	return nil
}

// parseAddr reads an address. Its zone, if it has one, is the name or number of an interface: netip takes any text for one, and
// addresses stand in files, in logs and on terminals later.
func parseAddr(s string) (a netip.Addr, ok bool) {
	a, err := netip.ParseAddr(s)
	return a, err == nil && zoneFits(a)
}

func zoneFits(a netip.Addr) bool {
	const most = 15 // Linux: IFNAMSIZ with its zero byte is 16
	return len(a.Zone()) <= most && !strings.ContainsFunc(a.Zone(), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// Assignable tells whether an endpoint may have the address.
func Assignable(ranges []netip.Prefix, a netip.Addr) bool {
	for _, r := range ranges {
		if !r.Contains(a) {
			continue
		}
		first := r.Addr()
		for range reservedAtStart {
			if a == first {
				return false
			}
			first = first.Next()
		}
		return r.Contains(a.Next())
	}
	return false
}

// Allocate returns the lowest assignable address that is not taken. Exhausted when there is none, Invalid without ranges.
func Allocate(ranges []netip.Prefix, taken func(netip.Addr) bool) (netip.Addr, error) {
	op := "resource.Allocate"
	if len(ranges) == 0 {
		return netip.Addr{}, fault.New(op, fault.Invalid, "the network has no address range").
			Advise("add spec.addressRanges to the network before making endpoints in it")
	}
	for _, r := range ranges {
		a := r.Addr()
		for range reservedAtStart {
			a = a.Next()
		}
		for ; r.Contains(a.Next()); a = a.Next() {
			if !taken(a) {
				return a, nil
			}
		}
	}
	return netip.Addr{}, fault.Newf(op, fault.Exhausted, "every address of the network's ranges is taken").
		Advise("add a range to spec.addressRanges of the network, or delete endpoints nobody uses")
}
