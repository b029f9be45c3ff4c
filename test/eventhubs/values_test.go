package eventhubs

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"testing"
)

// bytesOf is bytes as drivers take them.
func bytesOf(text string) m { return m{"binary": base64.StdEncoding.EncodeToString([]byte(text))} }

// Everything an event may carry besides its body: the properties of a message, and one of each type as application properties. JavaScript
// can neither send uuids nor tell numbers apart.
var (
	allProperties = m{
		"messageId": m{"string": "m-1"}, "userId": bytesOf("user"), "to": m{"string": "there"}, "subject": m{"string": "s"}, "replyTo": m{"string": "back"},
		"correlationId": m{"ulong": "18446744073709551615"}, "contentType": m{"string": "application/json"}, "contentEncoding": m{"string": "utf-8"},
		"absoluteExpiryTime": m{"timestamp": 1900000000000}, "creationTime": m{"timestamp": 1700000000123}, "groupId": m{"string": "g"}, "groupSequence": m{"uint": 4000000000},
		"replyToGroupId": m{"string": "r"},
	}
	allTypes = m{
		"boolean": m{"boolean": true}, "ubyte": m{"ubyte": 255}, "ushort": m{"ushort": 65535}, "uint": m{"uint": 4294967295}, "ulong": m{"ulong": "18446744073709551615"},
		"byte": m{"byte": -128}, "short": m{"short": -32768}, "int": m{"int": -2147483648}, "long": m{"long": "-9223372036854775808"}, "float": m{"float": 1.5},
		"double": m{"double": 2.25}, "timestamp": m{"timestamp": 1700000000123}, "uuid": m{"uuid": "00112233-4455-6677-8899-aabbccddeeff"}, "binary": bytesOf("\x00\xff"),
		"string": m{"string": "käse"}, "symbol": m{"symbol": "sym"}, "small": m{"long": "5"}, "zero": m{"uint": 0}, "empty": m{"string": ""},
	}
	bodies = map[string]m{
		"data":         {"data": bytesOf("\x00\x01 bytes")},
		"no data":      {"data": bytesOf("")},
		"value text":   {"value": m{"string": "text"}},
		"value number": {"value": m{"long": "5000000000"}},
		"value list":   {"value": m{"list": []m{{"int": 7}, {"string": "x"}, {"boolean": false}}}},
		"sequence":     {"sequence": []m{{"string": "a"}, {"int": 7}, {"boolean": true}}},
	}
)

// TestValues: what one SDK sends, it and others get as it was.
func TestValues(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH15", golang.with)
	covers(t, "EH15", withProton)
	covers(t, "EH15", js.with)
	writers := map[string]func(t *testing.T, hub string, message m){
		golang.name: func(t *testing.T, hub string, message m) {
			d := w.driver(t, golang)
			d.must("open", w.by(t, "TLS", d.sdk, hub), m{"client": "p", "kind": "producer"})
			d.must("send", m{"client": "p", "partition": "0", "events": []m{{"message": message}}})
		},
		proton.name: func(t *testing.T, hub string, message m) {
			d := w.driver(t, proton)
			w.protonIn(t, d, hub)
			d.must("send", m{"client": "c", "address": hub, "messages": []m{message}})
		},
	}
	readers := map[string]func(t *testing.T, hub string) answer{
		golang.name: func(t *testing.T, hub string) answer {
			d := w.userOf(t, golang, hub)
			d.read("r", "0", m{"position": m{"earliest": true}})
			return d.receives("r", "0", 1)[0]
		},
		proton.name: func(t *testing.T, hub string) answer {
			d := w.driver(t, proton)
			w.protonIn(t, d, hub)
			return d.must("receive", m{"client": "c", "address": hub + "/ConsumerGroups/$Default/Partitions/0", "count": 1}).events()[0]
		},
	}
	for from, write := range writers {
		for to, read := range readers {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				for name, body := range bodies {
					if name == "sequence" && to == proton.name || from == proton.name && (name == "value list" || name == "no data") { // it cannot say them
						continue
					}
					t.Run(name, func(t *testing.T) {
						hub := w.hub(t, 1)
						message := m{"properties": allProperties, "application": allTypes, "annotations": m{"mine": m{"int": 5}}}
						for k, v := range body {
							message[k] = v
						}
						write(t, hub, message)
						got := read(t, hub)
						sameEach(t, "property", got["properties"], allProperties)
						types := maps.Clone(allTypes)
						if to == golang.name { // to which symbols are strings
							types["symbol"] = m{"string": "sym"}
						}
						sameEach(t, "application property", got["application"], types)
						for kind, v := range body {
							if kind == "sequence" {
								v = m{"list": v}
							}
							same(t, "the body", got["value"], v)
							if have := got.text("kind"); have != "" && have != kind {
								t.Errorf("the body's kind is %s", have)
							}
						}
						annotations, _ := got["annotations"].(m)
						same(t, "the sender's annotation", annotations["mine"], m{"int": 5})
						for name, kind := range map[string]string{"x-opt-sequence-number": "long", "x-opt-offset": "string", "x-opt-enqueued-time": "timestamp"} {
							v, _ := annotations[name].(m)
							if _, ok := v[kind]; !ok {
								t.Errorf("%s is %v, want a %s", name, annotations[name], kind)
							}
						}
					})
				}
			})
		}
	}
	t.Run("Node.js to itself", func(t *testing.T) {
		t.Parallel()
		d := w.user(t, js, 1)
		d.read("r", "0", m{"position": m{"earliest": true}})
		application := m{"text": m{"string": "käse"}, "number": m{"double": 2.5}, "yes": m{"boolean": true}, "when": m{"timestamp": 1700000000123}, "int": m{"int": 7}}
		for name, body := range bodies {
			if name == "value list" { // a list of no one type it sends as data
				continue
			}
			message := m{"application": application, "properties": m{"messageId": m{"string": "m"}, "contentType": m{"string": "x/y"}, "correlationId": m{"string": "c"}, "subject": m{"string": "s"}}}
			for k, v := range body {
				message[k] = v
			}
			d.must("send", m{"client": "p", "partition": "0", "events": []m{{"message": message}}})
			got := d.receives("r", "0", 1)[0]
			for kind := range body {
				if got.text("kind") != kind {
					t.Errorf("%s comes back as %v", name, got["kind"])
				}
			}
			sameEach(t, "property", got["properties"], message["properties"])
			sameEach(t, "application property", got["application"], m{"text": m{"string": "käse"}, "number": m{"number": 2.5}, "yes": m{"boolean": true}, "when": m{"number": 1700000000123}, "int": m{"number": 7}})
		}
	})
}

// same compares what came with what was sent.
func same(t *testing.T, what string, have, want any) {
	t.Helper()
	if h, w := fmt.Sprint(have), fmt.Sprint(want); h != w && !reflect.DeepEqual(number(have), number(want)) {
		t.Errorf("%s is %v, want %v", what, have, want)
	}
}

// number makes all numbers one type, as JSON has one.
func number(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case m:
		out := m{}
		for k, i := range v {
			out[k] = number(i)
		}
		return out
	case []m:
		out := []any{}
		for _, i := range v {
			out = append(out, number(i))
		}
		return out
	case []any:
		out := []any{}
		for _, i := range v {
			out = append(out, number(i))
		}
		return out
	}
	return v
}

// sameEach compares every field that was sent.
func sameEach(t *testing.T, what string, have, want any) {
	t.Helper()
	h, _ := have.(m)
	w, _ := want.(m)
	for name, v := range w {
		same(t, what+" "+name, h[name], v)
	}
}
