package mqtt

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

func TestTopic(t *testing.T) {
	e := made(7, "press/7", "x")
	e.Properties = []event.Property{{Name: "line", Value: int64(3)}, {Name: "hall", Value: "A+B#"}, {Name: "empty", Value: ""}, {Name: "odd name", Value: "x"}}
	for text, want := range map[string]string{
		"plant/telemetry":         "plant/telemetry",
		"plant/{device}/t":        "plant/press%2F7/t",
		"{device}":                "press%2F7",
		"a{line}b/{partition}":    "a3b/0",
		"{hall}":                  "A%2BB%23",
		"{odd name}":              "x",
		"{origin}/{repeat}":       "b1%2F0%2F7/false",
		"{empty}":                 "",
		"{missing}/x":             "",
		"/leading/{line}/":        "/leading/3/",
		"{line}{line}":            "33",
		"$share/made/by/{device}": "$share/made/by/press%2F7", // the template is the operator's
	} {
		tpl, err := parseTemplate(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := tpl.topic(nil, e, "b1")
		if string(got) != want || (err != nil) != (want == "") || err != nil && (fault.KindOf(err) != fault.Invalid || fault.Next(err) == "") {
			t.Errorf("%s gives %q, %v", text, got, err)
		}
	}
}

// No value makes a level, a wildcard or a topic of the broker's own, and no two values make one topic.
func FuzzTopic(f *testing.F) {
	for _, s := range []string{"d", "../..", "$SYS", "a/b", "+", "#", "\x00", "%2F", "\xff\xfe", "\u2028", "\ufffe", "ü €", strings.Repeat("x", 5000)} {
		f.Add(s, "x")
	}
	tpl, err := parseTemplate("{device}/t/{p}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, device, p string) {
		e := made(1, device, "")
		e.Properties = []event.Property{{Name: "p", Value: p}}
		b, err := tpl.topic([]byte("kept"), e, "b1")
		if err != nil {
			if string(b) != "kept" {
				t.Errorf("%q is left behind", b)
			}
			return
		}
		b = b[4:]
		if !utf8.Valid(b) || len(b) > maxTopic || bytes.ContainsAny(b, "+#$\x00") || bytes.Count(b, []byte("/")) != 2 {
			t.Errorf("%q, %q give %q", device, p, b)
		}
		first, _, _ := bytes.Cut(b, []byte("/"))
		if got := unescape(t, first); got != device {
			t.Errorf("%q is %q again", device, got)
		}
	})
}

func unescape(t *testing.T, b []byte) string {
	t.Helper()
	var out []byte
	for i := 0; i < len(b); i++ {
		if b[i] != '%' {
			out = append(out, b[i])
			continue
		}
		out = append(out, byte(strings.IndexByte(upperHex, b[i+1])<<4|strings.IndexByte(upperHex, b[i+2])))
		i += 2
	}
	return string(out)
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain text": "plain text", "ü €": "ü €", "a\x00b\x1f\x7f": "a\ufffdb\ufffd\ufffd", "\xff": "\ufffd", "\u0085": "\ufffd", "\ufffe\ufdd0\U0001ffff": "\ufffd\ufffd\ufffd", "": "",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q is %q", in, got)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"\x00\x00\x00", "\x00\x00\x03\x21\x00\x03", "\x00\x01", "\x00\x07\x97\x00", "\x00\x07\x97\x07\x1f\x00\x04full", "\x8b", "\x00\x00\x0a\x26\x00\x01k\x00\x01v\x25\x00\x24", ""} {
		f.Add(byte(0x20), []byte(s))
		f.Add(byte(0x40), []byte(s))
		f.Add(byte(0xe0), []byte(s))
	}
	f.Fuzz(func(t *testing.T, first byte, body []byte) {
		r, err := readReply(first, body)
		if err != nil {
			return
		}
		switch r.kind {
		case mqtt.CONNACK, mqtt.PUBACK, mqtt.DISCONNECT, mqtt.PINGRESP:
		default:
			t.Errorf("%v is taken", r.kind)
		}
		if r.window < 1 || r.window > 65535 || r.packet < 0 || !utf8.ValidString(r.reason) || len(r.reason) > 3*len(body) {
			t.Errorf("%+v", r)
		}
	})
}

// What the codec of 3.1.1 reads of a PUBLISH of 5 is the same but for the properties, which it takes for the beginning of the payload.
func FuzzPublish(f *testing.F) {
	f.Add("t", uint16(1), []byte{propUser, 0, 1, 'k', 0, 1, 'v'}, []byte("body"))
	f.Add("plant/ü", uint16(65535), bytes.Repeat([]byte{1}, 200), bytes.Repeat([]byte("x"), 20000))
	f.Fuzz(func(t *testing.T, topic string, id uint16, properties, body []byte) {
		if topic == "" || len(topic) > 1000 || !utf8.ValidString(topic) || strings.Contains(topic, "\x00") || id == 0 {
			return
		}
		b := appendPublish5(nil, []byte(topic), id, false, properties, body)
		first, rest, err := mqtt.NewReader(bytes.NewReader(b), mqtt.MaxRemaining).Next()
		var p mqtt.Publish
		if err != nil || mqtt.DecodePublish(first, rest, &p) != nil || len(rest) != publishLength(len(topic), len(properties), len(body)) {
			t.Fatalf("%v", err)
		}
		want := append(append(appendLength(nil, len(properties)), properties...), body...)
		if string(p.Topic) != topic || p.ID != id || p.QoS != 1 || !bytes.Equal(p.Payload, want) {
			t.Errorf("%+v", p)
		}
	})
}
