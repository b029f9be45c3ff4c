package proxyproto

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// signature opens every version 2 header, clause 2.2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

const (
	fixedV2     = 16 // signature, version and command, protocol, length
	versionBits = 0x20
	cmdLocal    = 0x0
	cmdProxy    = 0x1
)

// addressLength is the size of the address block in bytes, -1 for a protocol outside the specification.
func addressLength(p Protocol) int {
	switch p {
	case Unspec:
		return 0
	case TCP4, UDP4:
		return 12
	case TCP6, UDP6:
		return 36
	case UnixStream, UnixDatagram:
		return 2 * unixLength
	}
	return -1
}

func needV2(b []byte) (int, error) {
	if len(b) < shortest {
		return shortest - len(b), nil
	}
	if len(b) < fixedV2 {
		return fixedV2 - len(b), nil
	}
	total := fixedV2 + int(binary.BigEndian.Uint16(b[14:]))
	if total > MaxLength {
		return 0, fault.Newf("proxyproto.Decode", fault.TooLarge, "the PROXY header announces %d bytes, more than %d", total, MaxLength).
			Advise("let the sender put fewer TLVs into it")
	}
	return max(0, total-len(b)), nil
}

// decodeV2 is given at least one whole header.
func decodeV2(b []byte) (Header, int, error) {
	n := fixedV2 + int(binary.BigEndian.Uint16(b[14:]))
	b = b[:n]
	if b[12]&0xF0 != versionBits {
		return Header{}, 0, bad("its version is %d", b[12]>>4)
	}
	h := Header{Version: 2, Protocol: Protocol(b[13])}
	switch b[12] & 0x0F {
	case cmdLocal:
		// Clause 2.2: the receiver discards the protocol block, the family included.
		return Header{Version: 2, Local: true}, n, nil
	case cmdProxy:
	default:
		return Header{}, 0, bad("its command is %d", b[12]&0x0F)
	}
	al := addressLength(h.Protocol)
	if al < 0 {
		return Header{}, 0, bad("its protocol is 0x%02x", b[13])
	}
	if fixedV2+al > n {
		return Header{}, 0, bad("%d bytes are too few for the addresses of protocol 0x%02x", n-fixedV2, b[13])
	}
	decodeAddresses(&h, b[fixedV2:fixedV2+al])
	var err error
	if h.TLVs, err = decodeTLVs(b[fixedV2+al:]); err != nil {
		return Header{}, 0, err
	}
	if sum, ok := h.TLV(TypeCRC32C); ok && (len(sum) != 4 || binary.BigEndian.Uint32(sum) != checksum(b, fixedV2+al)) {
		return Header{}, 0, bad("its checksum does not fit")
	}
	return h, n, nil
}

func decodeAddresses(h *Header, a []byte) {
	switch h.Protocol {
	case TCP4, UDP4:
		h.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[0:4])), binary.BigEndian.Uint16(a[8:]))
		h.Destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), binary.BigEndian.Uint16(a[10:]))
	case TCP6, UDP6:
		h.Source = netip.AddrPortFrom(netip.AddrFrom16([16]byte(a[0:16])), binary.BigEndian.Uint16(a[32:]))
		h.Destination = netip.AddrPortFrom(netip.AddrFrom16([16]byte(a[16:32])), binary.BigEndian.Uint16(a[34:]))
	case UnixStream, UnixDatagram:
		// Abstract sockets begin with a zero byte, so only the padding behind the name goes.
		h.SourcePath = strings.TrimRight(string(a[:unixLength]), "\x00")
		h.DestinationPath = strings.TrimRight(string(a[unixLength:]), "\x00")
	case Unspec:
	}
}

func decodeTLVs(b []byte) ([]TLV, error) {
	var tlvs []TLV
	for len(b) > 0 {
		if len(b) < 3 {
			return nil, bad("%d bytes are left over behind its last TLV", len(b))
		}
		l := int(binary.BigEndian.Uint16(b[1:]))
		if 3+l > len(b) {
			return nil, bad("TLV 0x%02x announces %d bytes where %d are left", b[0], l, len(b)-3)
		}
		tlvs = append(tlvs, TLV{b[0], append([]byte{}, b[3:3+l]...)})
		b = b[3+l:]
	}
	return tlvs, nil
}

// checksum is the CRC32c of a header with the checksum's own value taken as zero, clause 2.2.3. tlvs is where its TLVs begin.
func checksum(b []byte, tlvs int) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	for i := tlvs; i+3 <= len(b); {
		l := int(binary.BigEndian.Uint16(b[i+1:]))
		if b[i] == TypeCRC32C && l == 4 {
			c := crc32.Update(0, table, b[:i+3])
			c = crc32.Update(c, table, []byte{0, 0, 0, 0})
			return crc32.Update(c, table, b[i+7:])
		}
		i += 3 + l
	}
	return 0
}

func appendV2(dst []byte, h *Header) ([]byte, error) {
	start := len(dst)
	out := append(dst, signature...)
	if h.Local {
		return append(out, versionBits|cmdLocal, byte(Unspec), 0, 0), nil
	}
	out = append(out, versionBits|cmdProxy, byte(h.Protocol), 0, 0)
	out, err := appendAddresses(out, h)
	if err != nil {
		return dst, err
	}
	tlvs := len(out)
	crc := 0 // where the checksum's value begins
	for _, t := range h.TLVs {
		if len(out)-start+3+len(t.Value) > MaxLength {
			return dst, fault.Newf("proxyproto.Append", fault.TooLarge, "the PROXY header would be longer than %d bytes", MaxLength)
		}
		out = append(out, t.Type)
		out = binary.BigEndian.AppendUint16(out, uint16(len(t.Value)))
		out = append(out, t.Value...)
		if t.Type == TypeCRC32C && crc == 0 {
			if len(t.Value) != 4 {
				return dst, fault.New("proxyproto.Append", fault.Invalid, "the checksum of a PROXY header has four bytes")
			}
			crc = len(out) - 4
		}
	}
	binary.BigEndian.PutUint16(out[start+14:], uint16(len(out)-start-fixedV2))
	if crc > 0 {
		binary.BigEndian.PutUint32(out[crc:], checksum(out[start:], tlvs-start))
	}
	return out, nil
}

func appendAddresses(out []byte, h *Header) ([]byte, error) {
	s, d := h.Source.Addr(), h.Destination.Addr()
	switch h.Protocol {
	case Unspec:
		return out, nil
	case TCP4, UDP4:
		if !s.Is4() || !d.Is4() {
			return out, misfit(h)
		}
	case TCP6, UDP6:
		if !s.Is6() || !d.Is6() || s.Zone() != "" || d.Zone() != "" {
			return out, misfit(h)
		}
	case UnixStream, UnixDatagram:
		for _, p := range []string{h.SourcePath, h.DestinationPath} {
			if len(p) > unixLength {
				return out, fault.Newf("proxyproto.Append", fault.Invalid, "a socket's path has at most %d bytes, not %d", unixLength, len(p))
			}
			out = append(out, p...)
			out = append(out, make([]byte, unixLength-len(p))...)
		}
		return out, nil
	default:
		return out, fault.Newf("proxyproto.Append", fault.Invalid, "there is no protocol 0x%02x in a PROXY header", byte(h.Protocol))
	}
	return appendEndpoints(out, h), nil
}

// appendEndpoints writes addresses, then ports, as the address block has them.
func appendEndpoints(out []byte, h *Header) []byte {
	out = append(out, h.Source.Addr().AsSlice()...)
	out = append(out, h.Destination.Addr().AsSlice()...)
	out = binary.BigEndian.AppendUint16(out, h.Source.Port())
	return binary.BigEndian.AppendUint16(out, h.Destination.Port())
}

func misfit(h *Header) error {
	return fault.Newf("proxyproto.Append", fault.Invalid, "addresses %s and %s do not fit protocol 0x%02x", h.Source, h.Destination, byte(h.Protocol))
}

func bad(format string, args ...any) error {
	return fault.Newf("proxyproto.Decode", fault.Invalid, "the PROXY header is wrong: "+format, args...)
}
