package message

import (
	"encoding/binary"

	"github.com/isthmus-io/isthmus/fault"
)

// HeaderSize is where the question begins.
const HeaderSize = 12

// Flags of a header as they stand in its second 16 bits (RFC 1035 section 4.1.1, RFC 4035 section 3).
const (
	QR = 1 << 15 // a response
	AA = 1 << 10 // authoritative
	TC = 1 << 9  // cut
	RD = 1 << 8  // recursion desired
	RA = 1 << 7  // recursion available
	AD = 1 << 5  // authentic data
	CD = 1 << 4  // checking disabled

	opcodeMask = 0xf << 11
)

// What Parse may say. ErrShort and ErrResponse must not be answered; ErrOpcode is NOTIMP, all others are FORMERR.
var (
	ErrShort      = fault.New("message.Parse", fault.Invalid, "a DNS message has at least 12 bytes")
	ErrResponse   = fault.New("message.Parse", fault.Invalid, "it is a response, not a query")
	ErrOpcode     = fault.New("message.Parse", fault.Invalid, "its operation is another than QUERY")
	ErrNoQuestion = fault.New("message.Parse", fault.Invalid, "it has no question") // the OPT record was read all the same

	errQuestions = fault.New("message.Parse", fault.Invalid, "it has more than one question (RFC 9619)")
	errName      = fault.New("message.Parse", fault.Invalid, "the name in the question is cut, too long or compressed")
	errQuestion  = fault.New("message.Parse", fault.Invalid, "the question is cut")
	errRecord    = fault.New("message.Parse", fault.Invalid, "a record is cut")
	errTrailing  = fault.New("message.Parse", fault.Invalid, "there are bytes after the last record")
	errOPT       = fault.New("message.Parse", fault.Invalid, "the OPT record is not in its place, not owned by the root, or not the only one (RFC 6891 section 6.1)")
	errOption    = fault.New("message.Parse", fault.Invalid, "an EDNS option is cut")
	errCookie    = fault.New("message.Parse", fault.Invalid, "a cookie has 8 or 16 to 40 bytes (RFC 7873 section 4)")
)

// Query is a query as its header, question and OPT record say. The zero value is ready for Parse, and each Parse forgets the one
// before. A Query must not be copied: Name points into it.
type Query struct {
	Packet []byte // what was parsed

	ID, Flags uint16 // Flags are those of the header: QR, RD, CD, …
	RD, CD    bool   // recursion desired, checking disabled

	Name    []byte // wire form in lower case, with the root's zero byte; 1 to 255 bytes
	Spelled []byte // the same bytes as they were asked, in Packet
	Type    uint16
	Class   uint16
	End     int // of the question, in Packet

	EDNS    bool
	Version uint8
	UDPSize uint16 // what the OPT record says, unchecked; 0 without one
	DO      bool
	Padded  bool   // the client pads (RFC 7830)
	Cookie  []byte // the COOKIE option: 8 bytes, or 8 and the server's 8 to 32; nil without one
	Options []byte // the rdata of the OPT record, whose options are known to be whole

	name [255]byte
}

// Parse reads a query. The packet must stay as it is for as long as the Query is used. After an error ID and Flags are good unless
// it is ErrShort, and the rest is what had been read so far.
func (q *Query) Parse(packet []byte) error {
	q.Packet, q.Name, q.Spelled, q.Cookie, q.Options = packet, nil, nil, nil, nil
	q.Type, q.Class, q.End, q.UDPSize, q.Version = 0, 0, HeaderSize, 0, 0
	q.EDNS, q.DO, q.Padded = false, false, false
	if len(packet) < HeaderSize {
		q.ID, q.Flags, q.RD, q.CD = 0, 0, false, false
		return ErrShort
	}
	q.ID, q.Flags = binary.BigEndian.Uint16(packet), binary.BigEndian.Uint16(packet[2:])
	q.RD, q.CD = q.Flags&RD != 0, q.Flags&CD != 0
	if q.Flags&QR != 0 {
		return ErrResponse
	}
	if q.Flags&opcodeMask != 0 {
		return ErrOpcode
	}
	questions := binary.BigEndian.Uint16(packet[4:])
	if questions > 1 {
		return errQuestions
	}
	if questions == 1 {
		if err := q.question(packet); err != nil {
			return err
		}
	}
	if err := q.records(packet); err != nil {
		return err
	}
	if questions == 0 {
		return ErrNoQuestion
	}
	return nil
}

func (q *Query) question(packet []byte) error {
	off := HeaderSize
	for {
		if off >= len(packet) {
			return errName
		}
		n := int(packet[off])
		if n == 0 {
			break
		}
		off += 1 + n
		if n > 63 || off-HeaderSize > 254 {
			return errName
		}
	}
	off++
	q.Spelled = packet[HeaderSize:off]
	for i, c := range q.Spelled { // lengths are below 'A', so they are not changed
		if c-'A' < 26 {
			c |= 0x20
		}
		q.name[i] = c
	}
	q.Name = q.name[:len(q.Spelled)]
	if off+4 > len(packet) {
		return errQuestion
	}
	q.Type, q.Class = binary.BigEndian.Uint16(packet[off:]), binary.BigEndian.Uint16(packet[off+2:])
	q.End = off + 4
	return nil
}

// records walks over everything behind the question in search of the OPT record. What else is there means nothing in a query.
func (q *Query) records(packet []byte) error {
	before := int(binary.BigEndian.Uint16(packet[6:])) + int(binary.BigEndian.Uint16(packet[8:]))
	total := before + int(binary.BigEndian.Uint16(packet[10:]))
	off := q.End
	for i := range total {
		start := off
		off = skipName(packet, off)
		if off < 0 || off+10 > len(packet) {
			return errRecord
		}
		data := off + 10
		end := data + int(binary.BigEndian.Uint16(packet[off+8:]))
		if end > len(packet) {
			return errRecord
		}
		if binary.BigEndian.Uint16(packet[off:]) == typeOPT {
			if q.EDNS || i < before || off != start+1 {
				return errOPT
			}
			q.EDNS = true
			q.UDPSize = binary.BigEndian.Uint16(packet[off+2:])
			q.Version = packet[off+5]
			q.DO = packet[off+6]&0x80 != 0
			q.Options = packet[data:end]
			if err := q.options(); err != nil {
				return err
			}
		}
		off = end
	}
	if off != len(packet) {
		return errTrailing
	}
	return nil
}

func (q *Query) options() error {
	for rest := q.Options; len(rest) > 0; {
		var code uint16
		var data []byte
		var ok bool
		if code, data, rest, ok = NextOption(rest); !ok {
			return errOption
		}
		switch code {
		case OptionCookie:
			if n := len(data); n != 8 && (n < 16 || n > 40) {
				return errCookie
			}
			if q.Cookie == nil { // RFC 7873 section 5.2: others than the first mean nothing
				q.Cookie = data
			}
		case OptionPadding:
			q.Padded = true
		}
	}
	return nil
}

// Option returns the first option of a code.
func (q *Query) Option(code uint16) (data []byte, ok bool) {
	for rest := q.Options; len(rest) > 0; {
		var c uint16
		if c, data, rest, ok = NextOption(rest); !ok || c == code {
			return data, ok
		}
	}
	return nil, false
}

// Keep returns a copy with a packet of its own, for use after the packet's buffer has been taken for another.
func (q *Query) Keep() *Query {
	k := new(Query)
	_ = k.Parse(append([]byte(nil), q.Packet...)) // says what it said before
	return k
}
