package mqtt

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

const maxTopic = 4096 // bytes of a topic that is made: many brokers take less

// template is a topic with values in it.
type template []part

type part struct{ text, name string } // one of them

// parseTemplate reads a template. Braces stand around names only.
func parseTemplate(text string) (template, error) {
	bad := func(what string) error {
		return fault.Newf("mqtt.New", fault.Invalid, "the topic %.100q %s", text, what).Advise("write it as in plant/{device}/telemetry")
	}
	if text == "" || strings.ContainsAny(text, "+#") || !utf8.ValidString(text) || strings.IndexFunc(text, unicode.IsControl) >= 0 {
		return nil, bad("is empty, or has what no topic has")
	}
	var t template
	for rest := text; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			t = append(t, part{text: rest})
			break
		}
		if i > 0 {
			t = append(t, part{text: rest[:i]})
		}
		name, behind, closed := strings.Cut(rest[i+1:], "}")
		if rest[i] == '}' || !closed || name == "" || strings.Contains(name, "{") {
			return nil, bad("has a brace without its other, or nothing between them")
		}
		t, rest = append(t, part{name: name}), behind
	}
	return t, nil
}

// topic appends the topic of an event to b.
func (t template) topic(b []byte, e *event.Event, bridge string) ([]byte, error) {
	begin := len(b)
	var value []byte
	for i := range t {
		p := &t[i]
		if p.name == "" {
			b = append(b, p.text...)
			continue
		}
		value = value[:0]
		switch p.name {
		case "device":
			value = append(value, e.Device()...)
		case "partition":
			value = append(value, e.Origin.Partition...)
		case "origin":
			value = append(value, e.ID(bridge)...)
		case "repeat":
			value = strconv.AppendBool(value, e.Repeated())
		default:
			v, _ := event.Get(e.Properties, p.name)
			value = event.AppendText(value, v)
		}
		if len(value) == 0 {
			return b[:begin], fault.Newf("mqtt.Write", fault.Invalid, "the event has no %.60s, which its topic is made of", p.name).
				Advise("set it in a step, or take it out of the topic")
		}
		b = appendValue(b, value)
	}
	if n := len(b) - begin; n > maxTopic {
		return b[:begin], fault.Newf("mqtt.Write", fault.Invalid, "the event's topic would have %d bytes, more than %d", n, maxTopic).Advise("use shorter values in the topic")
	}
	return b, nil
}

const upperHex = "0123456789ABCDEF"

// appendValue writes a value so that it is part of one level, whatever it is.
func appendValue(b, value []byte) []byte {
	for i := 0; i < len(value); {
		r, n := utf8.DecodeRune(value[i:])
		switch {
		case r == '/' || r == '+' || r == '#' || r == '$' || r == '%' || r == utf8.RuneError && n == 1 || r != ' ' && !unicode.IsPrint(r):
			for _, c := range value[i : i+n] {
				b = append(b, '%', upperHex[c>>4], upperHex[c&15])
			}
		default:
			b = append(b, value[i:i+n]...)
		}
		i += n
	}
	return b
}
