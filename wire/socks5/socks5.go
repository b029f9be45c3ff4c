package socks5

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	version      = 5
	noAuth       = 0x00
	noneOfThose  = 0xff
	familyIPv4   = 1
	familyDomain = 3
	familyIPv6   = 4
)

// Command is what a client asks for (RFC 1928 clause 4).
type Command uint8

// The commands.
const (
	Connect      Command = 1
	Bind         Command = 2
	UDPAssociate Command = 3
)

// Reply is what becomes of a request (RFC 1928 clause 6).
type Reply uint8

// The replies.
const (
	Succeeded           Reply = 0
	GeneralFailure      Reply = 1
	NotAllowed          Reply = 2
	NetworkUnreachable  Reply = 3
	HostUnreachable     Reply = 4
	ConnectionRefused   Reply = 5
	TTLExpired          Reply = 6
	CommandNotSupported Reply = 7
	FamilyNotSupported  Reply = 8
)

// Request is where a client wants to.
type Request struct {
	Command Command
	Host    string // an IP address or a name
	Port    uint16
}

// refused is an error that has an answer.
type refused struct {
	why   *fault.Error
	reply Reply
}

func (r *refused) Error() string { return r.why.Error() }
func (r *refused) Unwrap() error { return r.why }

// ReplyTo returns the answer to a request that ReadRequest found wrong; not ok when the client gets none, because it speaks something else
// or has gone.
func ReplyTo(err error) (Reply, bool) {
	r, ok := errors.AsType[*refused](err)
	if !ok {
		return 0, false
	}
	return r.reply, true
}

// Greet reads a client's methods and chooses the one without authentication (RFC 1928 clause 3). To a client that does not offer it, it
// says so and returns a fault of kind Invalid.
func Greet(c io.ReadWriter) error {
	const op = "socks5.Greet"
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	if head[0] != version {
		return fault.Newf(op, fault.Invalid, "the client does not speak SOCKS version 5 (it began with %#x)", head[0])
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(c, methods); err != nil {
		return err
	}
	for _, m := range methods {
		if m == noAuth {
			_, err := c.Write([]byte{version, noAuth})
			return err
		}
	}
	_, _ = c.Write([]byte{version, noneOfThose}) // the client hangs up (clause 3)
	return fault.New(op, fault.Invalid, "the client wants to log in, which nobody needs to here")
}

// ReadRequest reads one request. ReplyTo says what to answer when it fails.
func ReadRequest(r io.Reader) (Request, error) {
	const op = "socks5.ReadRequest"
	var head [5]byte // with the first byte of the address, which is a name's length
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Request{}, err
	}
	if head[0] != version || head[2] != 0 {
		return Request{}, fault.New(op, fault.Invalid, "the client sent no SOCKS request")
	}
	var length int
	switch head[3] {
	case familyIPv4:
		length = 4
	case familyIPv6:
		length = 16
	case familyDomain:
		length = 1 + int(head[4])
	default:
		return Request{}, &refused{fault.Newf(op, fault.Invalid, "the request has addresses of family %d", head[3]), FamilyNotSupported}
	}
	rest := make([]byte, length+2)
	rest[0] = head[4]
	if _, err := io.ReadFull(r, rest[1:]); err != nil {
		return Request{}, err
	}
	q := Request{Command: Command(head[1]), Port: binary.BigEndian.Uint16(rest[length:])}
	if head[3] == familyDomain {
		q.Host = host(string(rest[1:length]))
	} else {
		a, _ := netip.AddrFromSlice(rest[:length])
		q.Host = a.Unmap().String()
	}
	switch {
	case q.Host == "":
		return Request{}, &refused{fault.New(op, fault.Invalid, "the request has a host that is no name"), GeneralFailure}
	case q.Port == 0 && q.Command == Connect:
		return Request{}, &refused{fault.New(op, fault.Invalid, "the request is for port 0"), GeneralFailure}
	}
	return q, nil
}

// host returns a name as it is looked up, empty for what is none. Some clients send addresses as names.
func host(s string) string {
	s = strings.TrimSuffix(s, ".")
	if strings.HasSuffix(s, ".") {
		return ""
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return ""
		}
	}
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil && a.Zone() == "" {
		return a.Unmap().String()
	}
	return strings.ToLower(s)
}

// AppendReply appends an answer. The address bound, which would be one of another machine, is not told: it is 0.0.0.0, port 0.
func AppendReply(b []byte, r Reply) []byte {
	return append(b, version, byte(r), 0, familyIPv4, 0, 0, 0, 0, 0, 0)
}
