package function

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 123e6, time.UTC)

func TestWhatAFunctionIsGiven(t *testing.T) {
	for _, c := range []struct {
		e    event.Event
		want string
	}{
		{event.Event{Body: []byte(` {"celsius": 21.50} `)}, `[{"body": {"celsius": 21.50} ,"origin":{"partition":"","sequence":0}}]`},
		{event.Event{Body: []byte(`no "JSON"`), Key: "k"}, `[{"text":"no \"JSON\"","key":"k","origin":{"partition":"","sequence":0}}]`},
		{event.Event{Body: []byte{0xff}, Repeat: true}, `[{"base64":"/w==","origin":{"partition":"","sequence":0},"repeat":true}]`},
		{event.Event{
			Body: []byte(`1`), Origin: event.Origin{Partition: "3", Sequence: 9007199254740993, Index: 2, Enqueued: noon, Name: "row"},
			Properties: []event.Property{{Name: "b", Value: int64(-1)}, {Name: "a", Value: 2.0}, {Name: "n", Value: nil}, {Name: "x", Value: math.NaN()}},
			System:     []event.Property{{Name: "t", Value: noon}, {Name: "y", Value: []byte{1}}, {Name: "u", Value: uint64(math.MaxUint64)}, {Name: "z", Value: true}},
		}, `[{"body":1,"properties":{"b":-1,"a":2.0,"n":null,"x":null},"system":{"t":{"time":"2026-01-31T12:00:00.123Z"},"y":{"base64":"AQ=="},"u":18446744073709551615,"z":true},` +
			`"origin":{"name":"row","partition":"3","sequence":9007199254740993,"index":2,"enqueued":"2026-01-31T12:00:00.123Z"}}]`},
	} {
		if got := string(appendBatch(nil, []*event.Event{&c.e})); got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestAnswers(t *testing.T) {
	from := func() []*event.Event {
		return []*event.Event{{Body: []byte(`{"a":1}`), Key: "k", Repeat: true, Origin: event.Origin{Sequence: 7}, Properties: []event.Property{{Name: "p", Value: "q"}}}, {Body: []byte(`2`)}}
	}
	for _, c := range []struct{ answer, words string }{
		{`[[],[]]`, ""},
		{`[[{}],[{"body":1,"text":"x"}]]`, "more than one of"},
		{`[[{"properties":{"a":{"b":1}}}],[]]`, "no JSON array of arrays"},
		{`[[]]`, "was given 2 events and answers for 1"},
		{`[[],null]`, "neither an array"},
		{`[[],{}]`, "neither an array"},
		{`[[],[5]]`, "no JSON array"},
		{`{"secret":1}`, "no JSON array"},
		{`secret`, "no JSON array"},
		{``, "no JSON array"},
	} {
		_, err := parseAnswer([]byte(c.answer), from())
		if c.words == "" && err != nil || c.words != "" && (err == nil || !strings.Contains(fault.Message(err), c.words) || strings.Contains(fault.Message(err), "secret")) {
			t.Errorf("%s: %v", c.answer, err)
		}
	}
	out, err := parseAnswer([]byte(`[[{}, {"body": {"b":12345678901234567890.10}, "properties":{"y":1,"x":1.0,"t":{"time":"2026-01-31T12:00:00.123Z"},"b":{"base64":"AQ=="},"u":18446744073709551615}, "key":""}, {"text":""}, {"body":null}, {"base64":"/w==","system":{}}], {"refused":"`+strings.Repeat("é", 600)+`"}]`), from())
	if err != nil || len(out) != 2 || len(out[0].Events) != 5 {
		t.Fatal(out, err)
	}
	e := out[0].Events
	if !reflect.DeepEqual(e[0], from()[0]) {
		t.Errorf("without anything it is not as it was: %+v", e[0])
	}
	want := []event.Property{{Name: "y", Value: int64(1)}, {Name: "x", Value: 1.0}, {Name: "t", Value: noon}, {Name: "b", Value: []byte{1}}, {Name: "u", Value: uint64(math.MaxUint64)}}
	if string(e[1].Body) != `{"b":12345678901234567890.10}` || !reflect.DeepEqual(e[1].Properties, want) || e[1].Key != "" || !e[1].Repeat || e[1].Origin.Sequence != 7 {
		t.Errorf("%s %+v", e[1].Body, e[1])
	}
	if len(e[2].Body) != 0 || string(e[3].Body) != "null" || string(e[4].Body) != "\xff" || len(e[4].System) != 0 {
		t.Errorf("%q %q %q", e[2].Body, e[3].Body, e[4].Body)
	}
	if words := fault.Message(out[1].Refused); !strings.HasPrefix(words, "éé") || len(words) > maxRefused {
		t.Error(words)
	}
}

// What a function is given and answers unchanged is what it was.
func TestThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := []any{nil, "text \x01 é", int64(math.MinInt64), uint64(math.MaxUint64), 1.5, 2.0, 1e300, -0.25, true, false, []byte{0, 255}, noon}
		draw := func() (list []event.Property) {
			for _, n := range []string{"a", "b", `"é`} {
				if rapid.Bool().Draw(t, n) {
					list = append(list, event.Property{Name: n, Value: rapid.SampledFrom(values).Draw(t, "value")})
				}
			}
			return list
		}
		e := &event.Event{
			Body: rapid.OneOf(rapid.Just([]byte(`{"x":[1.0,"é"]}`)), rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) })).Draw(t, "body"),
			Key:  rapid.SampledFrom([]string{"", "k"}).Draw(t, "key"), Properties: draw(), System: draw(),
		}
		batch := []*event.Event{e}
		given := appendBatch(nil, batch)
		out, err := parseAnswer([]byte("["+string(given)+"]"), []*event.Event{{Origin: e.Origin}})
		if err != nil || len(out) != 1 || len(out[0].Events) != 1 {
			t.Fatal(err)
		}
		got := out[0].Events[0]
		if strings.TrimSpace(string(got.Body)) != strings.TrimSpace(string(e.Body)) || !reflect.DeepEqual(got.Properties, e.Properties) || !reflect.DeepEqual(got.System, e.System) || got.Key != e.Key {
			t.Fatalf("%s\ngave %+v\nwas  %+v", given, got, e)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`[[{"body":1}]]`, `[{"refused":"x"}]`, `[[{"text":"a","properties":{"a":1e5,"b":{"time":"2026-01-31T12:00:00Z"}}}]]`, `[[{"base64":"AQ==","key":"k"}]]`, `[[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := parseAnswer(b, []*event.Event{{Body: []byte(`1`)}})
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatal(err)
			}
			return
		}
		if len(out) != 1 || out[0].Refused != nil && len(out[0].Events) > 0 {
			t.Fatalf("%+v", out)
		}
		if given := appendBatch(nil, out[0].Events); !json.Valid(given) {
			t.Fatalf("%q", given)
		}
	})
}
