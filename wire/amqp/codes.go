package amqp

// Numeric descriptors of parts 2 to 5.
const (
	codeOpen        = 0x10
	codeBegin       = 0x11
	codeAttach      = 0x12
	codeFlow        = 0x13
	codeTransfer    = 0x14
	codeDisposition = 0x15
	codeDetach      = 0x16
	codeEnd         = 0x17
	codeClose       = 0x18
	codeError       = 0x1d

	codeReceived = 0x23
	codeAccepted = 0x24
	codeRejected = 0x25
	codeReleased = 0x26
	codeModified = 0x27
	codeSource   = 0x28
	codeTarget   = 0x29

	codeCoordinator = 0x30

	codeSASLMechanisms = 0x40
	codeSASLInit       = 0x41
	codeSASLChallenge  = 0x42
	codeSASLResponse   = 0x43
	codeSASLOutcome    = 0x44

	codeHeader                = 0x70
	codeDeliveryAnnotations   = 0x71
	codeMessageAnnotations    = 0x72
	codeProperties            = 0x73
	codeApplicationProperties = 0x74
	codeData                  = 0x75
	codeSequence              = 0x76
	codeValue                 = 0x77
	codeFooter                = 0x78
)

// Descriptors of the frames a server tells apart before it decodes them.
const (
	CodeOpen        uint64 = codeOpen
	CodeBegin       uint64 = codeBegin
	CodeAttach      uint64 = codeAttach
	CodeFlow        uint64 = codeFlow
	CodeTransfer    uint64 = codeTransfer
	CodeDisposition uint64 = codeDisposition
	CodeDetach      uint64 = codeDetach
	CodeEnd         uint64 = codeEnd
	CodeClose       uint64 = codeClose
)

// Descriptors of the sections of a message, for those who build one piece by piece.
const (
	CodeHeader                uint64 = codeHeader
	CodeDeliveryAnnotations   uint64 = codeDeliveryAnnotations
	CodeMessageAnnotations    uint64 = codeMessageAnnotations
	CodeProperties            uint64 = codeProperties
	CodeApplicationProperties uint64 = codeApplicationProperties
	CodeData                  uint64 = codeData
	CodeSequence              uint64 = codeSequence
	CodeValue                 uint64 = codeValue
	CodeFooter                uint64 = codeFooter
)

// codeOfName finds the numeric descriptor of a symbolic one; 0 when there is none.
func codeOfName(name []byte) uint64 {
	switch string(name) {
	case "amqp:open:list":
		return codeOpen
	case "amqp:begin:list":
		return codeBegin
	case "amqp:attach:list":
		return codeAttach
	case "amqp:flow:list":
		return codeFlow
	case "amqp:transfer:list":
		return codeTransfer
	case "amqp:disposition:list":
		return codeDisposition
	case "amqp:detach:list":
		return codeDetach
	case "amqp:end:list":
		return codeEnd
	case "amqp:close:list":
		return codeClose
	case "amqp:error:list":
		return codeError
	case "amqp:received:list":
		return codeReceived
	case "amqp:accepted:list":
		return codeAccepted
	case "amqp:rejected:list":
		return codeRejected
	case "amqp:released:list":
		return codeReleased
	case "amqp:modified:list":
		return codeModified
	case "amqp:source:list":
		return codeSource
	case "amqp:target:list":
		return codeTarget
	case "amqp:coordinator:list":
		return codeCoordinator
	case "amqp:sasl-mechanisms:list":
		return codeSASLMechanisms
	case "amqp:sasl-init:list":
		return codeSASLInit
	case "amqp:sasl-challenge:list":
		return codeSASLChallenge
	case "amqp:sasl-response:list":
		return codeSASLResponse
	case "amqp:sasl-outcome:list":
		return codeSASLOutcome
	case "amqp:header:list":
		return codeHeader
	case "amqp:delivery-annotations:map":
		return codeDeliveryAnnotations
	case "amqp:message-annotations:map":
		return codeMessageAnnotations
	case "amqp:properties:list":
		return codeProperties
	case "amqp:application-properties:map":
		return codeApplicationProperties
	case "amqp:data:binary":
		return codeData
	case "amqp:amqp-sequence:list":
		return codeSequence
	case "amqp:amqp-value:*":
		return codeValue
	case "amqp:footer:map":
		return codeFooter
	}
	return 0
}
