package message

import (
	"slices"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/isthmus-io/isthmus/bridge/event"
)

// Names of metadata that are not properties. Only Key can be set.
const (
	Device    = "device"
	Module    = "module"
	Partition = "partition"
	Sequence  = "sequence"
	Enqueued  = "enqueued" // RFC 3339
	Key       = "key"
)

func isComputed(name string) bool {
	switch name {
	case Device, Module, Partition, Sequence, Enqueued, Key:
		return true
	}
	return false
}

// isSystem tells whether a name can only be one of System: whatever a device calls a property, it is not taken for what the hub says.
func isSystem(name string) bool {
	switch name {
	case event.ContentType, event.ContentEncoding, event.MessageID, event.CorrelationID, event.UserID:
		return true
	}
	return strings.HasPrefix(name, "iothub-")
}

// New returns the event as a message. It shares the event's body.
func New(e *event.Event) *service.Message {
	m := service.NewMessage(e.Body)
	setMetadata(m, e)
	return m
}

// setMetadata shows the event's properties. What a device says comes first, so that it cannot say what the hub does.
func setMetadata(m *service.Message, e *event.Event) {
	for i := range e.Properties {
		m.MetaSetMut(e.Properties[i].Name, shown(e.Properties[i].Value))
	}
	for i := range e.System {
		m.MetaSetMut(e.System[i].Name, shown(e.System[i].Value))
	}
	for name, value := range computed(e) {
		if value == nil {
			m.MetaDelete(name)
		} else {
			m.MetaSetMut(name, value)
		}
	}
}

func computed(e *event.Event) func(yield func(string, any) bool) {
	text := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	return func(yield func(string, any) bool) {
		o := &e.Origin
		var sequence, enqueued any
		if o.Partition != "" {
			sequence = o.Sequence
		}
		if !o.Enqueued.IsZero() {
			enqueued = o.Enqueued.UTC().Format(time.RFC3339Nano)
		}
		_ = yield(Device, text(e.Device())) && yield(Module, text(event.Text(e.System, event.ModuleID))) && yield(Partition, text(o.Partition)) &&
			yield(Sequence, sequence) && yield(Enqueued, enqueued) && yield(Key, text(e.Key))
	}
}

// shown is a value as the language knows it. Bytes are copied, since expressions may change what they get.
func shown(v any) any {
	switch b := v.(type) {
	case []byte:
		return slices.Clone(b)
	case time.Time:
		return b.UTC().Format(time.RFC3339Nano)
	}
	return v
}

// Event returns what a message made by New from the event, or mapped from it, has become. Origin and Repeat are the event's; the event
// itself is not changed, and shares nothing with the new one that may be changed.
func Event(m *service.Message, from *event.Event) (*event.Event, error) {
	body, err := m.AsBytes()
	if err != nil {
		return nil, err
	}
	e := &event.Event{Origin: from.Origin, Repeat: from.Repeat, Body: body}
	e.Properties, e.System, e.Key = properties(m, from)
	return e, nil
}

// properties reads the metadata back: what is gone is gone, what changed is changed in its place, what is new comes last, by name.
func properties(m *service.Message, from *event.Event) (application, system []event.Property, key string) {
	keep := func(list []event.Property, hidden func(string) bool) []event.Property {
		out := make([]event.Property, 0, len(list))
		for _, p := range list {
			if hidden(p.Name) {
				out = append(out, p)
				continue
			}
			value, ok := m.MetaGetMut(p.Name)
			switch {
			case !ok:
			case same(value, p.Value):
				out = append(out, p)
			default:
				out = append(out, event.Property{Name: p.Name, Value: plain(value)})
			}
		}
		return out
	}
	covered := func(name string) bool {
		_, ok := event.Get(from.System, name)
		return ok || isComputed(name)
	}
	application = keep(from.Properties, covered)
	system = keep(from.System, isComputed)
	var added []event.Property
	_ = m.MetaWalkMut(func(name string, value any) error {
		if _, had := event.Get(from.Properties, name); !had && !covered(name) {
			added = append(added, event.Property{Name: name, Value: plain(value)})
		}
		return nil
	})
	slices.SortFunc(added, func(a, b event.Property) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range added {
		if isSystem(p.Name) {
			system = append(system, p)
		} else {
			application = append(application, p)
		}
	}
	key, _ = m.MetaGet(Key)
	return application, system, key
}
