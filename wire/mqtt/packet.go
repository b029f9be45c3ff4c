package mqtt

import (
	"errors"
	"fmt"
)

// Type is the control packet type, the high four bits of a packet's first byte (MQTT 2.2.1).
type Type uint8

const (
	CONNECT     Type = 1
	CONNACK     Type = 2
	PUBLISH     Type = 3
	PUBACK      Type = 4
	PUBREC      Type = 5
	PUBREL      Type = 6
	PUBCOMP     Type = 7
	SUBSCRIBE   Type = 8
	SUBACK      Type = 9
	UNSUBSCRIBE Type = 10
	UNSUBACK    Type = 11
	PINGREQ     Type = 12
	PINGRESP    Type = 13
	DISCONNECT  Type = 14
)

var typeNames = [16]string{
	"reserved 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "reserved 15",
}

// String returns the name the standard uses.
func (t Type) String() string { return typeNames[t&15] }

// TypeOf returns the type in a packet's first byte.
func TypeOf(first byte) Type { return Type(first >> 4) }

// MaxRemaining is the largest remaining length four bytes can say (MQTT 2.2.3), 256 MiB less one.
const MaxRemaining = 268_435_455

var (
	// ErrMalformed is in the chain of every error about bytes that are no MQTT 3.1.1 packet.
	ErrMalformed = errors.New("malformed MQTT packet")
	// ErrTooLarge is in the chain when a packet is longer than the reader's limit or than the standard allows.
	ErrTooLarge = errors.New("MQTT packet too large")
	// ErrVersion is returned for a CONNECT of another protocol version; answer with [UnacceptableVersion] (MQTT-3.1.2-2).
	ErrVersion = errors.New("not MQTT 3.1.1")
)

func malformed(clause, what string) error {
	return fmt.Errorf("%w: %s (MQTT %s)", ErrMalformed, what, clause)
}

// Packet is any control packet.
type Packet interface {
	Type() Type
	// Append writes the whole packet after dst. It fails only when a field is longer than its length prefix can say.
	Append(dst []byte) ([]byte, error)
}

// Decode reads the packet with this first byte; body is exactly its remaining length.
func Decode(first byte, body []byte) (Packet, error) {
	t := TypeOf(first)
	// MQTT-2.2.2-1: the flags of every type but PUBLISH are fixed.
	want := byte(0)
	if t == PUBREL || t == SUBSCRIBE || t == UNSUBSCRIBE {
		want = 2
	}
	if t != PUBLISH && first&15 != want {
		return nil, malformed("2.2.2-2", t.String()+" with reserved flags set")
	}
	switch t {
	case CONNECT:
		return decodeConnect(body)
	case CONNACK:
		return decodeConnack(body)
	case PUBLISH:
		p := &Publish{}
		return p, DecodePublish(first, body, p)
	case PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK:
		if len(body) != 2 {
			return nil, malformed("3.4", t.String()+" is not two bytes long")
		}
		return Ack{Of: t, ID: be16(body)}, nil
	case SUBSCRIBE:
		return decodeSubscribe(body)
	case SUBACK:
		return decodeSuback(body)
	case UNSUBSCRIBE:
		return decodeUnsubscribe(body)
	case PINGREQ, PINGRESP, DISCONNECT:
		if len(body) != 0 {
			return nil, malformed("3.12", t.String()+" with a body")
		}
		return Bare(t), nil
	}
	return nil, malformed("2.2.1", "packet type "+t.String())
}

// Ack is a packet that holds a packet identifier and nothing else: PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK.
type Ack struct {
	Of Type
	ID uint16
}

// Type returns which of them it is.
func (a Ack) Type() Type { return a.Of }

// Append implements [Packet].
func (a Ack) Append(dst []byte) ([]byte, error) {
	first := byte(a.Of) << 4
	if a.Of == PUBREL {
		first |= 2
	}
	return append(dst, first, 2, byte(a.ID>>8), byte(a.ID)), nil
}

// Bare is a packet of two bytes: PINGREQ, PINGRESP or DISCONNECT.
type Bare Type

// Type returns which of them it is.
func (b Bare) Type() Type { return Type(b) }

// Append implements [Packet].
func (b Bare) Append(dst []byte) ([]byte, error) { return append(dst, byte(b)<<4, 0), nil }

func be16(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

// appendHeader writes the first byte and the remaining length.
func appendHeader(dst []byte, first byte, remaining int) ([]byte, error) {
	if remaining > MaxRemaining {
		return dst, fmt.Errorf("%w: %d bytes", ErrTooLarge, remaining)
	}
	dst = append(dst, first)
	for remaining >= 128 {
		dst = append(dst, byte(remaining)|128)
		remaining >>= 7
	}
	return append(dst, byte(remaining)), nil
}
