package amqp

// BodyKind is what the body of a message is made of (3.2.5).
type BodyKind uint8

// The kinds of bodies.
const (
	NoBody   BodyKind = iota // as some clients send requests, though the standard wants a body
	Data                     // one or more data sections
	Value                    // one amqp-value section
	Sequence                 // one or more amqp-sequence sections
)

// Sections are ranges of a message, each with its descriptor; nil where a section is absent.
type Sections struct {
	Header, DeliveryAnnotations, MessageAnnotations, Properties, ApplicationProperties, Body, Footer []byte

	Kind BodyKind
}
