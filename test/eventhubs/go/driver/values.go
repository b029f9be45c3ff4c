package main

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
)

// plain is a value of AMQP as the SDK takes it. The test tells it as an object of one key, which is the type, such as {"long": "5"};
// values.js has the same.
func plain(typed map[string]any) (any, error) {
	for kind, v := range typed {
		n, _ := v.(float64)
		text, _ := v.(string)
		switch kind {
		case "null":
			return nil, nil
		case "boolean", "string", "double":
			return v, nil
		case "ubyte":
			return uint8(n), nil
		case "ushort":
			return uint16(n), nil
		case "uint":
			return uint32(n), nil
		case "byte":
			return int8(n), nil
		case "short":
			return int16(n), nil
		case "int":
			return int32(n), nil
		case "ulong":
			var u uint64
			_, err := fmt.Sscan(text, &u)
			return u, err
		case "long":
			var i int64
			_, err := fmt.Sscan(text, &i)
			return i, err
		case "float":
			return float32(n), nil
		case "timestamp":
			return time.UnixMilli(int64(n)).UTC(), nil
		case "uuid":
			return uuid(text)
		case "binary":
			return base64.StdEncoding.DecodeString(text)
		case "symbol":
			return amqp.Symbol(text), nil
		case "list":
			items, _ := v.([]any)
			return plainList(items)
		case "map":
			pairs, _ := v.([]any)
			return plainMap(pairs)
		}
	}
	return nil, fmt.Errorf("%v is no value of AMQP", typed)
}

func plainItem(v any) (any, error) {
	item, _ := v.(map[string]any)
	return plain(item)
}

func plainList(items []any) ([]any, error) {
	out := []any{}
	for _, i := range items {
		v, err := plainItem(i)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func plainMap(pairs []any) (map[any]any, error) {
	out := map[any]any{}
	for _, p := range pairs {
		pair, _ := p.([]any)
		if len(pair) != 2 {
			return nil, fmt.Errorf("%v is no pair", p)
		}
		both, err := plainList(pair)
		if err != nil {
			return nil, err
		}
		out[both[0]] = both[1]
	}
	return out, nil
}

func uuid(text string) (amqp.UUID, error) {
	var u amqp.UUID
	var a, b, c, d, e []byte
	if _, err := fmt.Sscanf(text, "%8x-%4x-%4x-%4x-%12x", &a, &b, &c, &d, &e); err != nil {
		return u, err
	}
	n := 0
	for _, part := range [][]byte{a, b, c, d, e} {
		n += copy(u[n:], part)
	}
	return u, nil
}

// typed is a value as the test wants to see it.
func typed(v any) map[string]any {
	switch v := v.(type) {
	case nil:
		return map[string]any{"null": nil}
	case bool:
		return map[string]any{"boolean": v}
	case uint8:
		return map[string]any{"ubyte": v}
	case uint16:
		return map[string]any{"ushort": v}
	case uint32:
		return map[string]any{"uint": v}
	case uint64:
		return map[string]any{"ulong": fmt.Sprint(v)}
	case int8:
		return map[string]any{"byte": v}
	case int16:
		return map[string]any{"short": v}
	case int32:
		return map[string]any{"int": v}
	case int64:
		return map[string]any{"long": fmt.Sprint(v)}
	case float32:
		return map[string]any{"float": v}
	case float64:
		return map[string]any{"double": v}
	case time.Time:
		return map[string]any{"timestamp": v.UnixMilli()}
	case amqp.UUID:
		return map[string]any{"uuid": v.String()}
	case []byte:
		return map[string]any{"binary": base64.StdEncoding.EncodeToString(v)}
	case string:
		return map[string]any{"string": v}
	case amqp.Symbol:
		return map[string]any{"symbol": string(v)}
	case []any:
		items := []any{}
		for _, i := range v {
			items = append(items, typed(i))
		}
		return map[string]any{"list": items}
	}
	return map[string]any{fmt.Sprintf("%T", v): fmt.Sprint(v)}
}

func typedEach(m map[string]any) map[string]map[string]any {
	out := map[string]map[string]any{}
	for k, v := range m {
		out[k] = typed(v)
	}
	return out
}

func plainEach(m map[string]map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for k, v := range m {
		var err error
		if out[k], err = plain(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sdk is the message as the SDK takes it.
func (m *annotated) sdk() (*azeventhubs.AMQPAnnotatedMessage, error) {
	out := &azeventhubs.AMQPAnnotatedMessage{MessageAnnotations: map[any]any{}}
	var err error
	switch {
	case m.Data != nil:
		var v any
		if v, err = plain(m.Data); err == nil {
			out.Body.Data = [][]byte{v.([]byte)}
		}
	case m.Sequence != nil:
		var items []any
		for _, i := range m.Sequence {
			v, err := plain(i)
			if err != nil {
				return nil, err
			}
			items = append(items, v)
		}
		out.Body.Sequence = [][]any{items}
	default:
		out.Body.Value, err = plain(m.Value)
	}
	if err != nil {
		return nil, err
	}
	if out.ApplicationProperties, err = plainEach(m.Application); err != nil {
		return nil, err
	}
	annotations, err := plainEach(m.Annotations)
	if err != nil {
		return nil, err
	}
	for k, v := range annotations {
		out.MessageAnnotations[k] = v
	}
	out.Properties, err = propertiesFrom(m.Properties)
	return out, err
}
