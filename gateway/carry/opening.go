package carry

import (
	"net/netip"

	"github.com/isthmus-io/isthmus/wire/proxyproto"
)

// readHeader looks for a PROXY header at the beginning of b. It returns the header's length and the source it names, which is peer
// when it names none (a proxy's own health check); 0 bytes and no error when more must come.
func readHeader(b []byte, peer netip.AddrPort) (source netip.AddrPort, n int, err error) {
	need, err := proxyproto.Need(b)
	if err != nil || need > 0 {
		return peer, 0, err
	}
	h, n, err := proxyproto.Decode(b)
	if err != nil {
		return peer, 0, err
	}
	if h.Protocol == proxyproto.TCP4 || h.Protocol == proxyproto.TCP6 {
		peer = plain(h.Source)
	}
	return peer, n, nil
}

// plain is an address without the mapping of IPv4 into IPv6, as rules are written.
func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// readHello looks for a ClientHello at the beginning of b. whole is false while more must come; a reason other than "" means that it
// never will be one.
func (e *Entrance) readHello(b []byte) (h Hello, whole bool, reason string) {
	if len(b) > 0 {
		var err error
		h, whole, err = parseHello(b[:min(len(b), e.maxHello())])
		if err != nil {
			return Hello{}, false, ReasonBadHello
		}
	}
	if !whole && len(b) >= e.maxHello() {
		return Hello{}, false, ReasonHelloTooLong
	}
	return h, whole, ""
}
