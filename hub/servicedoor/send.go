package servicedoor

import (
	"bytes"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/wire/amqp/inturn"
)

// ackProperty says which feedback the sender wants.
const ackProperty = "iothub-ack"

// maxMessage is what is read of a message, so that one which is too large is rejected and not the link; hub.MaxCommand is what may be in it.
const maxMessage = 4 * hub.MaxCommand

// send takes a link on which the peer sends messages to devices.
func (v *Conversation) send(l *engine.Link, line *inturn.Line) {
	l.Accept(engine.Accept{Credit: v.door.cfg.Waiting, MaxMessage: maxMessage, Receive: func(d *engine.Delivery) {
		v.busy.Add(1)
		line.Do(func() { v.queue(d) })
	}})
}

// queue puts a message into its device's queue. It is settled when that is durable; the next one need not wait for it.
func (v *Conversation) queue(d *engine.Delivery) {
	n, c, err := read(d)
	if err == nil && v.amqp.Context().Err() != nil {
		err = fault.New("servicedoor.send", fault.Unavailable, "the connection ended")
	}
	done := func(_ hub.Command, err error) {
		defer v.busy.Done()
		if err == nil {
			d.Accept()
			return
		}
		if k := fault.KindOf(err); v.amqp.Context().Err() == nil && (k == fault.Internal || k == fault.Unavailable || k == fault.Timeout) { // whoever asked is there
			v.door.log.Error("hub: request failed", "door", "amqp", "hub", v.hub.Name(), "device", n.String(), "err", err)
		}
		d.Reject(v.says(n.String(), err))
	}
	if err != nil {
		done(hub.Command{}, err)
		return
	}
	v.hub.SubmitCommand(v.amqp.Context(), n, c, done)
}

// read makes a message to a device of what came. Its parts are good until the delivery is settled.
func read(d *engine.Delivery) (hub.Name, hub.Command, error) {
	op := "servicedoor.read"
	if d.Format() != 0 {
		return hub.Name{}, hub.Command{}, fault.Newf(op, fault.Invalid, "the message has format %#x", d.Format()).Advise("send messages to devices one by one, with format 0")
	}
	m, err := amqp.Unmarshal(d.Message())
	if err != nil {
		return hub.Name{}, hub.Command{}, fault.Newf(op, fault.Invalid, "the message cannot be read: %v", err).Because(err)
	}
	p := m.Properties
	if p == nil {
		p = &amqp.Properties{}
	}
	n, err := recipient(p.To)
	if err != nil {
		return n, hub.Command{}, err
	}
	c := hub.Command{
		MessageID: amqptext.ID(p.MessageID), CorrelationID: amqptext.ID(p.CorrelationID), UserID: userID(p.UserID), To: p.To,
		ContentType: string(p.ContentType), ContentEncoding: string(p.ContentEncoding), Properties: amqptext.Properties(m.ApplicationProperties),
	}
	if p.AbsoluteExpiryTime.Set {
		c.Expires = amqptext.Time(p.AbsoluteExpiryTime.Value)
	}
	c.Ack = c.Properties[ackProperty]
	delete(c.Properties, ackProperty)
	c.Body, err = body(m)
	return n, c, err
}

// recipient reads /devices/{device}[/modules/{module}]/messages/devicebound; ids are percent-encoded.
func recipient(to string) (hub.Name, error) {
	s := strings.Split(amqptext.Path(to), "/")
	var n hub.Name
	var err, err2 error
	switch {
	case len(s) == 4 && strings.EqualFold(s[0]+"/"+s[2]+"/"+s[3], "devices/"+deviceBound):
		n.Device, err = url.PathUnescape(s[1])
	case len(s) == 6 && strings.EqualFold(s[0]+"/"+s[2]+"/"+s[4]+"/"+s[5], "devices/modules/"+deviceBound):
		n.Device, err = url.PathUnescape(s[1])
		n.Module, err2 = url.PathUnescape(s[3])
	}
	if err != nil || err2 != nil || n.Device == "" || len(s) == 6 && n.Module == "" {
		return hub.Name{}, code.With(fault.Newf("servicedoor.recipient", fault.Invalid, "the message is to %.200q, which is no device", to).
			Advise("it reads /devices/{device id}/messages/devicebound"), code.ArgumentInvalid)
	}
	return n, nil
}

// userID is binary in AMQP and text everywhere else.
func userID(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	text, _ := amqptext.Text(b)
	return text
}

// body is what a device gets: data, or a value that is text or binary.
func body(m *amqp.Message) ([]byte, error) {
	switch v := m.Value.(type) {
	case nil:
		if len(m.Sequence) == 0 {
			return bytes.Join(m.Data, nil), nil
		}
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	}
	return nil, fault.New("servicedoor.body", fault.Invalid, "the body of the message is neither data nor text").Advise("send it as one data section")
}
