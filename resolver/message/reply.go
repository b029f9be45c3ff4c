package message

import "encoding/binary"

const typeOPT = 41

// Codes of EDNS options.
const (
	OptionECS     = 8  // RFC 7871
	OptionCookie  = 10 // RFC 7873
	OptionPadding = 12 // RFC 7830
	OptionEDE     = 15 // RFC 8914
)

// Begin appends the room for a header and the question as it was spelled: what every reply starts with. A Query without a question
// gets the room alone.
func (q *Query) Begin(dst []byte) []byte {
	var header [HeaderSize]byte
	dst = append(dst, header[:]...)
	return append(dst, q.Packet[HeaderSize:q.End]...)
}

// PutHeader writes a header at the start of a message. The lower four bits of an rcode go into flags, the rest into the OPT record.
func PutHeader(msg []byte, id, flags uint16, questions, answers, authorities, additionals uint16) {
	_ = msg[HeaderSize-1]
	binary.BigEndian.PutUint16(msg, id)
	binary.BigEndian.PutUint16(msg[2:], flags)
	binary.BigEndian.PutUint16(msg[4:], questions)
	binary.BigEndian.PutUint16(msg[6:], answers)
	binary.BigEndian.PutUint16(msg[8:], authorities)
	binary.BigEndian.PutUint16(msg[10:], additionals)
}

// OPTSize is what an OPT record without options takes.
const OPTSize = 11

// BeginOPT appends an OPT record of version 0 and returns where it starts. Options are appended behind it, then EndOPT closes it.
func BeginOPT(dst []byte, udpSize uint16, rcode int, do bool) (out []byte, at int) {
	at = len(dst)
	var flags byte
	if do {
		flags = 0x80
	}
	return append(dst, 0, 0, typeOPT, byte(udpSize>>8), byte(udpSize), byte(rcode>>4), 0, flags, 0, 0, 0), at
}

// EndOPT writes the length of the options that stand behind the OPT record at at.
func EndOPT(msg []byte, at int) {
	binary.BigEndian.PutUint16(msg[at+9:], uint16(len(msg)-at-OPTSize))
}

// AppendOption appends an EDNS option.
func AppendOption(dst []byte, code uint16, data []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, code)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
	return append(dst, data...)
}

// AppendEDE appends an extended error (RFC 8914).
func AppendEDE(dst []byte, code uint16, text string) []byte {
	dst = append(dst, 0, OptionEDE)
	dst = binary.BigEndian.AppendUint16(dst, uint16(2+len(text)))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, text...)
}

// NextOption cuts the first option off the rdata of an OPT record; ok is false when it is cut or there is none.
func NextOption(options []byte) (code uint16, data, rest []byte, ok bool) {
	if len(options) < 4 {
		return 0, nil, nil, false
	}
	end := 4 + int(binary.BigEndian.Uint16(options[2:]))
	if end > len(options) {
		return 0, nil, nil, false
	}
	return binary.BigEndian.Uint16(options), options[4:end], options[end:], true
}
