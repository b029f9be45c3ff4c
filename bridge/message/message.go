package message

import (
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/isthmus-io/isthmus/bridge/event"
)

// New returns the event as a message. It shares the event's body.
func New(e *event.Event) *service.Message { return service.NewMessage(e.Body) }

// Event returns what a message made by New, or mapped from one, has become. Its origin is that of the event.
func Event(m *service.Message) (*event.Event, error) {
	b, err := m.AsBytes()
	return &event.Event{Body: b}, err
}
