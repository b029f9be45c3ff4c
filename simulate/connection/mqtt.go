package connection

import (
	"context"
	"io"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// mqttTalk is MQTT 3.1.1 as a client speaks it that only publishes.
type mqttTalk struct {
	c         *Conn
	keepAlive uint16 // seconds
}

// apiVersion is what a user name says; hubs look only whether it is there.
const apiVersion = "/?api-version=2021-04-12&DeviceClientType=isthmus-simulate"

// introduce says CONNECT and reads the answer, which comes before anything else.
func (t *mqttTalk) introduce(ctx context.Context, hello Hello) error {
	op, c := "connection.Open", t.c
	t.keepAlive = hello.KeepAlive
	connect := &mqtt.Connect{
		ClientID: hello.Device, CleanSession: true, KeepAlive: hello.KeepAlive, HasUserName: true, UserName: c.way.cfg.Host + "/" + hello.Device + apiVersion,
	}
	if hello.Token != "" {
		connect.HasPassword, connect.Password = true, []byte(hello.Token)
	}
	b, err := connect.Append(nil)
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err, "the device's id or token is too long")
	}
	if _, err := c.net.Write(b); err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "the connection broke before the hub answered")
	}
	var head [4]byte
	if _, err := io.ReadFull(c.net, head[:]); err != nil {
		if ctx.Err() != nil {
			return fault.Newf(op, fault.Timeout, "%s did not answer CONNECT in time", c.way.Target()).Because(err)
		}
		return fault.Wrap(op, fault.Unavailable, err, "the hub closed the connection without an answer")
	}
	p, err := mqtt.Decode(head[0], head[2:])
	ack, ok := p.(mqtt.Connack)
	if err != nil || head[1] != 2 || !ok {
		return fault.Newf(op, fault.Unavailable, "the hub answered CONNECT with %s, which is no answer", mqtt.TypeOf(head[0])).Because(err)
	}
	switch ack.Code {
	case mqtt.Accepted:
		return nil
	case mqtt.ServerUnavailable:
		return fault.Newf(op, fault.Unavailable, "the hub cannot serve the device now (CONNACK code %d)", ack.Code)
	}
	return fault.Newf(op, fault.Unauthenticated, "the hub refused the device with CONNACK code %d", ack.Code).
		Advise("the device is not in the registry, or the key, the clock or the way in is wrong: the hub's log says which")
}

func (t *mqttTalk) publish(b *buffers, m message) error {
	b.head = append(append(append(append(b.head[:0], "devices/"...), m.device...), "/messages/events/"...), m.bag...)
	packet, err := (&mqtt.Publish{Topic: b.head, Payload: m.body, ID: m.id, QoS: 1, Dup: m.dup}).Append(b.packet[:0])
	if err != nil {
		return fault.Wrap("connection.Publish", fault.TooLarge, err, "the message's properties are too long for a topic")
	}
	b.packet = packet
	return t.c.send(packet)
}

func (t *mqttTalk) ping() error {
	b, _ := mqtt.Bare(mqtt.PINGREQ).Append(nil) // two bytes always fit
	return t.c.send(b)
}

func (t *mqttTalk) beat() time.Duration { return time.Duration(t.keepAlive) * time.Second * 3 / 4 }

func (t *mqttTalk) renew(string) (bool, error) {
	return false, fault.New("connection.Renew", fault.Invalid, "MQTT takes a token with each connection only")
}

func (t *mqttTalk) leave() {
	b, _ := mqtt.Bare(mqtt.DISCONNECT).Append(nil) // two bytes always fit
	_ = t.c.send(b)                                // it may be gone already
}

func (t *mqttTalk) read() error { return t.packets() }

// packets reads what a hub sends to a client that only publishes: acknowledgements and answers to pings. Anything longer is passed
// over, so that 64 bytes are enough for a connection.
func (t *mqttTalk) packets() error {
	var buf [64]byte
	ear := (*ear)(t.c)
	have, skip := 0, 0
	for {
		n, err := ear.Read(buf[have:])
		if n == 0 && err != nil {
			return err
		}
		have += n
		at := 0
		for at < have {
			if skip > 0 {
				k := min(skip, have-at)
				skip -= k
				at += k
				continue
			}
			used, rest, err := t.packet(buf[at:have])
			if err != nil {
				return err
			}
			if used == 0 {
				break
			}
			at, skip = at+used, rest
		}
		have = copy(buf[:], buf[at:have])
	}
}

// packet takes one packet, or the head of one to be passed over; used is 0 when more bytes are needed.
func (t *mqttTalk) packet(b []byte) (used, skip int, err error) {
	length := 0
	for i := 1; ; i++ { // MQTT 2.2.3
		if i >= len(b) {
			return 0, 0, nil
		}
		length |= int(b[i]&127) << (7 * (i - 1))
		if b[i] < 128 {
			used = i + 1
			break
		}
		if i == 4 {
			return 0, 0, fault.New("connection.read", fault.Unavailable, "the hub sent what is no MQTT")
		}
	}
	if mqtt.TypeOf(b[0]) != mqtt.PUBACK {
		return used, length, nil
	}
	if length != 2 {
		return 0, 0, fault.New("connection.read", fault.Unavailable, "the hub sent an acknowledgement that is none")
	}
	if len(b) < used+2 {
		return 0, 0, nil
	}
	t.c.sink.Acknowledged(t.c, uint16(b[used])<<8|uint16(b[used+1]))
	return used + 2, 0, nil
}
