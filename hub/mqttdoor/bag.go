package mqttdoor

import (
	"bytes"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// systemKeys are the names which system properties have in a bag (IoT Hub: MQTT, sending device-to-cloud messages).
var systemKeys = map[string]string{
	"$.mid": hub.MessageID, "$.cid": hub.CorrelationID, "$.uid": hub.UserID, "$.to": hub.To, "$.ct": hub.ContentType, "$.ce": hub.ContentEncoding,
	"$.exp": hub.AbsoluteExpiry, "$.on": hub.OutputName, "$.sub": hub.Subject, "$.ifid": hub.InterfaceID, "$.schema": hub.MessageSchema,
	"$.ctime": hub.CreationTime, "$.diagid": hub.DiagnosticID, "$.diagctx": hub.DiagnosticContext,
}

// parseBag reads "k=v&k2=v2", keys and values percent-encoded, into the application's and the system's properties; either is nil when
// empty. A key without '=' has the empty value. Of one key twice, the last counts. System keys nobody knows are dropped.
func parseBag(bag []byte) (properties, system map[string]string, err error) {
	for len(bag) > 0 {
		var item []byte
		item, bag, _ = bytes.Cut(bag, []byte("&"))
		if len(item) == 0 {
			continue
		}
		k, v, _ := bytes.Cut(item, []byte("="))
		key, kerr := unescape(k)
		value, verr := unescape(v)
		if kerr != nil || verr != nil {
			return nil, nil, fault.Newf("mqttdoor.parseBag", fault.Invalid, "the properties in the topic are not percent-encoded text: %.100q", item).
				Advise("encode keys and values as URI components")
		}
		if strings.HasPrefix(key, "$.") {
			if name, ok := systemKeys[key]; ok {
				if system == nil {
					system = make(map[string]string, 8)
				}
				system[name] = value
			}
			continue
		}
		if properties == nil {
			properties = make(map[string]string, 4)
		}
		properties[key] = value
	}
	return properties, system, nil
}

// unescape decodes %XX and nothing else: a '+' means itself.
func unescape(b []byte) (string, error) {
	s, err := string(b), error(nil)
	if bytes.IndexByte(b, '%') >= 0 {
		s, err = url.PathUnescape(s)
	}
	if err == nil && !utf8.ValidString(s) {
		err = url.EscapeError(s)
	}
	return s, err
}

// commandKeys are the system properties of a cloud-to-device message, in the order they are written.
var commandKeys = []struct {
	name  string
	value func(*hub.Command) string
}{
	{"to", func(m *hub.Command) string { return m.To }},
	{"mid", func(m *hub.Command) string { return m.MessageID }},
	{"cid", func(m *hub.Command) string { return m.CorrelationID }},
	{"uid", func(m *hub.Command) string { return m.UserID }},
	{"ct", func(m *hub.Command) string { return m.ContentType }},
	{"ce", func(m *hub.Command) string { return m.ContentEncoding }},
	{"exp", func(m *hub.Command) string { return m.Expires.UTC().Format("2006-01-02T15:04:05.000Z") }},
}

// appendBag writes the properties of a cloud-to-device message. Each has its '=': without one SDKs take the word "undefined" for the value.
func appendBag(dst []byte, m *hub.Command) []byte {
	first := true
	item := func(key string) {
		if !first {
			dst = append(dst, '&')
		}
		first = false
		dst = append(append(dst, key...), '=')
	}
	for _, k := range commandKeys {
		if v := k.value(m); v != "" {
			item("%24." + k.name)
			dst = appendEscaped(dst, v)
		}
	}
	if m.Ack != "" && m.Ack != hub.AckNone {
		item("iothub-ack")
		dst = append(dst, m.Ack...)
	}
	for _, k := range slices.Sorted(maps.Keys(m.Properties)) {
		item(string(appendEscaped(nil, k)))
		dst = appendEscaped(dst, m.Properties[k])
	}
	return dst
}

// appendEscaped writes all but unreserved characters (RFC 3986, 2.3) as %XX.
func appendEscaped(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// mark notes what MQTT said of a message and the hub does not do: nothing is retained (IoT Hub: MQTT, RETAIN and DUP).
func mark(properties map[string]string, retain, dup bool) map[string]string {
	if properties == nil && (retain || dup) {
		properties = map[string]string{}
	}
	if retain {
		properties["mqtt-retain"] = "true"
	}
	if dup {
		properties["mqtt-dup"] = "true"
	}
	return properties
}
