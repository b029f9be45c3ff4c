package amqp

// Header holds the transport headers of a message (3.2.1).
type Header struct {
	Durable       bool
	Priority      Optional[uint8]
	TTL           Optional[uint32] // milliseconds
	FirstAcquirer bool
	DeliveryCount uint32
}

// Properties are the immutable properties of a message (3.2.4). Empty text is absent text.
type Properties struct {
	MessageID          any // nil, uint64, UUID, []byte or string
	UserID             []byte
	To                 string
	Subject            string
	ReplyTo            string
	CorrelationID      any // as MessageID
	ContentType        Symbol
	ContentEncoding    Symbol
	AbsoluteExpiryTime Optional[Timestamp]
	CreationTime       Optional[Timestamp]
	GroupID            string
	GroupSequence      Optional[uint32]
	ReplyToGroupID     string
}

// Message is a message with its sections decoded (3.2). Data, Value (with HasValue) and Sequence exclude each other.
type Message struct {
	Header                *Header
	DeliveryAnnotations   Map
	MessageAnnotations    Map
	Properties            *Properties
	ApplicationProperties Map
	Data                  [][]byte // one of each data section
	Value                 any
	HasValue              bool // Value is the body, even when it is nil
	Sequence              []List
	Footer                Map
}
