package clienthello

import "encoding/binary"

const (
	recordHeader    = 5
	maxRecord       = 1 << 14 // RFC 8446 clause 5.1
	handshakeRecord = 22
	messageHeader   = 4
	clientHelloType = 1
	shortest        = 2 + 32 + 1 + 2 + 2 + 1 + 1 // a body with one cipher suite and no extension
)

// MaxLength is the longest ClientHello that is read, in bytes without headers. Callers usually allow less.
const MaxLength = 1<<16 - 1

// Need returns how many more bytes are wanted at least before [Parse] can say anything but [ErrIncomplete]: 0 and no error when it has a
// hello, and its error when it has none and never will. len(b) plus Need is a lower bound of how long the hello is with its records,
// so that one over the caller's limit can be refused at its first bytes.
func Need(b []byte) (int, error) {
	m, need, err := follow(b)
	if err == nil && need == 0 {
		_, err = parse(m.body(b))
	}
	return need, err
}

// message is where a ClientHello is among its records.
type message struct {
	length  int // of the body
	records int
}

// follow goes through the records b begins with. need is at least 1 when the message is not whole.
func follow(b []byte) (m message, need int, err error) {
	var head [messageHeader]byte
	have, whole := 0, messageHeader+shortest // bytes of the message seen, and its length as far as it is known
	for {
		first := m.records == 0
		switch {
		case len(b) > 0 && b[0] != handshakeRecord, len(b) > 1 && b[1] != 3:
			// The minor version is to be ignored: clients write all sorts of it for middleboxes.
			if first {
				return m, 0, NotTLS
			}
			return m, 0, BadRecord
		case len(b) > 3 && b[3] > maxRecord>>8:
			return m, 0, BadRecord
		case len(b) < recordHeader:
			return m, wire(whole-have) - len(b), nil
		}
		n := int(binary.BigEndian.Uint16(b[3:]))
		if n == 0 || n > maxRecord {
			return m, 0, BadRecord // clause 5.1 forbids handshake records without a byte
		}
		m.records++
		b = b[recordHeader:]
		payload := b[:min(n, len(b))]
		if have < messageHeader {
			copy(head[have:], payload)
			if whole, err = begins(head[:min(messageHeader, have+len(payload))]); err != nil {
				return m, 0, err
			}
		}
		if have+len(payload) >= whole {
			m.length = whole - messageHeader
			return m, 0, nil
		}
		if len(payload) < n {
			return m, min(n, whole-have) - len(payload) + wire(whole-have-n), nil
		}
		have += n
		b = b[n:]
	}
}

// wire is how many bytes that many of the message take with the headers of their records, at the least.
func wire(payload int) int {
	if payload <= 0 {
		return 0
	}
	return payload + recordHeader*((payload+maxRecord-1)/maxRecord)
}

// begins returns how long a message is that begins with head, at the least while head is short.
func begins(head []byte) (int, error) {
	if len(head) > 0 && head[0] != clientHelloType {
		return 0, NotClientHello
	}
	if len(head) > 1 && head[1] != 0 {
		return 0, TooLong
	}
	if len(head) < messageHeader {
		return messageHeader + shortest, nil
	}
	n := int(binary.BigEndian.Uint16(head[2:]))
	if n < shortest {
		return 0, BadMessage
	}
	return messageHeader + n, nil
}

// body returns the message without its headers, which follow found whole in b. It is part of b when it came in one record.
func (m message) body(b []byte) []byte {
	if m.records == 1 {
		return b[recordHeader+messageHeader:][:m.length]
	}
	whole := make([]byte, 0, messageHeader+m.length)
	for len(whole) < cap(whole) {
		n := int(binary.BigEndian.Uint16(b[3:]))
		b = b[recordHeader:]
		whole = append(whole, b[:min(n, len(b), cap(whole)-len(whole))]...)
		b = b[min(n, len(b)):]
	}
	return whole[messageHeader:]
}
