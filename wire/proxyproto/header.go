package proxyproto

import (
	"encoding/binary"
	"net/netip"

	"github.com/isthmus-io/isthmus/fault"
)

// Protocol is the address family and transport of the proxied connection, as byte 14 of a version 2 header.
type Protocol uint8

// The protocols of clause 2.2.
const (
	Unspec       Protocol = 0x00
	TCP4         Protocol = 0x11
	UDP4         Protocol = 0x12
	TCP6         Protocol = 0x21
	UDP6         Protocol = 0x22
	UnixStream   Protocol = 0x31
	UnixDatagram Protocol = 0x32
)

// Types of TLVs which this package gives a meaning.
const (
	TypeCRC32C byte = 0x03 // clause 2.2.3: checksum of the header
	TypeProof  byte = 0xEA // Isthmus: see Sign
	TypeAzure  byte = 0xEE // Azure: see LinkID

	azureLinkID byte = 0x01
)

// Limits in bytes.
const (
	MaxLength   = 4096 // of a version 2 header as a whole; the format itself would allow 65,551
	MaxV1Length = 107  // of a version 1 line with its CR LF, clause 2.1
	unixLength  = 108
)

// Header is one PROXY header.
type Header struct {
	Version int // 1 or 2; 0 is written as 2

	// Local says that the proxy speaks for itself (a health check): there is nothing else in the header then.
	Local bool

	Protocol            Protocol
	Source, Destination netip.AddrPort // for TCP and UDP

	SourcePath, DestinationPath string // for UNIX sockets, at most 108 bytes

	TLVs []TLV // version 2 only, in their order
}

// TLV is one extension. Its type means what its sender and receiver agreed upon.
type TLV struct {
	Type  byte
	Value []byte
}

// New returns a version 2 header for a TCP connection from source to destination. IPv4 addresses mapped into IPv6 become IPv4; when
// only one side is IPv4, both are written as IPv6.
func New(source, destination netip.AddrPort) Header {
	s, d := source.Addr().Unmap().WithZone(""), destination.Addr().Unmap().WithZone("")
	p := TCP4
	if !s.Is4() || !d.Is4() {
		p = TCP6
		s, d = netip.AddrFrom16(s.As16()), netip.AddrFrom16(d.As16())
	}
	return Header{
		Version: 2, Protocol: p,
		Source: netip.AddrPortFrom(s, source.Port()), Destination: netip.AddrPortFrom(d, destination.Port()),
	}
}

// TLV returns the value of the first TLV of a type.
func (h *Header) TLV(typ byte) ([]byte, bool) {
	for _, t := range h.TLVs {
		if t.Type == typ {
			return t.Value, true
		}
	}
	return nil, false
}

// LinkID returns the number of the link the connection came through. It is worth nothing without a proof unless the machine that
// wrote it is trusted.
func (h *Header) LinkID() (uint32, bool) {
	for _, t := range h.TLVs {
		if t.Type == TypeAzure && len(t.Value) == 5 && t.Value[0] == azureLinkID {
			return binary.LittleEndian.Uint32(t.Value[1:]), true
		}
	}
	return 0, false
}

// SetLinkID puts the link id into the header, in place of one that is there. A proof made before no longer holds.
func (h *Header) SetLinkID(id uint32) {
	v := binary.LittleEndian.AppendUint32([]byte{azureLinkID}, id)
	for i, t := range h.TLVs {
		if t.Type == TypeAzure && len(t.Value) > 0 && t.Value[0] == azureLinkID {
			h.TLVs[i].Value = v
			return
		}
	}
	h.TLVs = append(h.TLVs, TLV{TypeAzure, v})
}

// Need tells how many bytes more than b are certain to belong to the header which b begins: read no more than that, append and ask
// again. 0 means that b begins with a whole header, ready for Decode. [ErrNone] means that b begins no header, any other fault that
// it begins a bad one.
func Need(b []byte) (int, error) {
	if n := min(len(b), len(signature)); string(b[:n]) == signature[:n] {
		if len(b) > 0 {
			return needV2(b)
		}
		return shortest, nil
	}
	if n := min(len(b), len(v1Prefix)); string(b[:n]) == v1Prefix[:n] {
		return needV1(b)
	}
	return 0, ErrNone
}

// shortest is the length of the shortest header there is, "PROXY UNKNOWN\r\n".
const shortest = 15

// Decode reads the header at the beginning of b and returns its length in bytes. When b ends before the header does, the fault is
// Invalid and tells how much is missing; [Need] tells it beforehand.
func Decode(b []byte) (Header, int, error) {
	n, err := Need(b)
	if err != nil {
		return Header{}, 0, err
	}
	if n > 0 {
		return Header{}, 0, truncated(b, n)
	}
	if b[0] == signature[0] {
		return decodeV2(b)
	}
	return decodeV1(b)
}

func truncated(b []byte, need int) error {
	return fault.Newf("proxyproto.Decode", fault.Invalid, "the PROXY header is truncated: %d bytes came, at least %d more belong to it", len(b), need).
		Advise("sender and receiver must both have the PROXY protocol switched on, and nothing may cut the connection between them")
}

// ErrNone says that the bytes do not begin with a PROXY header at all. Compare with errors.Is.
var ErrNone error = fault.New("proxyproto.Decode", fault.Invalid, "the connection does not begin with a PROXY header").
	Advise("switch the PROXY protocol on at the sender, or off at the receiver")

// Append writes the header behind dst. A header that cannot be written (a path too long, addresses that do not fit the protocol,
// more than MaxLength bytes) is a fault of kind Invalid or TooLarge, and dst is returned as it was.
func Append(dst []byte, h Header) ([]byte, error) {
	switch h.Version {
	case 0, 2:
		return appendV2(dst, &h)
	case 1:
		return appendV1(dst, &h)
	}
	return dst, fault.Newf("proxyproto.Append", fault.Invalid, "there is no version %d of the PROXY header", h.Version)
}
