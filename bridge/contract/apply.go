package contract

import (
	"errors"
	"strings"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/message"
	"github.com/isthmus-io/isthmus/fault"
)

// Apply changes the event into what may cross. Invalid says what of the contract it breaks, TooLarge that it is too large; the event is
// then as it was. Body, Properties and System are the event's own afterwards, except for the body of a type with wholeBody.
func (x *Enforcer) Apply(e *event.Event) error {
	m, err := x.fitting(e)
	if err != nil {
		return err
	}
	s := x.scratch.Get().(*scratch) //nolint:forcetypeassert // nothing else is in it
	defer x.scratch.Put(s)
	defer s.end()
	out := event.Event{Origin: e.Origin, Repeat: e.Repeat}
	switch {
	case m.whole:
		out.Body = e.Body
	case m.root != nil:
		if out.Body, err = s.body(m, e.Body); err != nil {
			return breaks(m.name, err)
		}
	case m.strict && len(e.Body) > 0:
		return breaks(m.name, broken("the message has a body, of which nothing is listed"))
	}
	if out.Properties, err = m.properties.apply(s, e.Properties, m.strict); err != nil {
		return breaks(m.properties.what, err)
	}
	if out.System, err = m.system.apply(s, e.System, false); err != nil {
		return breaks(m.system.what, err)
	}
	out.Key = m.keyOf(s, e)
	if out.Origin.Name != "" {
		kind, _, _ := strings.Cut(out.Origin.Name, "/")
		if kind != "window" {
			kind = "row"
		}
		out.Origin.Name = kind + "/" + s.hashText(out.Origin.Name)[:32]
	}
	if limit := x.largest; limit > 0 && int64(out.Size()) > limit {
		return fault.Newf("contract.Apply", fault.TooLarge, "%s: what would cross has %d bytes, and %d are agreed", m.name, out.Size(), limit)
	}
	*e = out
	return nil
}

// fitting returns the first type of message that the event is of.
func (x *Enforcer) fitting(e *event.Event) (*messageType, error) {
	var view *message.View
	for _, m := range x.messages {
		if m.when == nil {
			return m, nil
		}
		if view == nil {
			view = message.Look(e)
		}
		fits, err := view.Bool(m.when)
		if err != nil { // whose words may hold values of the event
			return nil, breaks(m.name, broken("its condition cannot be evaluated for the message"))
		}
		if fits {
			return m, nil
		}
	}
	return nil, fault.New("contract.Apply", fault.Invalid, x.name+": the message is of none of the types that may cross")
}

// keyOf returns the partition key that crosses.
func (m *messageType) keyOf(s *scratch, e *event.Event) string {
	device := event.Text(e.System, event.DeviceID)
	key := e.Key
	if key == "" {
		key = device
	}
	switch {
	case key == "" || m.key == plain && e.Key != "" || m.device == plain && key == device:
		return key
	}
	return s.hashText(key)
}

// breaks says what of the contract an event breaks. what is where, with a space or without one at its end.
func breaks(what string, err error) error {
	var b broken
	if !errors.As(err, &b) {
		b = "the message cannot be read"
	}
	between := ": "
	if strings.HasSuffix(what, " ") {
		between = ""
	}
	kind := fault.Invalid
	if b == tooLong {
		kind = fault.TooLarge
	}
	return fault.New("contract.Apply", kind, what+between+string(b))
}
