package amqpdoor

import (
	"bytes"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
)

// letter is a message from a device.
type letter struct {
	body   []byte
	labels *hub.Labels
}

// letters reads messages of one link. Devices often send the same properties again: those of the message before are kept.
type letters struct {
	session *hub.Session
	head    [3][]byte // sections of the message before: annotations, properties, application properties
	labels  *hub.Labels
	size    int // of what labels hold
}

// keptHead is how long the sections may be that are kept for the next message.
const keptHead = 2 << 10

// systemNames are the properties of the hub's own that stand among annotations or application properties (IoT Hub: AMQP, device client).
var systemNames = map[string]bool{
	hub.OutputName: true, hub.Subject: true, hub.InterfaceID: true, hub.MessageSchema: true, hub.CreationTime: true, hub.DiagnosticID: true, hub.DiagnosticContext: true,
}

// read takes a message apart. size is what counts for hub.MaxMessage: the body, the application's properties, and the values of others.
func (r *letters) read(message []byte) (m letter, size int, err error) {
	s, err := amqp.Scan(message)
	if err != nil {
		return m, 0, unreadable(err)
	}
	if m.body, err = bodyOf(s); err != nil {
		return m, 0, err
	}
	head := [3][]byte{s.MessageAnnotations, s.Properties, s.ApplicationProperties}
	if r.labels == nil || !bytes.Equal(head[0], r.head[0]) || !bytes.Equal(head[1], r.head[1]) || !bytes.Equal(head[2], r.head[2]) {
		labels, size, err := r.label(s)
		if err != nil {
			return m, 0, err
		}
		m.labels = labels
		if len(head[0])+len(head[1])+len(head[2]) > keptHead {
			return m, len(m.body) + size, nil
		}
		for i := range head {
			r.head[i] = append(r.head[i][:0], head[i]...)
		}
		r.labels, r.size = labels, size
	}
	m.labels = r.labels
	return m, len(m.body) + r.size, nil
}

// bodyOf returns the body of a message: its data, or a value that is text or bytes.
func bodyOf(s amqp.Sections) (body []byte, err error) {
	switch s.Kind {
	case amqp.NoBody:
		return nil, nil
	case amqp.Data:
		parts := 0
		err := amqp.EachData(s.Body, func(data []byte) error {
			if parts++; parts == 1 {
				body = data
			} else {
				body = append(body[:len(body):len(body)], data...)
			}
			return nil
		})
		return body, err
	case amqp.Value:
		list, err := amqp.Unmarshal(s.Body)
		if err != nil {
			return nil, unreadable(err)
		}
		switch v := list.Value.(type) {
		case []byte:
			return v, nil
		case string:
			return []byte(v), nil
		}
	case amqp.Sequence:
	}
	return nil, fault.New("amqpdoor.read", fault.Invalid, "the body of the message is neither data nor text").Advise("send it as a data section")
}

// label makes the labels of a message; size is what of it counts.
func (r *letters) label(s amqp.Sections) (l *hub.Labels, size int, err error) {
	var m amqp.Message
	for _, section := range [][]byte{s.MessageAnnotations, s.Properties, s.ApplicationProperties} {
		if section == nil {
			continue
		}
		one, err := amqp.Unmarshal(section)
		if err != nil {
			return nil, 0, unreadable(err)
		}
		switch {
		case one.MessageAnnotations != nil:
			m.MessageAnnotations = one.MessageAnnotations
		case one.Properties != nil:
			m.Properties = one.Properties
		case one.ApplicationProperties != nil:
			m.ApplicationProperties = one.ApplicationProperties
		}
	}
	properties, system := amqptext.Properties(m.ApplicationProperties), systemOf(&m)
	for k, v := range properties {
		if systemNames[k] {
			delete(properties, k)
			if _, there := system[k]; !there {
				system[k] = v
			}
			continue
		}
		size += len(k) + len(v)
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, 0, unreadable(nil)
		}
	}
	for _, v := range system {
		size += len(v)
		if !utf8.ValidString(v) {
			return nil, 0, unreadable(nil)
		}
	}
	if len(properties) == 0 && len(system) == 0 {
		return r.session.Plain(), 0, nil
	}
	return r.session.Label(properties, system), size, nil
}

// systemOf returns the properties of a message that have a name of their own. SDKs send what looks like a UUID as one: here it is text.
func systemOf(m *amqp.Message) map[string]string {
	out := map[string]string{}
	set := func(name, value string) {
		if value != "" {
			out[name] = value
		}
	}
	if p := m.Properties; p != nil {
		set(hub.MessageID, amqptext.ID(p.MessageID))
		set(hub.CorrelationID, amqptext.ID(p.CorrelationID))
		set(hub.UserID, string(p.UserID))
		set(hub.To, p.To)
		set(hub.ContentType, string(p.ContentType))
		set(hub.ContentEncoding, string(p.ContentEncoding))
		for name, at := range map[string]amqp.Optional[amqp.Timestamp]{hub.AbsoluteExpiry: p.AbsoluteExpiryTime, hub.CreationTime: p.CreationTime} {
			if at.Set {
				out[name], _ = amqptext.Text(at.Value)
			}
		}
	}
	for _, a := range m.MessageAnnotations {
		name, _ := amqptext.Text(a.Key)
		if value, ok := amqptext.Text(a.Value); ok && systemNames[name] {
			out[name] = value
		}
	}
	return out
}

// unreadable is what one is told who sends what is no message.
func unreadable(err error) error {
	return code.With(fault.New("amqpdoor.read", fault.Invalid, "the message cannot be read").Because(err), code.FormatError)
}
