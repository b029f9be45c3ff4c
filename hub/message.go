package hub

import (
	"maps"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/limit"
)

// MaxMessage is the largest message from a device, body and properties together, in bytes (IoT Hub: quotas, device-to-cloud).
const MaxMessage = 256 << 10

// Names of system properties, as consumers of events read them (IoT Hub: read device-to-cloud messages).
const (
	MessageID         = "message-id"
	CorrelationID     = "correlation-id"
	UserID            = "user-id"
	To                = "to"
	ContentType       = "content-type"
	ContentEncoding   = "content-encoding"
	AbsoluteExpiry    = "absolute-expiry-time"
	CreationTime      = "iothub-creation-time-utc"
	OutputName        = "iothub-outputname"
	Subject           = "dt-subject"
	InterfaceID       = "iothub-interface-id"
	MessageSchema     = "iothub-message-schema"
	DiagnosticID      = "Diagnostic-Id"
	DiagnosticContext = "Correlation-Context"

	stampDevice     = "iothub-connection-device-id"
	stampModule     = "iothub-connection-module-id"
	stampMethod     = "iothub-connection-auth-method"
	stampGeneration = "iothub-connection-auth-generation-id"
	stampSource     = "iothub-message-source"
	stampModel      = "dt-dataschema" // the model the device said it is of when it connected
)

func stamps(id Identity) map[string]string {
	s := map[string]string{stampDevice: id.Device, stampMethod: id.Method, stampGeneration: id.Generation, stampSource: "Telemetry"}
	if id.Module != "" {
		s[stampModule] = id.Module
	}
	return s
}

// Labels are the properties of messages, with the hub's own stamps. They are made once and may go with any number of messages of one
// session; nobody changes them.
type Labels struct{ properties, system map[string]string }

// Label makes labels from the application's properties and the system properties the device sent. It takes both maps over. What a
// device sends under the name of a stamp is lost.
func (s *Session) Label(properties, system map[string]string) *Labels {
	return label(s.stamps, properties, system)
}

func label(stamps, properties, system map[string]string) *Labels {
	if len(system) == 0 {
		return &Labels{properties, stamps}
	}
	maps.Copy(system, stamps)
	return &Labels{properties, system}
}

// Plain returns the labels of a message without properties.
func (s *Session) Plain() *Labels { return s.plain }

// Acknowledged notes a message that became durable, for statistics: whoever submitted it says so.
func (h *Hub) Acknowledged(bytes int) {
	h.messages.Add(1)
	h.bytes.Add(int64(bytes))
}

// Message is one of SubmitAll.
type Message struct {
	Body       []byte
	Properties map[string]string // the application's; may be nil
	System     map[string]string // those the device sent; may be nil
}

// size is the body, the application's properties and the values of the others (IoT Hub: device-to-cloud message format).
func (m Message) size() int {
	n := len(m.Body)
	for key, value := range m.Properties {
		n += len(key) + len(value)
	}
	for _, value := range m.System {
		n += len(value)
	}
	return n
}

// SubmitAll sends messages of a device that has no session and waits until all are durable. TooLarge when they are more than MaxMessage
// together, and Exhausted with code 429001 when the device sent more than it may; then none is stored. After any other error some may be.
func (h *Hub) SubmitAll(id Identity, messages []Message) error {
	size := 0
	for _, m := range messages {
		size += m.size()
	}
	if size > MaxMessage {
		return fault.Newf("hub.SubmitAll", fault.TooLarge, "the request holds %d bytes of messages, %d are allowed", size, MaxMessage)
	}
	cost := 0
	for _, m := range messages {
		cost += meter(len(m.Body))
	}
	if _, err := h.Admit(limit.Messages, id.Name(), cost); err != nil {
		return err
	}
	own := stamps(id)
	answers := make(chan error, len(messages))
	for _, m := range messages {
		l := label(own, m.Properties, m.System)
		h.send(DeviceMessages, id.Name(), m.Body, l, func(_ eventlog.Position, err error) { answers <- err })
	}
	var first error
	for _, m := range messages {
		err := <-answers
		if err == nil {
			h.Acknowledged(len(m.Body))
		} else if first == nil {
			first = err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.seen[id.Name()]
	last.Activity, last.Connected = h.server.clock.Now(), h.sessions[id.Name()] != nil
	h.seen[id.Name()] = last
	return first
}
