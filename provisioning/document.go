package provisioning

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf16"

	"github.com/isthmus-io/isthmus/fault"
)

// Refusal is the envelope in which every door tells a refusal (DPS: error responses).
type Refusal struct {
	Code       int               `json:"errorCode"`
	TrackingID string            `json:"trackingId"`
	Message    string            `json:"message"`
	Info       map[string]string `json:"info"`
	Timestamp  string            `json:"timestampUtc"`
}

// RefusalOf puts an error into the envelope: what a caller may see of it.
func RefusalOf(err error, now time.Time) Refusal {
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text += ". " + next
	}
	tracking := make([]byte, 16)
	_, _ = rand.Read(tracking) // never fails
	return Refusal{int(CodeOf(err)), hex.EncodeToString(tracking), text, map[string]string{}, now.UTC().Format("2006-01-02T15:04:05.0000000Z")}
}

// MarshalASCII is json.Marshal with what is not ASCII escaped, which can stand in strings only (RFC 8259, 7): the Node SDK reads nothing else
// over MQTT and AMQP.
func MarshalASCII(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Wrap("provisioning.MarshalASCII", fault.Internal, err, "")
	}
	plain := true
	for _, c := range b {
		plain = plain && c < 0x80
	}
	if plain {
		return b, nil
	}
	out := make([]byte, 0, 2*len(b))
	for _, r := range string(b) {
		switch {
		case r < 0x80:
			out = append(out, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out, nil
}
