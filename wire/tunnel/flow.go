package tunnel

import (
	"encoding/binary"
	"net/netip"

	"github.com/isthmus-io/isthmus/fault"
)

// MaxEndpoint is the longest endpoint uid, in bytes.
const MaxEndpoint = 255

const minFlow = 1 + 1 + 2 + 1 // length, one byte of uid, port, family

// Flow says what a stream is for: the payload of an Open frame.
//
//	1 byte   length of the endpoint's uid, 1 to 255
//	n bytes  the uid, printable ASCII without spaces
//	2 bytes  port at the endpoint, not 0
//	1 byte   family of the client's address: 0 unknown, 4 or 6
//	4 or 16 bytes address and 2 bytes port, absent for family 0
type Flow struct {
	Endpoint string         // uid of the PrivateEndpoint through which the client came
	Port     uint16         // port the client dialled there
	Client   netip.AddrPort // the client as the consumer's agent saw it; the zero value when unknown
}

// AppendFlow appends the payload of an Open frame. An IPv4-mapped IPv6 address is sent as IPv4, and a zone is not sent: it means
// nothing on another machine.
func AppendFlow(b []byte, f Flow) ([]byte, error) {
	if err := checkFlow(f.Endpoint, f.Port); err != nil {
		return b, err
	}
	b = append(b, byte(len(f.Endpoint)))
	b = append(b, f.Endpoint...)
	b = binary.BigEndian.AppendUint16(b, f.Port)
	addr := f.Client.Addr().Unmap().WithZone("")
	switch {
	case !addr.IsValid():
		return append(b, 0), nil
	case addr.Is4():
		b = append(b, 4)
	default:
		b = append(b, 6)
	}
	b = append(b, addr.AsSlice()...)
	return binary.BigEndian.AppendUint16(b, f.Client.Port()), nil
}

// ParseFlow reads the payload of an Open frame; the error has kind Invalid.
func ParseFlow(b []byte) (Flow, error) {
	const op = "tunnel.ParseFlow"
	short := fault.New(op, fault.Invalid, "flow header cut short")
	if len(b) < minFlow {
		return Flow{}, short
	}
	n := int(b[0])
	if len(b) < 1+n+3 {
		return Flow{}, short
	}
	f := Flow{Endpoint: string(b[1 : 1+n]), Port: binary.BigEndian.Uint16(b[1+n:])}
	if err := checkFlow(f.Endpoint, f.Port); err != nil {
		return Flow{}, err
	}
	family, rest := b[1+n+2], b[1+n+3:]
	want := 0
	switch family {
	case 0:
	case 4:
		want = 4 + 2
	case 6:
		want = 16 + 2
	default:
		return Flow{}, fault.Newf(op, fault.Invalid, "flow header with address family %d", family)
	}
	if len(rest) != want {
		return Flow{}, fault.Newf(op, fault.Invalid, "flow header with %d bytes of address, want %d", len(rest), want)
	}
	if want > 0 {
		addr, _ := netip.AddrFromSlice(rest[:want-2])
		if addr.Is4In6() {
			return Flow{}, fault.New(op, fault.Invalid, "flow header with an IPv4 address dressed as IPv6")
		}
		f.Client = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(rest[want-2:]))
	}
	return f, nil
}

// checkFlow keeps control characters out, because uids from peers reach logs.
func checkFlow(endpoint string, port uint16) error {
	const op = "tunnel.Flow"
	if endpoint == "" || len(endpoint) > MaxEndpoint {
		return fault.Newf(op, fault.Invalid, "endpoint uid of %d bytes, allowed are 1 to %d", len(endpoint), MaxEndpoint)
	}
	if !printable(endpoint) {
		return fault.New(op, fault.Invalid, "endpoint uid with a character that is not printable ASCII")
	}
	if port == 0 {
		return fault.New(op, fault.Invalid, "flow to port 0")
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
