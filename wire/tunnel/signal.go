package tunnel

import (
	"encoding/binary"
	"io"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
)

// MaxSignal is the longest signalling frame in bytes, its two bytes of length not counted.
const MaxSignal = 4 << 10

// MaxID is the longest SPIFFE id in a signalling frame, in bytes (SPIFFE-ID section 2.3 allows no longer one).
const MaxID = 2048

// Signal is a frame between an agent and a relay: one of [Ask], [Offer], [Issued], [Refuse], [Ping], [Pong], [Decline].
//
//	2 bytes  length of what follows, 1 to 4096
//	1 byte   type
//	n bytes  body
type Signal interface {
	signal() byte
	append(b []byte) ([]byte, error)
}

// Ask is sent by an agent that wants a connection to another: 4 bytes of request, then the target's SPIFFE id. Type 1.
type Ask struct {
	Request uint32 // chosen by the asker, repeated in the answer
	Target  string
}

// Offer tells an agent that another wants to reach it: 32 bytes of ticket, then the asker's SPIFFE id. Type 2.
type Offer struct {
	Ticket Ticket
	From   string
}

// Issued answers Ask with a ticket: 4 bytes of request, 32 bytes of ticket. Type 3.
type Issued struct {
	Request uint32
	Ticket  Ticket
}

// Refuse answers Ask with a reason: 4 bytes of request, 2 bytes of code, at most MaxMessage bytes of UTF-8. Type 4.
type Refuse struct {
	Request uint32
	Code    RefuseCode
	Message string
}

// Ping asks for a Pong with the same 8 bytes. Type 5.
type Ping struct{ Token uint64 }

// Pong answers a Ping. Type 6.
type Pong struct{ Token uint64 }

// Decline is sent by an agent that was offered a connection and will not come, so that the asker need not wait: 32 bytes of
// ticket. Type 7.
type Decline struct{ Ticket Ticket }

// RefuseCode says why a relay issued no ticket.
type RefuseCode uint16

// The refuse codes.
const (
	RefuseAbsent       RefuseCode = 1 // the target is not connected to this relay
	RefuseDenied       RefuseCode = 2 // the asker may not ask for this target
	RefuseOverloaded   RefuseCode = 3 // asked too often, or the relay is full
	RefuseShuttingDown RefuseCode = 4 // the relay is stopping
)

var refuseNames = [...]string{
	RefuseAbsent: "absent", RefuseDenied: "denied", RefuseOverloaded: "overloaded", RefuseShuttingDown: "shutting-down",
}

// String returns the code's name as it stands in the documentation, e.g. "absent".
func (c RefuseCode) String() string {
	if c > 0 && int(c) < len(refuseNames) {
		return refuseNames[c]
	}
	return "code " + strconv.Itoa(int(c))
}

// Kind is the fault the asker should report.
func (c RefuseCode) Kind() fault.Kind {
	switch c {
	case RefuseDenied:
		return fault.Denied
	case RefuseOverloaded:
		return fault.Exhausted
	default:
		return fault.Unavailable
	}
}

func (Ask) signal() byte     { return 1 }
func (Offer) signal() byte   { return 2 }
func (Issued) signal() byte  { return 3 }
func (Refuse) signal() byte  { return 4 }
func (Ping) signal() byte    { return 5 }
func (Pong) signal() byte    { return 6 }
func (Decline) signal() byte { return 7 }

func (s Ask) append(b []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint32(b, s.Request), s.Target...), checkID(s.Target)
}

func (s Offer) append(b []byte) ([]byte, error) {
	return append(append(b, s.Ticket[:]...), s.From...), checkID(s.From)
}

func (s Issued) append(b []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint32(b, s.Request), s.Ticket[:]...), nil
}

func (s Refuse) append(b []byte) ([]byte, error) {
	return AppendReason(binary.BigEndian.AppendUint32(b, s.Request), ResetCode(s.Code), s.Message), nil
}

func (s Ping) append(b []byte) ([]byte, error) { return binary.BigEndian.AppendUint64(b, s.Token), nil }
func (s Pong) append(b []byte) ([]byte, error) { return binary.BigEndian.AppendUint64(b, s.Token), nil }

func (s Decline) append(b []byte) ([]byte, error) { return append(b, s.Ticket[:]...), nil }

func checkID(id string) error {
	if id == "" || len(id) > MaxID {
		return fault.Newf("tunnel.Signal", fault.Invalid, "SPIFFE id of %d bytes, allowed are 1 to %d", len(id), MaxID)
	}
	if !printable(id) {
		return fault.New("tunnel.Signal", fault.Invalid, "SPIFFE id with a character that is not printable ASCII")
	}
	return nil
}

// AppendSignal appends the frame's bytes. It fails, with kind Invalid, only for an id that is empty, too long or not printable.
func AppendSignal(b []byte, s Signal) ([]byte, error) {
	at := len(b)
	out, err := s.append(append(b, 0, 0, s.signal()))
	if err != nil {
		return b, err
	}
	binary.BigEndian.PutUint16(out[at:], uint16(len(out)-at-2))
	return out, nil
}

// ReadSignal reads one frame, at most 2+MaxSignal bytes. It returns io.EOF only at a frame's border.
func ReadSignal(r io.Reader) (Signal, error) {
	var hdr [2]byte
	if _, err := io.ReadFull(r, hdr[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(hdr[:])
	if n == 0 || n > MaxSignal {
		return nil, fault.Newf("tunnel.ReadSignal", fault.Invalid, "signalling frame of %d bytes, allowed are 1 to %d", n, MaxSignal)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, noEOF(err)
	}
	return ParseSignal(b)
}

// ParseSignal reads a frame without its two bytes of length; the error has kind Invalid.
func ParseSignal(b []byte) (Signal, error) {
	const op = "tunnel.ParseSignal"
	short := func(name string) error { return fault.Newf(op, fault.Invalid, "%s frame of %d bytes", name, len(b)) }
	if len(b) == 0 || len(b) > MaxSignal {
		return nil, short("signalling")
	}
	kind, b := b[0], b[1:]
	switch kind {
	case 1:
		if len(b) < 4 {
			return nil, short("Ask")
		}
		s := Ask{Request: binary.BigEndian.Uint32(b), Target: string(b[4:])}
		return orNil(s, checkID(s.Target))
	case 2:
		if len(b) < TicketLen {
			return nil, short("Offer")
		}
		s := Offer{Ticket: Ticket(b[:TicketLen]), From: string(b[TicketLen:])}
		return orNil(s, checkID(s.From))
	case 3:
		if len(b) != 4+TicketLen {
			return nil, short("Issued")
		}
		return Issued{Request: binary.BigEndian.Uint32(b), Ticket: Ticket(b[4:])}, nil
	case 4:
		if len(b) < 4 {
			return nil, short("Refuse")
		}
		code, message, err := ParseReason(b[4:])
		return orNil(Refuse{Request: binary.BigEndian.Uint32(b), Code: RefuseCode(code), Message: message}, err)
	case 5, 6:
		if len(b) != 8 {
			return nil, short("Ping")
		}
		if token := binary.BigEndian.Uint64(b); kind == 5 {
			return Ping{token}, nil
		} else {
			return Pong{token}, nil
		}
	case 7:
		if len(b) != TicketLen {
			return nil, short("Decline")
		}
		return Decline{Ticket(b)}, nil
	}
	return nil, fault.Newf(op, fault.Invalid, "signalling frame of unknown type %d", kind)
}

func orNil(s Signal, err error) (Signal, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
