package contract

import (
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

type (
	field  = resource.ContractField
	fields = []resource.ContractField
)

func f(v float64) *float64 { return &v }

var testKey = []byte("0123456789abcdef0123456789abcdef")

func compile(t testing.TB, messages ...resource.ContractMessage) *Enforcer {
	t.Helper()
	x, err := Compile(&plan.Contract{Name: "ot/telemetry", Version: 3, Spec: resource.ContractSpec{Messages: messages}, HashKey: testKey})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func hashOf(k kind, value string) string {
	s := compile(nil2{}, resource.ContractMessage{Name: "m"}).scratch.Get().(*scratch)
	return string(s.appendHash(nil, k, []byte(value)))
}

type nil2 struct{ testing.TB }

func (nil2) Helper() {}

func TestBodies(t *testing.T) {
	press := hashOf(text, "press-4")
	for _, c := range []struct {
		name   string
		fields fields
		strict bool
		in     string
		out    string // empty: broken
		words  string
	}{
		{name: "only what is listed", fields: fields{{Path: "a"}, {Path: "c"}}, in: `{"a":1, "b":"x", "c":[1, {"d":2}]}`, out: `{"a":1,"c":[1,{"d":2}]}`},
		{name: "nothing of it is there", fields: fields{{Path: "a"}}, in: ` { "b" : {} } `, out: `{}`},
		{name: "inside", fields: fields{{Path: "m.t"}, {Path: "m.p.x"}}, in: `{"m":{"t":1,"u":2,"p":{"y":1}},"t":3}`, out: `{"m":{"t":1}}`},
		{name: "numbers stay as they are", fields: fields{{Path: "a", Type: "number"}}, in: `{"a":12345678901234567890.1230e+05}`, out: `{"a":12345678901234567890.1230e+05}`},
		{name: "texts stay as they are", fields: fields{{Path: "a", Type: "text"}}, in: `{"a":"\u00e9\/é\ud83d\ude00"}`, out: `{"a":"\u00e9\/é\ud83d\ude00"}`},
		{name: "escaped names are names", fields: fields{{Path: "abc"}}, in: `{"\u0061bc":1}`, out: `{"\u0061bc":1}`},
		{name: "renamed beside others", fields: fields{{Path: "a", Rename: "z"}, {Path: "b"}}, in: `{"b":1,"a":{"q":2},"z":3}`, out: `{"b":1,"z":{"q":2}}`},
		{name: "renamed to elsewhere", fields: fields{{Path: "a.b", Rename: "x.y"}, {Path: "c", Rename: "x.z"}, {Path: "d"}}, in: `{"d":0,"c":1,"a":{"b":[2 ],"e":1}}`, out: `{"d":0,"x":{"z":1,"y":[2]}}`},
		{name: "hashed", fields: fields{{Path: "s", Rename: "m", Hash: true}}, in: `{"s":"press\u002d4"}`, out: `{"m":"` + press + `"}`},
		{name: "equal numbers have one hash", fields: fields{{Path: "a", Hash: true}}, in: `{"a":-120.0e-1}`, out: `{"a":"` + hashOf(number, "-12") + `"}`},
		{name: "equal objects have one hash", fields: fields{{Path: "a", Hash: true}}, in: `{"a":{"y":[1.0,"\u0041"],"x":null}}`, out: `{"a":"` + hashOf(container, `{"x":null,"y":[1e1,"A"]}`) + `"}`},
		{name: "dropped inside", fields: fields{{Path: "a"}, {Path: "a.b", Drop: true}}, in: `{"a":{"b":1,"c":{"b":2}}}`, out: `{"a":{"c":{"b":2}}}`},
		{name: "all inside dropped", fields: fields{{Path: "a"}, {Path: "a.b", Drop: true}}, in: `{"a":{"b":1}}`, out: `{"a":{}}`},
		{name: "listed inside dropped", fields: fields{{Path: "a"}, {Path: "a.b", Drop: true}, {Path: "a.b.c"}}, in: `{"a":{"b":{"c":1,"d":2},"e":3}}`, out: `{"a":{"b":{"c":1},"e":3}}`},
		{name: "hashed inside", fields: fields{{Path: "a"}, {Path: "a.*.s", Hash: true}}, in: `{"a":[{"s":"press-4","t":1},2]}`, out: `{"a":[{"s":"` + press + `","t":1},2]}`},
		{name: "moved out of what crosses", fields: fields{{Path: "a"}, {Path: "a.b", Rename: "z.y"}}, in: `{"a":{"b":[1],"c":2}}`, out: `{"z":{"y":[1]},"a":{"c":2}}`},
		{name: "elements", fields: fields{{Path: "l.*.t"}}, in: `{"l":[{"t":1,"u":2},5,{"u":3},{"t":4}]}`, out: `{"l":[{"t":1},{"t":4}]}`},
		{name: "names", fields: fields{{Path: "l.*.t"}}, in: `{"l":{"p":{"t":1,"u":2},"q":5}}`, out: `{"l":{"p":{"t":1}}}`},
		{name: "elements elsewhere keep together", fields: fields{{Path: "a.*.x", Rename: "o.*.p"}, {Path: "b.*.y", Rename: "o.*.q"}}, in: `{"a":[{"x":1},{},{"x":3}],"b":[{},{"y":2},{"y":4}]}`, out: `{"o":[{"p":1},{"q":2},{"p":3,"q":4}]}`},
		{name: "a name fits before a star", fields: fields{{Path: "*.t"}, {Path: "m.t", Drop: true}}, in: `{"m":{"t":1},"n":{"t":2}}`, out: `{"n":{"t":2}}`},
		{name: "a star further down fits what a name does not", fields: fields{{Path: "m.a"}, {Path: "*.b"}}, in: `{"m":{"a":1,"b":2,"c":3}}`, out: `{"m":{"a":1,"b":2}}`},
		{name: "of two that fit equally the stricter holds", fields: fields{{Path: "a.*"}, {Path: "*.b", Drop: true}}, in: `{"a":{"b":1,"c":2}}`, out: `{"a":{"c":2}}`},
		{name: "strict", fields: fields{{Path: "a"}, {Path: "b", Drop: true}}, strict: true, in: `{"a":1,"b":{"x":1}}`, out: `{"a":1}`},
		{name: "strict: not listed", fields: fields{{Path: "a"}}, strict: true, in: `{"a":1,"secret":2}`, words: "a field that is not listed"},
		{name: "strict: not listed inside", fields: fields{{Path: "m.a"}}, strict: true, in: `{"m":{"a":1,"secret":{"x":[2]}}}`, words: "a field that is not listed"},
		{name: "strict: nothing is in it", fields: fields{{Path: "m.a"}}, strict: true, in: `{"m":{"x":{"y":[]}}}`, out: `{}`},
		{name: "required", fields: fields{{Path: "m.a", Required: true}}, in: `{"m":{"secret":1}}`, words: "m.a is missing"},
		{name: "required of each", fields: fields{{Path: "l.*.t", Required: true}}, in: `{"l":[{"t":1},{"secret":2}]}`, words: "l.*.t is missing"},
		{name: "required of one at least", fields: fields{{Path: "l.*.t", Required: true}}, in: `{"l":[]}`, words: "l.*.t is missing"},
		{name: "required and there", fields: fields{{Path: "l.*.t", Required: true}, {Path: "l.a.t"}}, in: `{"l":{"a":{"t":1},"b":{"t":2}}}`, out: `{"l":{"a":{"t":1},"b":{"t":2}}}`},
		{name: "text", fields: fields{{Path: "a", Type: "text"}}, in: `{"a":98765}`, words: "a is no text"},
		{name: "boolean", fields: fields{{Path: "a", Type: "boolean"}}, in: `{"a":"secret"}`, words: "a is neither true nor false"},
		{name: "number", fields: fields{{Path: "a", Type: "number"}}, in: `{"a":[98765]}`, words: "a is no number"},
		{name: "null is nothing of these", fields: fields{{Path: "a", Type: "number"}}, in: `{"a":null}`, words: "a is no number"},
		{name: "too much", fields: fields{{Path: "a", Max: f(500)}}, in: `{"a":500.00000000000000000001}`, words: "a is above 500"},
		{name: "far too much", fields: fields{{Path: "a", Max: f(500)}}, in: `{"a":1e999999999999}`, words: "a is above 500"},
		{name: "too little", fields: fields{{Path: "a", Min: f(0)}}, in: `{"a":-1e-999999999999}`, words: "a is below 0"},
		{name: "just right", fields: fields{{Path: "a", Min: f(0.1), Max: f(0.1)}}, in: `{"a":0.10}`, out: `{"a":0.10}`},
		{name: "one of", fields: fields{{Path: "a", OneOf: []string{"on", "off"}}}, in: `{"a":"o\u006e"}`, out: `{"a":"o\u006e"}`},
		{name: "none of", fields: fields{{Path: "a", OneOf: []string{"on"}}}, in: `{"a":"secret"}`, words: "a is none of the values agreed"},
		{name: "two come to one place", fields: fields{{Path: "*"}, {Path: "a", Rename: "b"}}, in: `{"a":1,"b":98765}`, words: "where another field"},
		{name: "an array and an object come to one place", fields: fields{{Path: "a.*.x", Rename: "o.*.y"}, {Path: "b.*.x", Rename: "o.*.x"}}, in: `{"a":[{"x":1}],"b":{"secret":{"x":2}}}`, words: "where another field"},
		{name: "no object", fields: fields{{Path: "a"}}, in: `["secret"]`, words: "no JSON object"},
		{name: "no JSON", fields: fields{{Path: "a"}}, in: `{"a":1,}`, words: "no JSON"},
		{name: "more behind it", fields: fields{{Path: "a"}}, in: `{"a":1} {"secret":1}`, words: "no JSON"},
		{name: "a name twice", fields: fields{{Path: "a"}}, in: `{"a":1,"\u0061":98765}`, words: "one name twice"},
		{name: "a name twice where nothing crosses", fields: fields{{Path: "a"}}, in: `{"b":{"secret":1,"secret":2}}`, words: "one name twice"},
		{name: "a name twice in what is hashed", fields: fields{{Path: "a", Hash: true}}, in: `{"a":{"secret":1,"secret":2}}`, words: "one name twice"},
		{name: "no UTF-8", fields: fields{{Path: "a"}}, in: "{\"a\":\"\xff\"}", words: "not in UTF-8"},
		{name: "half a surrogate", fields: fields{{Path: "a"}}, in: `{"b":"\ud800"}`, words: "half a surrogate"},
		{name: "too deep", fields: fields{{Path: "a"}}, in: `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}", words: "too deep"},
		{name: "too deep where nothing crosses", fields: fields{{Path: "a"}}, in: `{"b":` + strings.Repeat(`{"c":`, 200) + "1" + strings.Repeat("}", 200) + "}", words: "too deep"},
		{name: "as deep as may be", fields: fields{{Path: "a"}}, in: `{"a":` + strings.Repeat("[", 127) + strings.Repeat("]", 127) + "}", out: `{"a":` + strings.Repeat("[", 127) + strings.Repeat("]", 127) + "}"},
		{name: "too long", fields: fields{{Path: "a"}}, in: `{"a":1,"b":"` + strings.Repeat("x", 16<<20) + `"}`, words: "16 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := resource.ContractMessage{Name: "telemetry", Fields: c.fields}
			if c.strict {
				m.Otherwise = resource.OtherwiseDeadLetter
			}
			e := &event.Event{Body: []byte(c.in)}
			err := compile(t, m).Apply(e)
			switch {
			case c.out != "":
				if err != nil || string(e.Body) != c.out {
					t.Errorf("%s\nbecomes %s\nwant    %s (%v)", c.in, e.Body, c.out, err)
				}
			case err == nil:
				t.Errorf("%.100s becomes %s", c.in, e.Body)
			case !strings.Contains(fault.Message(err), c.words) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "98765"):
				t.Error(err)
			case string(e.Body) != c.in:
				t.Errorf("the event is now %s", e.Body)
			}
		})
	}
}

func TestTypesOfMessages(t *testing.T) {
	x := compile(t,
		resource.ContractMessage{Name: "telemetry", When: `@type == "telemetry"`, Fields: fields{{Path: "celsius"}}},
		resource.ContractMessage{Name: "alarm", When: `this.alarm != null`, WholeBody: true},
		resource.ContractMessage{Name: "empty", When: `this.nothing == true`},
	)
	typed := []event.Property{{Name: "type", Value: "telemetry"}}
	for _, c := range []struct {
		in         string
		properties []event.Property
		out, words string
	}{
		{in: `{"celsius":1,"alarm":2}`, properties: typed, out: `{"celsius":1}`},
		{in: `{"celsius":1, "alarm":2}`, out: `{"celsius":1, "alarm":2}`},
		{in: `{"nothing":true}`, out: ``},
		{in: `{"celsius":1}`, words: "of none of the types"},
		{in: `secret`, words: "condition cannot be evaluated"},
	} {
		e := &event.Event{Body: []byte(c.in), Properties: c.properties}
		err := x.Apply(e)
		if c.words == "" && (err != nil || string(e.Body) != c.out) || c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%s becomes %s, %v", c.in, e.Body, err)
		}
		if err == nil && len(e.Properties) > 0 {
			t.Errorf("properties cross: %v", e.Properties)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	}
}

func TestPropertiesAndKeys(t *testing.T) {
	press := hashOf(text, "press-4")
	device := []event.Property{{Name: event.DeviceID, Value: "press-4"}, {Name: "secret-name", Value: "secret"}}
	for _, c := range []struct {
		name               string
		properties, system fields
		strict             bool
		in                 event.Event
		out                string // name=value... key
		words              string
	}{
		{name: "nothing is listed", in: event.Event{System: device, Properties: device, Key: "press-4"}, out: "| " + press},
		{name: "the device crosses", system: fields{{Path: event.DeviceID}}, in: event.Event{System: device}, out: "|iothub-connection-device-id=press-4 press-4"},
		{name: "the device crosses, the key is another", system: fields{{Path: event.DeviceID}}, in: event.Event{System: device, Key: "line"}, out: "|iothub-connection-device-id=press-4 " + hashOf(text, "line")},
		{name: "the key crosses", system: fields{{Path: "x-opt-partition-key", Required: true}}, in: event.Event{System: device, Key: "line"}, out: "| line"},
		{name: "a device does not cross as a key", system: fields{{Path: "x-opt-partition-key"}}, in: event.Event{System: device}, out: "| " + press},
		{name: "hashed alike", properties: fields{{Path: "p", Hash: true, Rename: "q"}}, system: fields{{Path: event.DeviceID, Hash: true}}, in: event.Event{System: device, Properties: []event.Property{{Name: "p", Value: "press-4"}}}, out: "q=" + press + "|iothub-connection-device-id=" + press + " " + press},
		{name: "every property", properties: fields{{Path: "*"}, {Path: "b", Drop: true}, {Path: "c", Type: "number", Max: f(5)}}, strict: true, in: event.Event{Properties: []event.Property{{Name: "a", Value: true}, {Name: "b", Value: 1.5}, {Name: "c", Value: int64(5)}}}, out: "a=true,c=5| "},
		{name: "not listed", properties: fields{{Path: "a"}}, strict: true, in: event.Event{Properties: device}, words: "a property that is not listed"},
		{name: "missing", system: fields{{Path: "a", Required: true}}, in: event.Event{System: device}, words: "system a is missing"},
		{name: "no number", properties: fields{{Path: "p", Type: "number"}}, in: event.Event{Properties: []event.Property{{Name: "p", Value: "secret"}}}, words: "property p is no number"},
		{name: "too large", properties: fields{{Path: "p", Max: f(1)}}, in: event.Event{Properties: []event.Property{{Name: "p", Value: uint64(18446744073709551615)}}}, words: "property p is above 1"},
		{name: "no text", properties: fields{{Path: "p", Type: "text"}}, in: event.Event{Properties: []event.Property{{Name: "p", Value: []byte("secret")}}}, words: "property p is no text"},
		{name: "two become one", properties: fields{{Path: "*"}, {Path: "a", Rename: "b"}}, in: event.Event{Properties: []event.Property{{Name: "a", Value: true}, {Name: "b", Value: 1.5}}}, words: "where another"},
		{name: "the body is not listed", strict: true, in: event.Event{Body: []byte("secret")}, words: "has a body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := resource.ContractMessage{Name: "telemetry", Properties: c.properties, System: c.system}
			if c.strict {
				m.Otherwise = resource.OtherwiseDeadLetter
			}
			err := compile(t, m).Apply(&c.in)
			if c.words != "" {
				if err == nil || !strings.Contains(fault.Message(err), c.words) || strings.Contains(err.Error(), "secret") {
					t.Error(err)
				}
				return
			}
			if got := show(c.in.Properties) + "|" + show(c.in.System) + " " + c.in.Key; err != nil || got != c.out {
				t.Errorf("%v\ngot  %s\nwant %s", err, got, c.out)
			}
		})
	}
}

func TestRowsOfWindowsAndSizes(t *testing.T) {
	x, err := Compile(&plan.Contract{Name: "a/b", HashKey: testKey, Spec: resource.ContractSpec{
		Messages: []resource.ContractMessage{{Name: "m", WholeBody: true}}, Limits: resource.ContractLimits{BytesPerDay: 10},
	}})
	if err != nil {
		t.Fatal(err)
	}
	row := func(name string) string {
		e := &event.Event{Origin: event.Origin{Name: name}, Body: []byte("0123456789"), Repeat: true}
		if err := x.Apply(e); err != nil || !e.Repeat {
			t.Fatal(err)
		}
		return e.Origin.Name
	}
	a, b := row("window/60/120/press-4"), row("window/60/120/press-5")
	if a == b || a != row("window/60/120/press-4") || strings.Contains(a, "press") || !strings.HasPrefix(a, "window/") {
		t.Error(a, b)
	}
	if err := x.Apply(&event.Event{Body: []byte("0123456789a")}); fault.KindOf(err) != fault.TooLarge {
		t.Error("more than a day's bytes:", err)
	}
}

func TestContradictions(t *testing.T) {
	for words, m := range map[string]resource.ContractMessage{
		"is one value":        {Name: "m", Fields: fields{{Path: "a", Hash: true}, {Path: "a.b", Rename: "c"}}},
		"comes to stand":      {Name: "m", Fields: fields{{Path: "a"}, {Path: "b", Rename: "a"}}},
		"c.d comes to stand":  {Name: "m", Fields: fields{{Path: "a", Rename: "c"}, {Path: "c.d"}}},
		"lists a twice":       {Name: "m", Fields: fields{{Path: "a"}, {Path: "a", Drop: true}}},
		"a.* cannot become b": {Name: "m", Fields: fields{{Path: "a.*", Rename: "b"}}},
		"a cannot become b.*": {Name: "m", Fields: fields{{Path: "a", Rename: "b.*"}}},
		"a number and a text": {Name: "m", Fields: fields{{Path: "a", Max: f(1), OneOf: []string{"x"}}}},
		"no number is":        {Name: "m", Properties: fields{{Path: "a", Max: f(1), Min: f(2)}}},
		"listed twice":        {Name: "m", Properties: fields{{Path: "a"}, {Path: "a"}}},
		"as another does":     {Name: "m", System: fields{{Path: "a"}, {Path: "b", Rename: "a"}}},
		"when":                {Name: "m", When: "this is no Bloblang"},
	} {
		_, err := Compile(&plan.Contract{Name: "a/b", HashKey: testKey, Spec: resource.ContractSpec{Messages: []resource.ContractMessage{m}}})
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), words) {
			t.Errorf("want %q, got %v", words, err)
		}
	}
	if _, err := Compile(&plan.Contract{Name: "a/b", HashKey: testKey}); fault.KindOf(err) != fault.Invalid {
		t.Error("no messages:", err)
	}
	if _, err := Compile(&plan.Contract{Name: "a/b", Spec: resource.ContractSpec{Messages: []resource.ContractMessage{{Name: "m"}}}}); fault.KindOf(err) != fault.Invalid {
		t.Error("no key:", err)
	}
}

func show(list []event.Property) string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name+"="+textOf(p.Value))
	}
	return strings.Join(out, ",")
}

func textOf(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	_, b := new(scratch).property(v)
	return string(b)
}
