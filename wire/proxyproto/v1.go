package proxyproto

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// v1Prefix opens every version 1 header, clause 2.1.
const v1Prefix = "PROXY "

func needV1(b []byte) (int, error) {
	if len(b) < shortest {
		return shortest - len(b), nil
	}
	line := b[:min(len(b), MaxV1Length)]
	if bytes.Contains(line, []byte("\r\n")) {
		return 0, nil
	}
	if len(b) >= MaxV1Length {
		return 0, fault.Newf("proxyproto.Decode", fault.TooLarge, "the PROXY header has no end within %d bytes", MaxV1Length)
	}
	if b[len(b)-1] == '\r' || len(b) == MaxV1Length-1 {
		return 1, nil
	}
	return 2, nil
}

// decodeV1 is given at least one whole header.
func decodeV1(b []byte) (Header, int, error) {
	end := bytes.Index(b, []byte("\r\n"))
	n := end + 2
	h := Header{Version: 1}
	f := strings.Split(string(b[len(v1Prefix):end]), " ")
	switch f[0] {
	case "UNKNOWN": // clause 2.1: whatever follows on the line is ignored
		return h, n, nil
	case "TCP4":
		h.Protocol = TCP4
	case "TCP6":
		h.Protocol = TCP6
	default:
		return Header{}, 0, bad("its protocol is %q", f[0])
	}
	if len(f) != 5 {
		return Header{}, 0, bad("its line has %d words instead of 6", len(f)+1)
	}
	var err error
	if h.Source, err = parseV1(h.Protocol, f[1], f[3]); err != nil {
		return Header{}, 0, err
	}
	if h.Destination, err = parseV1(h.Protocol, f[2], f[4]); err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}

func parseV1(p Protocol, address, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" || a.Is4() != (p == TCP4) {
		return netip.AddrPort{}, bad("%q is no address of its protocol", address)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, bad("%q is no port", port)
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}

func appendV1(dst []byte, h *Header) ([]byte, error) {
	const op = "proxyproto.Append"
	if h.Local {
		return dst, fault.New(op, fault.Invalid, "a PROXY header of version 1 cannot say LOCAL")
	}
	if len(h.TLVs) > 0 {
		return dst, fault.New(op, fault.Invalid, "a PROXY header of version 1 has no room for TLVs")
	}
	s, d := h.Source.Addr(), h.Destination.Addr()
	var word string
	switch h.Protocol {
	case Unspec:
		return append(dst, v1Prefix+"UNKNOWN\r\n"...), nil
	case TCP4:
		if !s.Is4() || !d.Is4() {
			return dst, misfit(h)
		}
		word = "TCP4 "
	case TCP6:
		if !s.Is6() || !d.Is6() || s.Zone() != "" || d.Zone() != "" {
			return dst, misfit(h)
		}
		word = "TCP6 "
	default:
		return dst, fault.Newf(op, fault.Invalid, "a PROXY header of version 1 cannot say protocol 0x%02x", byte(h.Protocol))
	}
	out := append(append(dst, v1Prefix...), word...)
	out = append(s.AppendTo(out), ' ')
	out = append(d.AppendTo(out), ' ')
	out = append(strconv.AppendUint(out, uint64(h.Source.Port()), 10), ' ')
	out = strconv.AppendUint(out, uint64(h.Destination.Port()), 10)
	return append(out, "\r\n"...), nil
}
