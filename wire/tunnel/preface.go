package tunnel

import (
	"crypto/subtle"
	"encoding/hex"
	"io"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
)

// Magic begins a data connection to a relay. No TLS record begins with its first byte.
const Magic = "ISTHMUS1"

// FirstTLS is the first byte of a TLS connection: a handshake record (RFC 8446 section 5.1).
const FirstTLS byte = 0x16

// The names agents give their protocols in TLS (ALPN, RFC 7301).
const (
	ALPNRelay  = "isthmus-relay/1"  // an agent and a relay: Signal frames
	ALPNTunnel = "isthmus-tunnel/1" // two agents: mux frames
)

// PrefaceLen is the length of a preface in bytes.
const PrefaceLen = 44

// TicketLen is the length of a ticket in bytes.
const TicketLen = 32

// Ticket entitles two connections to be paired, once. It is a secret until it has been used.
type Ticket [TicketLen]byte

// String shows only the first four bytes, enough to find a ticket in two logs and not enough to use it.
func (t Ticket) String() string { return hex.EncodeToString(t[:4]) + "…" }

// Equal compares in constant time.
func (t Ticket) Equal(u Ticket) bool { return subtle.ConstantTimeCompare(t[:], u[:]) == 1 }

// PrefaceKind is what a data connection wants of the relay.
type PrefaceKind uint8

// Pair asks to be joined with the other connection that shows the same ticket.
const Pair PrefaceKind = 1

const prefaceVersion = 1

// Preface is what a data connection to a relay begins with:
//
//	8 bytes   "ISTHMUS1"
//	1 byte    version, 1
//	1 byte    kind, 1 = pair
//	2 bytes   zero
//	32 bytes  ticket
type Preface struct {
	Kind   PrefaceKind
	Ticket Ticket
}

// Encode returns the preface's bytes.
func (p Preface) Encode() [PrefaceLen]byte {
	var b [PrefaceLen]byte
	copy(b[:], Magic)
	b[8], b[9] = prefaceVersion, byte(p.Kind)
	copy(b[12:], p.Ticket[:])
	return b
}

// ParsePreface reads exactly PrefaceLen bytes; the error has kind Invalid. [PrefaceStatus] says which status byte answers it.
func ParsePreface(b []byte) (Preface, error) {
	const op = "tunnel.ParsePreface"
	if len(b) != PrefaceLen {
		return Preface{}, fault.Newf(op, fault.Invalid, "preface of %d bytes, want %d", len(b), PrefaceLen)
	}
	if string(b[:8]) != Magic {
		return Preface{}, fault.New(op, fault.Invalid, "the connection does not speak to a relay: it lacks the preface's first eight bytes")
	}
	if b[8] != prefaceVersion {
		return Preface{}, fault.Newf(op, fault.Invalid, "preface of version %d, this relay speaks %d", b[8], prefaceVersion).
			Because(StatusVersion).Advise("run the same release on agents and relays")
	}
	if PrefaceKind(b[9]) != Pair {
		return Preface{}, fault.Newf(op, fault.Invalid, "preface of unknown kind %d", b[9])
	}
	if b[10] != 0 || b[11] != 0 {
		return Preface{}, fault.New(op, fault.Invalid, "preface with its reserved bytes set")
	}
	return Preface{Kind: Pair, Ticket: Ticket(b[12:])}, nil
}

// ReadPreface reads PrefaceLen bytes and no more: what follows belongs to the peer.
func ReadPreface(r io.Reader) (Preface, error) {
	var b [PrefaceLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Preface{}, err
	}
	return ParsePreface(b[:])
}

// Status is the one byte with which a relay answers a preface. After StatusPaired the bytes of the peer follow; after any other
// the relay closes. A Status other than StatusPaired is an error.
type Status uint8

// The answers to a preface.
const (
	StatusPaired       Status = 0
	StatusUnknown      Status = 1 // no such ticket: never issued, used already, or lapsed
	StatusTimeout      Status = 2 // the other half did not come while the ticket lived
	StatusOverloaded   Status = 3 // too many connections wait at this relay
	StatusMalformed    Status = 4 // the preface could not be read
	StatusVersion      Status = 5 // a version this relay does not speak
	StatusShuttingDown Status = 6 // the relay is stopping
	StatusDeclined     Status = 7 // the other agent was offered the connection and will not come
)

var statusWords = [...]string{
	StatusPaired: "paired", StatusUnknown: "the relay does not know this ticket: it was used already or has lapsed",
	StatusTimeout: "the other agent did not come to the relay in time", StatusOverloaded: "the relay holds as many connections as it may",
	StatusMalformed: "the relay could not read the preface", StatusVersion: "the relay speaks another version",
	StatusShuttingDown: "the relay is stopping", StatusDeclined: "the other agent does not want a connection from this one",
}

// Error says the status in words.
func (s Status) Error() string {
	if int(s) < len(statusWords) {
		return statusWords[s]
	}
	return "the relay answered with unknown status " + strconv.Itoa(int(s))
}

// Kind is the fault a refused agent should report.
func (s Status) Kind() fault.Kind {
	switch s {
	case StatusUnknown:
		return fault.Expired
	case StatusTimeout:
		return fault.Timeout
	case StatusOverloaded:
		return fault.Exhausted
	case StatusMalformed, StatusVersion:
		return fault.Invalid
	case StatusDeclined:
		return fault.Denied
	default:
		return fault.Unavailable
	}
}

// PrefaceStatus is the byte that answers an error of ParsePreface or ReadPreface.
func PrefaceStatus(err error) Status {
	f, ok := err.(*fault.Error) //nolint:errorlint // only the decoder's own error carries a status
	if !ok {
		return StatusMalformed
	}
	if s, ok := f.Err.(Status); ok { //nolint:errorlint // set above, never wrapped
		return s
	}
	return StatusMalformed
}

// ReadStatus reads the answer to a preface: nil when paired, else a fault that says why not.
func ReadStatus(r io.Reader) error {
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return fault.Wrap("tunnel.ReadStatus", fault.Unavailable, err, "the relay hung up without an answer")
	}
	s := Status(b[0])
	if s == StatusPaired {
		return nil
	}
	return fault.New("tunnel.ReadStatus", s.Kind(), s.Error()).Because(s)
}
