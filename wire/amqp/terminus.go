package amqp

// Source is where a link's messages come from (3.5.3).
type Source struct {
	Address               any // mostly a string
	Durable               uint32
	ExpiryPolicy          Symbol // empty: absent, session-end
	Timeout               uint32 // seconds
	Dynamic               bool
	DynamicNodeProperties Map
	DistributionMode      Symbol
	Filter                Map
	DefaultOutcome        any // a Described when read; a State or a Described when written
	Outcomes              []Symbol
	Capabilities          []Symbol
}

// Target is where a link's messages go to (3.5.4).
type Target struct {
	Address               any // mostly a string
	Durable               uint32
	ExpiryPolicy          Symbol // empty: absent, session-end
	Timeout               uint32 // seconds
	Dynamic               bool
	DynamicNodeProperties Map
	Capabilities          []Symbol
}
