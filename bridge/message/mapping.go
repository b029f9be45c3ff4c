package message

import (
	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

// Mapping is compiled Bloblang that says what becomes of an event, as the processor of that name does.
type Mapping struct {
	run      *bloblang.Executor
	metadata bool
}

// CompileMapping reads a mapping. Invalid says where it is wrong.
func CompileMapping(text string) (*Mapping, error) {
	run, err := compile("message.CompileMapping", text)
	if err != nil {
		return nil, err
	}
	return &Mapping{run: run, metadata: looksAtMetadata(text)}, nil
}

// Apply returns what becomes of the event: nothing, one, or the elements of the array that the mapping assigned to root. The event is not
// changed. Origin.Index is not set.
func (x *Mapping) Apply(e *event.Event) (out []*event.Event, err error) {
	defer guard(&err)
	m := service.NewMessage(e.Body)
	if x.metadata {
		setMetadata(m, e)
	}
	res, err := m.BloblangQuery(x.run)
	if err != nil || res == nil {
		return nil, err
	}
	if !res.HasBytes() { // root was assigned something other than a text
		value, err := res.AsStructured()
		if err != nil {
			return nil, fault.New("message.Apply", fault.Invalid, "what the mapping gives cannot be read").Because(err)
		}
		if list, ok := value.([]any); ok {
			return x.several(res, e, list)
		}
	}
	one, err := x.event(res, e)
	if err != nil {
		return nil, err
	}
	return []*event.Event{one}, nil
}

func (x *Mapping) event(m *service.Message, from *event.Event) (*event.Event, error) {
	if x.metadata {
		return Event(m, from)
	}
	body, err := m.AsBytes()
	if err != nil {
		return nil, fault.New("message.Apply", fault.Invalid, "what the mapping gives cannot be written as JSON").Because(err)
	}
	e := *from
	e.Body = body
	return &e, nil
}

func (x *Mapping) several(m *service.Message, from *event.Event, list []any) ([]*event.Event, error) {
	out := make([]*event.Event, len(list))
	for i, value := range list {
		var e event.Event
		if x.metadata {
			e = event.Event{Origin: from.Origin, Repeat: from.Repeat}
			e.Properties, e.System, e.Key = properties(m, from)
		} else {
			e = *from
			e.Properties, e.System = append([]event.Property(nil), from.Properties...), append([]event.Property(nil), from.System...)
		}
		switch v := value.(type) {
		case string:
			e.Body = []byte(v)
		case []byte:
			e.Body = v
		default:
			one := service.NewMessage(nil)
			one.SetStructured(v)
			b, err := one.AsBytes()
			if err != nil {
				return nil, fault.New("message.Apply", fault.Invalid, "what the mapping gives cannot be written as JSON").Because(err)
			}
			e.Body = b
		}
		out[i] = &e
	}
	return out, nil
}
