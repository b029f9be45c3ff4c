package amqp

// Performative is the body of a frame (2.7, 5.3.3): *Open, *Begin, *Attach, *Flow, *Transfer, *Disposition, *Detach, *End, *Close,
// *SASLMechanisms, *SASLInit, *SASLChallenge, *SASLResponse, *SASLOutcome.
type Performative interface {
	// Descriptor is the numeric one.
	Descriptor() uint64
	// Append writes the performative with its descriptor and without a frame's header. A value in a map whose Go type is none of
	// AMQP is written as null, and text that is not UTF-8 with replacement characters.
	Append(dst []byte) []byte

	decode(f *fields)
}

// Role is the side of a link (2.8.1).
type Role bool

// The two sides of a link.
const (
	RoleSender   Role = false
	RoleReceiver Role = true
)

// String returns "sender" or "receiver".
func (r Role) String() string {
	if r == RoleReceiver {
		return "receiver"
	}
	return "sender"
}

// Settle modes of links (2.8.2, 2.8.3).
const (
	SenderUnsettled uint8 = 0
	SenderSettled   uint8 = 1
	SenderMixed     uint8 = 2 // when absent
	ReceiverFirst   uint8 = 0 // when absent
	ReceiverSecond  uint8 = 1
)

// MinMaxFrame is the frame size in bytes that every peer must accept, and the largest before open (2.8.19).
const MinMaxFrame = 512

// Open negotiates a connection (2.7.1).
type Open struct {
	ContainerID         string
	Hostname            string           // empty: absent
	MaxFrameSize        Optional[uint32] // bytes
	ChannelMax          Optional[uint16] // highest number
	IdleTimeout         Optional[uint32] // milliseconds
	OutgoingLocales     []Symbol
	IncomingLocales     []Symbol
	OfferedCapabilities []Symbol
	DesiredCapabilities []Symbol
	Properties          Map
}

// Begin starts a session (2.7.2).
type Begin struct {
	RemoteChannel       Optional[uint16] // in answers: the peer's channel
	NextOutgoingID      uint32
	IncomingWindow      uint32 // transfer frames
	OutgoingWindow      uint32
	HandleMax           Optional[uint32]
	OfferedCapabilities []Symbol
	DesiredCapabilities []Symbol
	Properties          Map
}

// Attach attaches a link to a session (2.7.3).
type Attach struct {
	Name                 string
	Handle               uint32
	Role                 Role
	SndSettleMode        Optional[uint8]
	RcvSettleMode        Optional[uint8]
	Source               *Source
	Target               *Target
	Coordinator          bool // the target is a coordinator of transactions (4.5.1); of Target only Capabilities counts then
	Unsettled            Map
	IncompleteUnsettled  bool
	InitialDeliveryCount Optional[uint32]
	MaxMessageSize       Optional[uint64] // bytes; 0: no limit
	OfferedCapabilities  []Symbol
	DesiredCapabilities  []Symbol
	Properties           Map
}

// Flow updates a session's windows and, with a handle, a link's credit (2.7.4).
type Flow struct {
	NextIncomingID Optional[uint32]
	IncomingWindow uint32
	NextOutgoingID uint32
	OutgoingWindow uint32
	Handle         Optional[uint32]
	DeliveryCount  Optional[uint32]
	LinkCredit     Optional[uint32]
	Available      Optional[uint32]
	Drain          bool
	Echo           bool
	Properties     Map
}

// Transfer carries a message or a part of one; the payload follows it in the frame (2.7.5).
type Transfer struct {
	Handle        uint32
	DeliveryID    Optional[uint32]
	DeliveryTag   []byte // points into the frame; nil: absent
	MessageFormat Optional[uint32]
	Settled       Optional[bool]
	More          bool
	RcvSettleMode Optional[uint8]
	State         State
	Resume        bool
	Aborted       bool
	Batchable     bool
}

// Disposition tells of the state of deliveries First to Last (2.7.6).
type Disposition struct {
	Role      Role
	First     uint32
	Last      Optional[uint32] // absent: First alone
	Settled   bool
	State     State
	Batchable bool
}

// Detach detaches a link, or closes it (2.7.7).
type Detach struct {
	Handle uint32
	Closed bool
	Error  *Error
}

// End ends a session (2.7.8).
type End struct{ Error *Error }

// Close closes a connection (2.7.9).
type Close struct{ Error *Error }

// SASLMechanisms tells what a server offers (5.3.3.1).
type SASLMechanisms struct{ Mechanisms []Symbol }

// SASLInit chooses a mechanism (5.3.3.2).
type SASLInit struct {
	Mechanism       Symbol
	InitialResponse []byte // nil: absent, which is not the same as empty
	Hostname        string
}

// SASLChallenge is a server's question (5.3.3.3).
type SASLChallenge struct{ Challenge []byte }

// SASLResponse is the answer to it (5.3.3.4).
type SASLResponse struct{ Response []byte }

// SASLOutcome is the result (5.3.3.5).
type SASLOutcome struct {
	Code           SASLCode
	AdditionalData []byte
}

// SASLCode is a result of SASL (5.3.3.6).
type SASLCode uint8

// Results of SASL.
const (
	SASLOK      SASLCode = iota
	SASLAuth             // wrong credentials
	SASLSys              // a failure of the system
	SASLSysPerm          // one that will stay
	SASLSysTemp          // one that may pass
)
