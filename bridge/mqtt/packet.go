package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// Identifiers of properties (MQTT 5.0, 2.2.2.2) that the bridge writes or heeds.
const (
	propContentType     = 0x03
	propServerKeepAlive = 0x13
	propReason          = 0x1f
	propReceiveMaximum  = 0x21
	propMaximumQoS      = 0x24
	propRetainAvailable = 0x25
	propUser            = 0x26
	propMaximumPacket   = 0x27
)

// Reason codes (MQTT 5.0, 2.4).
const (
	codeMalformed       = 0x81
	codeProtocolError   = 0x82
	codeVersion         = 0x84
	codeClientID        = 0x85
	codeUserOrPassword  = 0x86
	codeNotAuthorized   = 0x87
	codeUnavailable     = 0x88
	codeBusy            = 0x89
	codeBanned          = 0x8a
	codeShuttingDown    = 0x8b
	codeAuthMethod      = 0x8c
	codeKeepAlive       = 0x8d
	codeTakenOver       = 0x8e
	codeTopicInvalid    = 0x90
	codeReceiveMaximum  = 0x93
	codePacketTooLarge  = 0x95
	codeRate            = 0x96
	codeQuota           = 0x97
	codePayloadInvalid  = 0x99
	codeRetain          = 0x9a
	codeQoS             = 0x9b
	codeAnotherServer   = 0x9c
	codeMoved           = 0x9d
	codeConnectionRate  = 0x9f
	lowestFailure       = 0x80
	maxRemainingPacket  = 64 << 10 // of what a broker may send: it has nothing to say but acknowledgements
	protocolLevelFive   = 5
	protocolLevelOld    = 4
	connectFlagClean    = 0x02
	connectFlagPassword = 0x40
	connectFlagUser     = 0x80
)

var errProtocol = errors.New("not what a broker says here")

// appendConnect5 writes CONNECT of MQTT 5 (3.1). An empty user is left out; a password needs a user, as before.
func appendConnect5(b []byte, id, user, password string, hasPassword bool, keepAlive uint16) []byte {
	flags, n := byte(connectFlagClean), 10+1+5+2+len(id)
	if user != "" {
		flags |= connectFlagUser
		n += 2 + len(user)
		if hasPassword {
			flags |= connectFlagPassword
			n += 2 + len(password)
		}
	}
	b = appendLength(append(b, byte(mqtt.CONNECT)<<4), n)
	b = append(appendText(b, "MQTT"), protocolLevelFive, flags, byte(keepAlive>>8), byte(keepAlive))
	b = binary.BigEndian.AppendUint32(append(b, 5, propMaximumPacket), maxRemainingPacket)
	b = appendText(b, id)
	if user != "" {
		b = appendText(b, user)
		if hasPassword {
			b = appendText(b, password)
		}
	}
	return b
}

// appendPublish5 writes PUBLISH of MQTT 5 (3.3) with quality of service 1. properties are written already.
func appendPublish5(b []byte, topic []byte, id uint16, retain bool, properties, body []byte) []byte {
	first := byte(mqtt.PUBLISH)<<4 | 1<<1
	if retain {
		first |= 1
	}
	b = appendLength(append(b, first), publishLength(len(topic), len(properties), len(body)))
	b = append(appendText(b, topic), byte(id>>8), byte(id))
	b = append(appendLength(b, len(properties)), properties...)
	return append(b, body...)
}

// publishLength is the remaining length of a PUBLISH of MQTT 5.
func publishLength(topic, properties, body int) int {
	return 2 + topic + 2 + lengthOf(properties) + properties + body
}

// appendLength writes a variable byte integer (1.5.5).
func appendLength(b []byte, n int) []byte {
	for n >= 128 {
		b = append(b, byte(n)|128)
		n >>= 7
	}
	return append(b, byte(n))
}

func lengthOf(n int) int {
	size := 1
	for ; n >= 128; n >>= 7 {
		size++
	}
	return size
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(append(b, byte(len(s)>>8), byte(len(s))), s...)
}

// clean makes of a text what MQTT allows (1.5.4): well-formed, without control characters and non-characters.
func clean(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return strings.Map(func(r rune) rune {
				if unicode.IsControl(r) || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef {
					return utf8.RuneError
				}
				return r
			}, strings.ToValidUTF8(s, "\uFFFD"))
		}
	}
	return s
}

// reply is what a broker says: CONNACK, PUBACK or DISCONNECT, with those of its properties that matter.
type reply struct {
	kind    mqtt.Type
	id      uint16 // of PUBACK
	code    byte
	reason  string
	present bool // a session, in CONNACK

	window    int // Receive Maximum; 65535 when not said
	packet    int // Maximum Packet Size; 0 when not said
	keepAlive int // Server Keep Alive; -1 when not said
	noQoS     bool
	noRetain  bool
}

// readReply reads a packet of a broker that speaks MQTT 5. Packets that say nothing of interest give their type.
func readReply(first byte, body []byte) (reply, error) {
	r := reply{kind: mqtt.TypeOf(first), window: 65535, keepAlive: -1}
	bad := func() (reply, error) { return r, fmt.Errorf("%w: %s of %d bytes", errProtocol, r.kind, len(body)) }
	if first&15 != 0 {
		return bad()
	}
	switch r.kind {
	case mqtt.CONNACK:
		if len(body) < 2 {
			return bad()
		}
		r.present, r.code, body = body[0]&1 != 0, body[1], body[2:]
	case mqtt.PUBACK:
		if len(body) < 2 {
			return bad()
		}
		r.id, body = binary.BigEndian.Uint16(body), body[2:]
		if len(body) > 0 {
			r.code, body = body[0], body[1:]
		}
	case mqtt.DISCONNECT:
		if len(body) > 0 {
			r.code, body = body[0], body[1:]
		}
	case mqtt.PINGRESP:
		if len(body) > 0 {
			return bad()
		}
		return r, nil
	default:
		return bad()
	}
	if len(body) == 0 { // a broker of 3.1.1 answers CONNECT so, too
		return r, nil
	}
	n, used := binary.Uvarint(body)
	if used <= 0 || used > 4 || n != uint64(len(body)-used) {
		return bad()
	}
	if !r.properties(body[used:]) {
		return bad()
	}
	return r, nil
}

// properties reads all properties, and tells whether they are well-formed.
func (r *reply) properties(b []byte) bool {
	for len(b) > 0 {
		id := b[0]
		b = b[1:]
		size := sizeOf(id, b)
		if size < 0 || size > len(b) {
			return false
		}
		v := b[:size]
		b = b[size:]
		switch id {
		case propReason:
			r.reason = clean(string(v[2:]))
		case propServerKeepAlive:
			r.keepAlive = int(binary.BigEndian.Uint16(v))
		case propReceiveMaximum:
			if r.window = int(binary.BigEndian.Uint16(v)); r.window == 0 {
				return false
			}
		case propMaximumQoS:
			r.noQoS = v[0] == 0
		case propRetainAvailable:
			r.noRetain = v[0] == 0
		case propMaximumPacket:
			n := binary.BigEndian.Uint32(v)
			if n == 0 {
				return false
			}
			r.packet = int(min(n, mqtt.MaxRemaining))
		}
	}
	return true
}

// sizeOf is how long the value of a property is (2.2.2.2), -1 for one that is not known.
func sizeOf(id byte, b []byte) int {
	text := func(b []byte) int {
		if len(b) < 2 {
			return -1
		}
		return 2 + int(binary.BigEndian.Uint16(b))
	}
	switch id {
	case 0x01, 0x17, 0x19, propMaximumQoS, propRetainAvailable, 0x28, 0x29, 0x2a:
		return 1
	case propServerKeepAlive, propReceiveMaximum, 0x22, 0x23:
		return 2
	case 0x02, 0x11, 0x18, propMaximumPacket:
		return 4
	case propContentType, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1a, 0x1c, propReason:
		return text(b)
	case propUser:
		n := text(b)
		if n < 0 || n > len(b) {
			return -1
		}
		m := text(b[n:])
		if m < 0 {
			return -1
		}
		return n + m
	}
	return -1
}
