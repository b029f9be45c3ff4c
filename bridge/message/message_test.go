package message_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/message"
	"github.com/isthmus-io/isthmus/fault"
)

var cameIn = time.Date(2026, 11, 22, 12, 30, 0, 5_000_000, time.UTC)

func press() *event.Event {
	return &event.Event{
		Origin: event.Origin{Partition: "3", Sequence: 9007199254740993, Enqueued: cameIn},
		Body:   []byte(`{"t":21.5,"n":9007199254740993,"on":true,"list":[1,2],"deep":{"a":"<x>"}}`),
		Properties: []event.Property{
			{Name: "type", Value: "telemetry"}, {Name: "count", Value: int64(7)}, {Name: "raw", Value: []byte{1, 2}}, {Name: "at", Value: cameIn}, {Name: "device", Value: "I am another"},
			{Name: event.DeviceID, Value: "and here too"},
		},
		System: []event.Property{{Name: event.DeviceID, Value: "press-4"}, {Name: event.ContentType, Value: "application/json"}},
		Key:    "press-4",
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string]any{
		"this.t":                    "21.5",
		"this.n":                    "9007199254740993",
		"this.on":                   true,
		"let x = this.t\nroot = $x": "21.5",
		"let x = this.t\nroot = if $x > 100 { 1 }": nil,
		"let x = @type\nroot = $x":                 "telemetry",
		"this.deep.a":                              "<x>",
		"this.missing":                             nil,
		"deleted()":                                nil,
		"nothing()":                                nil,
		"@device":                                  "press-4",
		`metadata("device")`:                       "press-4",
		`meta("partition")`:                        "3",
		"@sequence":                                int64(9007199254740993),
		"@enqueued":                                "2026-11-22T12:30:00.005Z",
		"@key":                                     "press-4",
		"@type":                                    "telemetry",
		"@count + 1":                               int64(8),
		`@."iothub-connection-device-id"`:          "press-4",
		"@module":                                  nil,
		"@.at":                                     "2026-11-22T12:30:00.005Z",
		`this.t > 20 && @type == "telemetry"`:      true,
		"content().length()":                       int64(73),
	} {
		x, err := message.Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := x.Value(press())
		if n, ok := got.(json.Number); ok {
			got = n.String()
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, %v; want %#v", text, got, err, want)
		}
	}
}

func TestConditionsAreTrueOrFalse(t *testing.T) {
	for text, want := range map[string]string{"this.on": "", "this.t": "a number", "this.missing": "null", "this.deep": "an object", "this.list": "an array", `"true"`: "a text"} {
		x, err := message.Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		ok, err := x.Bool(press())
		if want == "" && (!ok || err != nil) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %v", text, ok, err)
		}
	}
	x, _ := message.Compile("this.on")
	if _, err := x.Bool(&event.Event{Body: []byte("no json")}); err == nil {
		t.Error("a body that is no JSON has a field")
	}
}

// What a manifest says can reach the event and nothing else.
func TestNothingOutsideIsReached(t *testing.T) {
	for _, text := range []string{
		`env("PATH")`, `file("/etc/passwd")`, `hostname()`, "now()", "random_int()", "uuid_v4()", `count("x")`, "timestamp_unix()", `counter()`, "batch_index()", "tracing_id()",
		`import "/etc/passwd"`, `from "/etc/passwd"`, `content().bloblang()`, `content().decompress("gzip")`, "", " ", "this.", `fake("name")`,
	} {
		if _, err := message.Compile(text); fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := message.CompileMapping("root.x = " + text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("root.x = %q: %v", text, err)
		}
	}
	x, err := message.CompileMapping("map deeper { root = this.apply(\"deeper\") }\nroot = this.apply(\"deeper\")")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := x.Apply(press()); err == nil {
		t.Errorf("a mapping without an end gives %v", out)
	}
}

func TestAViewReadsOnce(t *testing.T) {
	v := message.Look(press())
	if err := v.With("joined", map[string]any{"place": "Ulm"}); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"this.joined.place": "Ulm", "this.t": "21.5", "this.list": "[1,2]", "@device": "press-4", "this.deep": `{"a":"\u003cx\u003e"}`} {
		x, err := message.Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok, err := v.Text(x); got != want || !ok || err != nil {
			t.Errorf("%s is %s, %v, %v", text, got, ok, err)
		}
	}
	x, _ := message.Compile("this.missing")
	if got, ok, err := v.Text(x); got != "" || ok || err != nil {
		t.Errorf("null is %q, %v, %v", got, ok, err)
	}
	if err := message.Look(&event.Event{Body: []byte("[1]")}).With("x", 1); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an array takes a name: %v", err)
	}
}

func TestMappings(t *testing.T) {
	for text, want := range map[string]string{
		"root.f = this.t * 2":       `{"f":43}`,
		"root = this.deep":          `{"a":"<x>"}`,
		`root = "text"`:             "text",
		"root = deleted()":          "",
		"root = this.list":          "1 | 2",
		"root = []":                 "",
		`root = [{"a":1},"b",null]`: `{"a":1} | b | null`,
		"root = this.list.format_json(no_indent: true)": "[1,2]",
		`root = this.filter(x -> x.key == "n")`:         `{"n":9007199254740993}`,
		`meta extra = "e"`:                              string(press().Body),
		"root = if this.t > 100 { deleted() }":          string(press().Body),
	} {
		x, err := message.CompileMapping(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		e := press()
		out, err := x.Apply(e)
		var got []string
		for _, o := range out {
			got = append(got, string(o.Body))
			if o.Origin != e.Origin {
				t.Errorf("%s: its origin is %+v", text, o.Origin)
			}
		}
		if err != nil || strings.Join(got, " | ") != want {
			t.Errorf("%s gives %q, %v", text, got, err)
		}
		if !reflect.DeepEqual(e, press()) {
			t.Errorf("%s changed the event: %+v", text, e)
		}
	}
	x, _ := message.CompileMapping("root.x = this.deep.a + 1")
	if out, err := x.Apply(press()); err == nil {
		t.Errorf("a text and a number are %v", out)
	}
}

func TestMappingsChangeProperties(t *testing.T) {
	x, err := message.CompileMapping(`
		meta type = "state"
		meta count = deleted()
		meta added = 5
		meta big = {"a":1}
		meta "content-encoding" = "utf-8"
		meta device = "somebody"
		meta key = "k2"`)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x.Apply(press())
	if err != nil || len(out) != 1 {
		t.Fatal(out, err)
	}
	want := press()
	want.Properties = []event.Property{
		{Name: "type", Value: "state"}, {Name: "raw", Value: []byte{1, 2}}, {Name: "at", Value: cameIn}, {Name: "device", Value: "I am another"}, {Name: event.DeviceID, Value: "and here too"},
		{Name: "added", Value: int64(5)}, {Name: "big", Value: `{"a":1}`},
	}
	want.System = append(want.System, event.Property{Name: event.ContentEncoding, Value: "utf-8"})
	want.Key = "k2"
	if !reflect.DeepEqual(out[0], want) {
		t.Errorf("got  %+v\nwant %+v", out[0], want)
	}
}

// An event that a mapping did not touch is the event.
func TestThereAndBack(t *testing.T) {
	e := press()
	back, err := message.Event(message.New(e), e)
	if err != nil || !reflect.DeepEqual(back, e) {
		t.Errorf("got  %+v, %v\nwant %+v", back, err, e)
	}
}

func FuzzMapping(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}]}`, "", "[]", `"x"`, "{", `{"a":1e999}`, "\xff\x00", `{"a":-0.0,"b":18446744073709551615}`} {
		f.Add([]byte(s), "device", "value")
	}
	x, err := message.CompileMapping("root = this.map_each(x -> x.value)\nmeta y = @device.or(\"\") + @sequence.string()\nmeta z = this.keys().length()")
	if err != nil {
		f.Fatal(err)
	}
	same, err := message.CompileMapping(`meta nothing = @nothing.or(deleted())`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, name, value string) {
		e := &event.Event{Origin: event.Origin{Partition: "0", Sequence: 5}, Body: body, Properties: []event.Property{{Name: name, Value: value}}, System: []event.Property{{Name: name, Value: value}}}
		before := fmt.Sprint(e)
		_, _ = x.Apply(e)
		out, err := same.Apply(e)
		if fmt.Sprint(e) != before {
			t.Errorf("%s became %v", before, e)
		}
		if name != "nothing" && (err != nil || len(out) != 1 || fmt.Sprint(out[0]) != before) {
			t.Errorf("%s became %v, %v", before, out, err)
		}
	})
}
