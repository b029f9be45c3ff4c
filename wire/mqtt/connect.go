package mqtt

import (
	"fmt"
	"time"
)

const (
	protocolName  = "MQTT"
	protocolLevel = 4
)

// Connect asks for a session (MQTT 3.1).
type Connect struct {
	ClientID     string
	CleanSession bool
	KeepAlive    uint16 // seconds; 0 turns the client's promise off
	Will         *Will  // nil for none
	HasUserName  bool
	UserName     string
	HasPassword  bool
	Password     []byte // needs a user name (MQTT-3.1.2-22)
}

// Will is published by the server when the connection ends without DISCONNECT (MQTT 3.1.2.5).
type Will struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
}

// Type returns CONNECT.
func (*Connect) Type() Type { return CONNECT }

// Silence is how long the client may say nothing (MQTT-3.1.2-24): one and a half keep-alive times, longest at most and without a promise.
func (c *Connect) Silence(longest time.Duration) time.Duration {
	if d := time.Duration(c.KeepAlive) * 1500 * time.Millisecond; d > 0 && d < longest {
		return d
	}
	return longest
}

const (
	flagClean    = 0x02
	flagWill     = 0x04
	flagRetain   = 0x20
	flagPassword = 0x40
	flagUserName = 0x80
)

func decodeConnect(body []byte) (*Connect, error) {
	f := fields{rest: body}
	name, level := f.text("the protocol name"), f.byte("the protocol level")
	if f.err != nil {
		return nil, f.err
	}
	if string(name) != protocolName || level != protocolLevel {
		return nil, fmt.Errorf("%w: protocol %q level %d", ErrVersion, name, level)
	}
	flags := f.byte("the connect flags")
	c := &Connect{
		CleanSession: flags&flagClean != 0, HasUserName: flags&flagUserName != 0, HasPassword: flags&flagPassword != 0,
		KeepAlive: f.uint16("the keep alive"),
	}
	willQoS := flags >> 3 & 3
	switch {
	case f.err != nil:
	case flags&1 != 0:
		f.fail("3.1.2-3", "reserved connect flag set")
	case flags&flagWill == 0 && (willQoS != 0 || flags&flagRetain != 0):
		f.fail("3.1.2-13", "will flags without a will")
	case willQoS == 3:
		f.fail("3.1.2-14", "will QoS 3")
	case c.HasPassword && !c.HasUserName:
		f.fail("3.1.2-22", "a password without a user name")
	}
	c.ClientID = string(f.text("the client identifier"))
	if flags&flagWill != 0 {
		c.Will = &Will{Topic: string(f.text("the will topic")), Payload: f.binary("the will message"), QoS: willQoS, Retain: flags&flagRetain != 0}
	}
	if c.HasUserName {
		c.UserName = string(f.text("the user name"))
	}
	if c.HasPassword {
		c.Password = f.binary("the password")
	}
	if err := f.end(); err != nil {
		return nil, err
	}
	return c, nil
}

// Append implements [Packet].
func (c *Connect) Append(dst []byte) ([]byte, error) {
	var flags byte
	n := 2 + len(protocolName) + 4 + 2 + len(c.ClientID)
	err := checkLength("client identifier", len(c.ClientID))
	if c.CleanSession {
		flags |= flagClean
	}
	if w := c.Will; w != nil {
		flags |= flagWill | w.QoS&3<<3
		if w.Retain {
			flags |= flagRetain
		}
		n += 4 + len(w.Topic) + len(w.Payload)
		err = firstOf(err, checkLength("will topic", len(w.Topic)), checkLength("will message", len(w.Payload)))
	}
	if c.HasUserName {
		flags |= flagUserName
		n += 2 + len(c.UserName)
		err = firstOf(err, checkLength("user name", len(c.UserName)))
	}
	if c.HasPassword {
		flags |= flagPassword
		n += 2 + len(c.Password)
		err = firstOf(err, checkLength("password", len(c.Password)))
	}
	if err != nil {
		return dst, err
	}
	dst, err = appendHeader(dst, byte(CONNECT)<<4, n)
	if err != nil {
		return dst, err
	}
	dst = append(appendText(dst, protocolName), protocolLevel, flags, byte(c.KeepAlive>>8), byte(c.KeepAlive))
	dst = appendText(dst, c.ClientID)
	if w := c.Will; w != nil {
		dst = appendText(appendText(dst, w.Topic), w.Payload)
	}
	if c.HasUserName {
		dst = appendText(dst, c.UserName)
	}
	if c.HasPassword {
		dst = appendText(dst, c.Password)
	}
	return dst, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ReturnCode answers a CONNECT (MQTT 3.2.2.3).
type ReturnCode byte

const (
	Accepted            ReturnCode = 0
	UnacceptableVersion ReturnCode = 1
	IdentifierRejected  ReturnCode = 2
	ServerUnavailable   ReturnCode = 3
	BadUserOrPassword   ReturnCode = 4
	NotAuthorized       ReturnCode = 5
)

// Connack is the answer to CONNECT (MQTT 3.2).
type Connack struct {
	SessionPresent bool
	Code           ReturnCode
}

// Type returns CONNACK.
func (Connack) Type() Type { return CONNACK }

func decodeConnack(body []byte) (Packet, error) {
	switch {
	case len(body) != 2:
		return nil, malformed("3.2.1", "CONNACK is not two bytes long")
	case body[0] > 1:
		return nil, malformed("3.2.2.1", "reserved acknowledge flags set")
	case body[1] > 5:
		return nil, malformed("3.2.2.3", "reserved return code")
	case body[0] == 1 && body[1] != 0:
		return nil, malformed("3.2.2-4", "session present in a refusal")
	}
	return Connack{SessionPresent: body[0] == 1, Code: ReturnCode(body[1])}, nil
}

// Append implements [Packet].
func (c Connack) Append(dst []byte) ([]byte, error) {
	var present byte
	if c.SessionPresent {
		present = 1
	}
	return append(dst, byte(CONNACK)<<4, 2, present, byte(c.Code)), nil
}
