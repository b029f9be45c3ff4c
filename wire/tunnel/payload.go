package tunnel

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
)

// ResetCode says why a stream or a session ended early. Codes not listed are passed on as they are.
type ResetCode uint16

// The reset codes.
const (
	ResetRefused      ResetCode = 1 // by the provider's plan: not approved, or an endpoint it does not know
	ResetUnreachable  ResetCode = 2 // the target did not answer or has no route
	ResetTargetClosed ResetCode = 3 // the target refused the connection (ECONNREFUSED)
	ResetPeer         ResetCode = 4 // a TCP reset on one side, passed on to the other
	ResetRevoked      ResetCode = 5 // the connection left Approved
	ResetShuttingDown ResetCode = 6 // the process is stopping
	ResetOverloaded   ResetCode = 7 // a bound was reached: streams, memory
	ResetProtocol     ResetCode = 8 // the peer broke the protocol
	ResetTimeout      ResetCode = 9 // somebody did not answer in time
)

var resetNames = [...]string{
	ResetRefused: "refused-by-plan", ResetUnreachable: "target-unreachable", ResetTargetClosed: "target-refused",
	ResetPeer: "peer-reset", ResetRevoked: "revoked", ResetShuttingDown: "shutting-down", ResetOverloaded: "overloaded",
	ResetProtocol: "protocol", ResetTimeout: "timeout",
}

// String returns the code's name as it stands in the documentation and in logs, e.g. "refused-by-plan".
func (c ResetCode) String() string {
	if c > 0 && int(c) < len(resetNames) {
		return resetNames[c]
	}
	return "code " + strconv.Itoa(int(c))
}

// Kind is the fault a user of the stream should see.
func (c ResetCode) Kind() fault.Kind {
	switch c {
	case ResetRefused, ResetRevoked:
		return fault.Denied
	case ResetOverloaded:
		return fault.Exhausted
	case ResetProtocol:
		return fault.Internal
	case ResetTimeout:
		return fault.Timeout
	default:
		return fault.Unavailable
	}
}

// AppendReason appends the payload of a Reset or GoAway frame: 2 bytes of code, then at most MaxMessage bytes of UTF-8. A longer
// message is cut, at a character's border.
func AppendReason(b []byte, code ResetCode, message string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(b, clip(message)...)
}

// ParseReason reads the payload of a Reset or GoAway frame. Bytes that are not UTF-8, and control characters, become U+FFFD
// because the message reaches logs; the error has kind Invalid.
func ParseReason(b []byte) (ResetCode, string, error) {
	if len(b) < 2 || len(b) > 2+MaxMessage {
		return 0, "", fault.Newf("tunnel.ParseReason", fault.Invalid, "reason of %d bytes, allowed are 2 to %d", len(b), 2+MaxMessage)
	}
	return ResetCode(binary.BigEndian.Uint16(b)), legible(b[2:]), nil
}

func clip(message string) string {
	if len(message) <= MaxMessage {
		return message
	}
	n := MaxMessage
	for n > MaxMessage-utf8.UTFMax && !utf8.RuneStart(message[n]) {
		n--
	}
	return message[:n]
}

func legible(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
}

// PutWindow writes the payload of a Window frame: 4 bytes of credit.
func PutWindow(b []byte, credit uint32) { binary.BigEndian.PutUint32(b, credit) }

// ParseWindow reads the payload of a Window frame. Credit is 1 to MaxWindow; the error has kind Invalid.
func ParseWindow(b []byte) (uint32, error) {
	if len(b) != 4 {
		return 0, fault.Newf("tunnel.ParseWindow", fault.Invalid, "window of %d bytes, want 4", len(b))
	}
	credit := binary.BigEndian.Uint32(b)
	if credit == 0 || credit > MaxWindow {
		return 0, fault.Newf("tunnel.ParseWindow", fault.Invalid, "credit of %d bytes, allowed are 1 to %d", credit, MaxWindow)
	}
	return credit, nil
}
