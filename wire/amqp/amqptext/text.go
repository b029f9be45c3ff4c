package amqptext

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// ID returns the one text of a message-id or a correlation-id (3.2.11 to 3.2.14): a UUID in lower case with its hyphens, a number in decimal,
// binary in hexadecimal, a string as it is, unless it is a UUID in other letters. Empty for nil and whatever is no id.
func ID(v any) string {
	switch v := v.(type) {
	case string:
		if isUUID(v) {
			return strings.ToLower(v)
		}
		return v
	case amqp.UUID:
		return UUID(v)
	case uint64:
		return strconv.FormatUint(v, 10)
	case []byte:
		return hex.EncodeToString(v)
	}
	return ""
}

// UUID returns the usual text of one (RFC 9562, 4).
func UUID(u amqp.UUID) string {
	t := hex.EncodeToString(u[:])
	return t[:8] + "-" + t[8:12] + "-" + t[12:16] + "-" + t[16:20] + "-" + t[20:]
}

// ParseUUID reads that text, in letters of either case; false when it is another.
func ParseUUID(s string) (u amqp.UUID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	_, err := hex.Decode(u[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:]))
	return u, err == nil
}

func isUUID(s string) bool {
	_, ok := ParseUUID(s)
	return ok
}

// Text returns a simple value as text: strings and symbols as they are, numbers in decimal, true and false, a timestamp by RFC 3339 in UTC
// with milliseconds, a UUID as UUID does, binary as base64. False for null, lists, maps, arrays and described values.
func Text(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case amqp.Symbol:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	case float32:
		return number(float64(v), 32), true
	case float64:
		return number(v, 64), true
	case amqp.Char:
		return string(rune(v)), true
	case amqp.Timestamp:
		return Time(v).Format("2006-01-02T15:04:05.000Z"), true
	case amqp.UUID:
		return UUID(v), true
	case []byte:
		return base64.StdEncoding.EncodeToString(v), true
	}
	if n, ok := Integer(v); ok {
		return strconv.FormatInt(n, 10), true
	}
	if n, ok := v.(uint64); ok {
		return strconv.FormatUint(n, 10), true
	}
	return "", false
}

func number(v float64, bits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'g', -1, bits)
	}
	return strconv.FormatFloat(v, 'f', -1, bits)
}

// Integer returns the value of any of the types of whole numbers; false for others, and for what int64 cannot hold.
func Integer(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case uint8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case int8:
		return int64(v), true
	case int16:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}

// Time returns the moment of a timestamp, in UTC, no earlier than the year 1 and no later than 9999: beyond, no text of it could be read back.
func Time(t amqp.Timestamp) time.Time {
	const first, last = -62135596800000, 253402300799999
	return time.UnixMilli(min(max(int64(t), first), last)).UTC()
}

// Properties returns application properties as text; a null is empty. What has no text, and what has no name, is left out; nil when nothing
// is left.
func Properties(m amqp.Map) map[string]string {
	var out map[string]string
	for _, p := range m {
		name, ok := Text(p.Key)
		if !ok || name == "" {
			continue
		}
		value, ok := Text(p.Value)
		if !ok && p.Value != nil {
			continue
		}
		if out == nil {
			out = make(map[string]string, len(m))
		}
		out[name] = value
	}
	return out
}

// Path returns what an address names, without the scheme, host and port that some clients put in front, and without slashes at its ends:
// "messages/events" for "amqps://contoso.azure-devices.net:5671/messages/events/".
func Path(address string) string {
	if scheme, rest, ok := strings.Cut(address, "://"); ok && !strings.Contains(scheme, "/") {
		_, address, _ = strings.Cut(rest, "/")
	}
	return strings.Trim(address, "/")
}
