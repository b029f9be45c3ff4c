package amqpevent

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
)

// Read returns an event as those read it who know no AMQP: its body, the application's properties and the system's, as text. Of a plain
// event that is what it holds. Of an encoded one the body is its data sections, one after the other, or the text or binary of an
// amqp-value, or JSON of anything else; what is no message is the body as it is. Maps may be nil; nothing is copied that need not be.
func Read(ev eventlog.Event) (body []byte, properties, system map[string]string) {
	if ev.Format != Encoded {
		return ev.Body, ev.Properties, ev.System
	}
	m, err := amqp.Unmarshal(ev.Body)
	if err != nil {
		return ev.Body, ev.Properties, ev.System
	}
	properties = texts(nil, m.ApplicationProperties)
	system = texts(nil, m.MessageAnnotations)
	if m.Properties != nil {
		system = propertyTexts(system, m.Properties)
	}
	return bodyOf(m), properties, system
}

// Plain is Read of a view; what it returns may be kept.
func Plain(v *eventlog.View) (body []byte, properties, system map[string]string) {
	return Read(v.Event())
}

func bodyOf(m *amqp.Message) []byte {
	switch {
	case len(m.Data) == 1:
		return m.Data[0]
	case len(m.Data) > 1:
		var all []byte
		for _, d := range m.Data {
			all = append(all, d...)
		}
		return all
	case m.HasValue:
		switch v := m.Value.(type) {
		case nil:
			return nil
		case []byte:
			return v
		case string:
			return []byte(v)
		}
		return []byte(jsonText(m.Value))
	case len(m.Sequence) > 0:
		all := amqp.List{}
		for _, l := range m.Sequence {
			all = append(all, l...)
		}
		return []byte(jsonText(all))
	}
	return nil
}

func texts(to map[string]string, m amqp.Map) map[string]string {
	for _, p := range m {
		if to == nil {
			to = make(map[string]string, len(m))
		}
		to[textOf(p.Key)] = textOf(p.Value)
	}
	return to
}

func propertyTexts(to map[string]string, p *amqp.Properties) map[string]string {
	if to == nil {
		to = make(map[string]string, 4)
	}
	set := func(name string, v any) {
		if s := textOf(v); s != "" {
			to[name] = s
		}
	}
	set("message-id", p.MessageID)
	set("user-id", string(p.UserID))
	set("to", p.To)
	set("subject", p.Subject)
	set("reply-to", p.ReplyTo)
	set("correlation-id", p.CorrelationID)
	set("content-type", p.ContentType)
	set("content-encoding", p.ContentEncoding)
	if p.AbsoluteExpiryTime.Set {
		set("absolute-expiry-time", p.AbsoluteExpiryTime.Value)
	}
	if p.CreationTime.Set {
		set("creation-time", p.CreationTime.Value)
	}
	set("group-id", p.GroupID)
	if p.GroupSequence.Set {
		set("group-sequence", p.GroupSequence.Value)
	}
	set("reply-to-group-id", p.ReplyToGroupID)
	return to
}

// textOf is a value as text; the empty text for null.
func textOf(v any) string {
	if v == nil {
		return ""
	}
	if s, ok := amqptext.Text(v); ok {
		return s
	}
	return jsonText(v)
}

func jsonText(v any) string {
	b, err := json.Marshal(jsonValue(v))
	if err != nil { // nothing jsonValue returns is refused
		return ""
	}
	return string(b)
}

// jsonValue is a value as encoding/json takes it: numbers and booleans stay, what JSON has no type for becomes text.
func jsonValue(v any) any {
	switch v := v.(type) {
	case nil, bool, string:
		return v
	case amqp.List:
		return jsonList(v)
	case amqp.Array:
		return jsonList(v.Items)
	case amqp.Described:
		return jsonValue(v.Value)
	case amqp.Map:
		m := make(map[string]any, len(v))
		for _, p := range v {
			m[textOf(p.Key)] = jsonValue(p.Value)
		}
		return m
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			break
		}
		return v
	case float32:
		if v != v || math.IsInf(float64(v), 0) {
			break
		}
		return v
	case uint64:
		return v
	}
	if n, ok := amqptext.Integer(v); ok {
		return n
	}
	if s, ok := amqptext.Text(v); ok {
		return s
	}
	return fmt.Sprintf("%x", v) // decimals, which nothing here computes with
}

func jsonList(items []any) []any {
	out := make([]any, len(items))
	for i, v := range items {
		out[i] = jsonValue(v)
	}
	return out
}
