package route

import (
	"bytes"
	"encoding/json"
	"mime"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Message is what is routed. Match changes nothing of it.
type Message struct {
	Source         Source
	Device, Module string
	Properties     map[string]string // the application's
	System         map[string]string // by the names under which consumers of events read them, such as content-type
	Body           []byte
	Received       time.Time
	// Twin returns the twin of whoever sent it, as encoding/json gives it: {"tags":.., "properties":{"desired":.., "reported":..}}. It
	// is called once for a message at most, and only when something asks for it. nil, or returning nil, is: there is no twin.
	Twin func() map[string]any
}

// systemNames are the names which conditions have for system properties, in lower case, and the names under which they are kept.
var systemNames = map[string]string{
	"$messageid": "message-id", "$correlationid": "correlation-id", "$userid": "user-id", "$to": "to", "$contenttype": "content-type",
	"$contentencoding": "content-encoding", "$absoluteexpirytime": "absolute-expiry-time", "$creationtimeutc": "iothub-creation-time-utc",
	"$connectiondeviceid": "iothub-connection-device-id", "$connectionmoduleid": "iothub-connection-module-id",
	"$connectionauthmethod": "iothub-connection-auth-method", "$connectiondevicegenerationid": "iothub-connection-auth-generation-id",
	"$messagesource": "iothub-message-source", "$messageschema": "iothub-message-schema", "$outputname": "iothub-outputname",
	"$interfaceid": "iothub-interface-id", "$subject": "dt-subject",
}

// reader answers conditions about one message.
type reader struct {
	m              *Message
	get            func(path []string) (any, bool) // its own, made once
	body, twin     any
	hasBody        bool
	readBody, read bool
}

func (r *reader) reset(m *Message) {
	if r.get == nil {
		r.get = r.value
	}
	get := r.get
	*r = reader{m: m, get: get}
}

// value finds what a path names.
func (r *reader) value(path []string) (any, bool) {
	if len(path) == 0 {
		return nil, false
	}
	first := path[0]
	if first == "" || first[0] != '$' {
		v, ok := r.m.Properties[strings.Join(path, ".")]
		return v, ok
	}
	switch {
	case strings.EqualFold(first, "$body"):
		if !r.readBody {
			r.readBody = true
			r.body, r.hasBody = r.m.json()
		}
		if !r.hasBody {
			return nil, false
		}
		return walk(r.body, path[1:])
	case strings.EqualFold(first, "$twin"):
		return r.fromTwin(path[1:])
	case len(path) > 1:
		return nil, false
	}
	return r.system(first)
}

func (r *reader) system(name string) (any, bool) {
	lower := strings.ToLower(name)
	switch lower {
	case "$enqueuedtime", "$iothub-enqueuedtime":
		if r.m.Received.IsZero() {
			return nil, false
		}
		return r.m.Received.UTC().Format("2006-01-02T15:04:05.000Z"), true
	case "$connectiondeviceid":
		return r.m.Device, true
	case "$connectionmoduleid":
		return r.m.Module, r.m.Module != ""
	}
	key, ok := systemNames[lower]
	if !ok {
		key = lower[1:] // $dt-subject, $iothub-message-source
	}
	v, ok := r.m.System[key]
	return v, ok
}

func (r *reader) fromTwin(path []string) (any, bool) {
	if !r.read {
		r.read = true
		if r.m.Twin != nil {
			if t := r.m.Twin(); t != nil {
				r.twin = t
			}
		}
	}
	if r.twin == nil {
		return nil, false
	}
	return walk(r.twin, path)
}

func walk(v any, path []string) (any, bool) {
	for _, key := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = object[key]; !ok {
			return nil, false
		}
	}
	return v, true
}

// json reads the body, if it says that it is JSON (IoT Hub: message routing query syntax, message body).
func (m *Message) json() (any, bool) {
	text, _ := m.text()
	if text == nil {
		return nil, false
	}
	var v any
	if json.Unmarshal(text, &v) != nil {
		return nil, false
	}
	return v, true
}

// text returns a JSON body in UTF-8, or why it cannot be read.
func (m *Message) text() ([]byte, string) {
	kind, params, err := mime.ParseMediaType(m.System["content-type"])
	if err != nil || !strings.EqualFold(kind, "application/json") {
		return nil, "its content type is not application/json"
	}
	encoding := m.System["content-encoding"]
	if encoding == "" {
		encoding = params["charset"]
	}
	switch strings.ToLower(encoding) {
	case "utf-8", "utf8":
		return bytes.TrimPrefix(m.Body, []byte("\xef\xbb\xbf")), ""
	case "utf-16", "utf-16be", "utf-16le":
		return fromUTF16(m.Body, strings.EqualFold(encoding, "utf-16le")), ""
	case "utf-32", "utf-32be", "utf-32le":
		return fromUTF32(m.Body, strings.EqualFold(encoding, "utf-32le")), ""
	case "":
		return nil, "it has no content encoding"
	}
	return nil, "its content encoding is not utf-8, utf-16 or utf-32"
}

// fromUTF16 decodes by the byte order mark, or as the name of the encoding says; big-endian when neither does (RFC 2781, 4.3).
func fromUTF16(b []byte, little bool) []byte {
	if len(b) >= 2 && (b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff) {
		little, b = b[0] == 0xff, b[2:]
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		hi, lo := b[2*i], b[2*i+1]
		if little {
			hi, lo = lo, hi
		}
		units[i] = uint16(hi)<<8 | uint16(lo)
	}
	return []byte(string(utf16.Decode(units)))
}

func fromUTF32(b []byte, little bool) []byte {
	if len(b) >= 4 && (string(b[:4]) == "\xff\xfe\x00\x00" || string(b[:4]) == "\x00\x00\xfe\xff") {
		little, b = b[0] == 0xff, b[4:]
	}
	out := make([]byte, 0, len(b)/4)
	for ; len(b) >= 4; b = b[4:] {
		r := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		if little {
			r = uint32(b[3])<<24 | uint32(b[2])<<16 | uint32(b[1])<<8 | uint32(b[0])
		}
		out = utf8.AppendRune(out, rune(min(r, utf8.MaxRune+1))) // what is no character becomes U+FFFD
	}
	return out
}
