package signin

import (
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// elsewhere are special ranges that netip does not tell by itself: nobody on the internet runs a provider there, and some lead to private
// addresses by translation.
func elsewhere() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),      // RFC 791 3.2: this network
		netip.MustParsePrefix("100.64.0.0/10"),  // RFC 6598: between a carrier and its customers
		netip.MustParsePrefix("192.0.0.0/24"),   // RFC 6890
		netip.MustParsePrefix("192.88.99.0/24"), // RFC 7526: 6to4 relays, gone
		netip.MustParsePrefix("198.18.0.0/15"),  // RFC 2544: benchmarks
		netip.MustParsePrefix("240.0.0.0/4"),    // RFC 1112: reserved, and broadcast
		netip.MustParsePrefix("64:ff9b::/96"),   // RFC 6052: translated to IPv4
		netip.MustParsePrefix("64:ff9b:1::/48"), // RFC 8215: the same, locally
		netip.MustParsePrefix("2001::/23"),      // RFC 2928: Teredo among them
		netip.MustParsePrefix("2002::/16"),      // RFC 3056: 6to4
		netip.MustParsePrefix("fec0::/10"),      // RFC 3879: site-local, gone
	}
}

// public tells whether an address is one that anybody on the internet may have.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() { // the first is false for loopback, link-local, multicast and unspecified
		return false
	}
	for _, p := range elsewhere() {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// dialer looks at the address a name led to before it connects.
func dialer(cfg Config) *net.Dialer {
	d := &net.Dialer{Timeout: cfg.Timeout, KeepAlive: 15 * time.Second}
	if cfg.Private {
		return d
	}
	d.Control = func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fault.Wrap("signin.dial", fault.Internal, err, "")
		}
		if public(at.Addr()) {
			return nil
		}
		return fault.Newf("signin.dial", fault.Denied, "the identity provider is at %s, which is no address of the internet, and this control plane asks only such", at.Addr()).
			Advise("whoever runs the control plane allows it with: isthmus server --private-sign-in")
	}
	return d
}

// loopbackHost tells whether a URL's host is this machine by its writing alone.
func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}
