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

// Append writes the header as a section.
func (h *Header) Append(dst []byte) []byte {
	c := compose(dst, codeHeader)
	c.flag(h.Durable)
	c.maybeUbyte(h.Priority)
	c.maybeUint(h.TTL)
	c.flag(h.FirstAcquirer)
	c.uintUnless(h.DeliveryCount, 0)
	return c.close()
}

// Decode reads a header section.
func (h *Header) Decode(section []byte) error {
	f, err := openNested(section, codeHeader)
	if err != nil {
		return err
	}
	h.Durable = f.flag()
	h.Priority = f.ubyte()
	h.TTL = f.uint()
	h.FirstAcquirer = f.flag()
	h.DeliveryCount = f.uint().Value
	return f.done()
}

// Append writes the properties as a section. A message or correlation id of a type the standard has none for is left out.
func (p *Properties) Append(dst []byte) []byte {
	c := compose(dst, codeProperties)
	c.id(p.MessageID)
	c.binary(p.UserID, p.UserID != nil)
	c.maybeString(p.To)
	c.maybeString(p.Subject)
	c.maybeString(p.ReplyTo)
	c.id(p.CorrelationID)
	c.maybeSymbol(p.ContentType)
	c.maybeSymbol(p.ContentEncoding)
	c.maybeTime(p.AbsoluteExpiryTime)
	c.maybeTime(p.CreationTime)
	c.maybeString(p.GroupID)
	c.maybeUint(p.GroupSequence)
	c.maybeString(p.ReplyToGroupID)
	return c.close()
}

// Decode reads a properties section.
func (p *Properties) Decode(section []byte) error {
	f, err := openNested(section, codeProperties)
	if err != nil {
		return err
	}
	p.MessageID = f.id()
	p.UserID = f.bytes()
	p.To = f.text()
	p.Subject = f.text()
	p.ReplyTo = f.text()
	p.CorrelationID = f.id()
	p.ContentType = f.symbol().Value
	p.ContentEncoding = f.symbol().Value
	p.AbsoluteExpiryTime = f.timestamp()
	p.CreationTime = f.timestamp()
	p.GroupID = f.text()
	p.GroupSequence = f.uint()
	p.ReplyToGroupID = f.text()
	return f.done()
}

// isID tells the types of message ids (3.2.11 to 3.2.14).
func isID(v any) bool {
	switch v.(type) {
	case uint64, UUID, []byte, string:
		return true
	}
	return false
}

func (c *composite) id(v any) {
	if c.add(isID(v)) {
		c.value(v)
	}
}

func (f *fields) id() any {
	v := f.any()
	if v != nil && !isID(v) {
		f.fail("a message id is wanted, not a Go %T", v)
		return nil
	}
	return v
}
