package carry

import (
	"errors"
	"net/netip"

	"github.com/isthmus-io/isthmus/wire/clienthello"
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

// readHello looks for a ClientHello at the beginning of b. need is how many bytes more must come before it is worth looking again, 0
// when the hello is whole. Every reason but "" means that it never will be one that is let in; detail says what is wrong with it.
func (e *Entrance) readHello(b []byte) (h Hello, need int, reason, detail string) {
	b = b[:min(len(b), e.maxHello())] // whether all of it has come already makes no difference
	hello, err := clienthello.Parse(b)
	if err == nil {
		return Hello{TLS: true, ServerName: hello.ServerName, hello: hello}, 0, "", ""
	}
	if need, err = clienthello.Need(b); err == nil {
		if len(b)+need <= e.maxHello() {
			return Hello{}, max(1, need), "", ""
		}
		return Hello{}, 0, ReasonHelloTooLong, ""
	}
	_, err = clienthello.Parse(b)
	if m, ok := errors.AsType[clienthello.Malformed](err); ok {
		detail = string(m)
	}
	return Hello{}, 0, ReasonBadHello, detail
}
