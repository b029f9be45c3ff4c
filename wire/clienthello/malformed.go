package clienthello

import "github.com/isthmus-io/isthmus/fault"

// Malformed is why bytes are no ClientHello: one short word for counting, which is also an error in words for people.
type Malformed string

// The reasons there are.
const (
	NotTLS             Malformed = "not-tls"             // the first record is no handshake of TLS
	NotClientHello     Malformed = "not-client-hello"    // another handshake message
	BadRecord          Malformed = "bad-record"          // an empty or too long record, or another type of record in the middle
	TooLong            Malformed = "too-long"            // a message over MaxLength
	BadMessage         Malformed = "bad-message"         // lengths or fields that do not fit
	DuplicateExtension Malformed = "duplicate-extension" // forbidden by RFC 8446 clause 4.2
	BadProtocols       Malformed = "bad-protocols"       // an ALPN extension that does not fit
	BadNameList        Malformed = "bad-name-list"       // a server name extension that is empty, does not fit or has two names
	BadName            Malformed = "bad-name"            // bytes that are no host name: control characters, empty labels, too many
	NameIsAddress      Malformed = "name-is-address"     // an IP address, which RFC 6066 clause 3 does not permit
)

// Reasons lists every reason, for metrics that must be complete.
func Reasons() []Malformed {
	return []Malformed{
		NotTLS, NotClientHello, BadRecord, TooLong, BadMessage, DuplicateExtension, BadProtocols, BadNameList, BadName, NameIsAddress,
	}
}

// Error says in words what is wrong.
func (m Malformed) Error() string { return "clienthello: " + m.words() }

// Unwrap gives the fault, of kind Invalid, so that doors can treat the reason as any other error.
func (m Malformed) Unwrap() error {
	f := fault.New("clienthello.Parse", fault.Invalid, m.words())
	if m == NameIsAddress {
		return f.Advise("have the client connect by host name, or send no server name")
	}
	return f.Advise("have the client speak TLS 1.2 or 1.3 from its first byte")
}

func (m Malformed) words() string {
	switch m {
	case NotTLS:
		return "the bytes are not TLS"
	case NotClientHello:
		return "the first message is no ClientHello"
	case BadRecord:
		return "a TLS record is empty, too long or not a handshake"
	case TooLong:
		return "the ClientHello is longer than 65535 bytes"
	case BadMessage:
		return "the lengths in the ClientHello do not fit"
	case DuplicateExtension:
		return "an extension comes twice in the ClientHello"
	case BadProtocols:
		return "the list of protocols in the ClientHello is wrong"
	case BadNameList:
		return "the list of server names in the ClientHello is wrong"
	case BadName:
		return "the server name in the ClientHello is no host name"
	case NameIsAddress:
		return "the server name in the ClientHello is an IP address"
	}
	return "the ClientHello is malformed"
}
