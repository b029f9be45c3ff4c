package message_test

import (
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/simulate/message"
	"github.com/isthmus-io/isthmus/simulate/template"
)

var now = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func recipe(t *testing.T, header string, payloads ...message.Payload) *message.Recipe {
	t.Helper()
	v, err := template.NewVariables([]template.Variable{{Name: "Counter"}, {Name: "Quote", Values: []string{`"`}}}, "m")
	if err != nil {
		t.Fatal(err)
	}
	r := &message.Recipe{Variables: v, Payloads: payloads}
	for i := range r.Payloads {
		if text := r.Payloads[i].Fixed; strings.HasPrefix(string(text), "template ") {
			r.Payloads[i].Template = v.Compile(strings.TrimPrefix(string(text), "template "))
		}
	}
	if header != "" {
		r.Header = v.Compile(header)
	}
	r.Prepare()
	return r
}

func fixed(device string, share int, text string) message.Payload {
	return message.Payload{Device: device, Share: share, Fixed: []byte(text)}
}

// drawn always draws the same, as far as it may.
type drawn int64

func (d drawn) Int64N(n int64) int64 { return int64(d) % n }
func (d drawn) Float64() float64     { return 0 }
func (d drawn) Uint64() uint64       { return 0 }

func body(t *testing.T, s *message.Source, random message.Random) string {
	t.Helper()
	_, b, err := s.Next(now, random, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSharesDecide(t *testing.T) {
	r := recipe(t, "", fixed("", 30, "30"), fixed("", 55, "55"), fixed("", 15, "15"))
	for n, want := range map[int64]string{0: "55", 54: "55", 55: "30", 84: "30", 85: "15", 99: "15"} {
		if got := body(t, r.For("d"), drawn(n)); got != want {
			t.Errorf("%d draws %s, want %s", n, got, want)
		}
	}
}

func TestPayloadsOfDevices(t *testing.T) {
	for name, c := range map[string]struct {
		payloads []message.Payload
		want     string // of a, b, c
	}{
		"one is everybody's":      {[]message.Payload{fixed("a", 100, "A")}, "AAA"},
		"each its own":            {[]message.Payload{fixed("b", 100, "B"), fixed("a", 100, "A")}, "ABB"},
		"and one for the rest":    {[]message.Payload{fixed("b", 100, "B"), fixed("", 100, "x"), fixed("a", 100, "A")}, "ABx"},
		"its own ones have share": {[]message.Payload{fixed("a", 40, "1"), fixed("a", 60, "2"), fixed("", 100, "x")}, "2xx"},
	} {
		r := recipe(t, "", c.payloads...)
		got := body(t, r.For("a"), drawn(0)) + body(t, r.For("b"), drawn(0)) + body(t, r.For("c"), drawn(0))
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestAFixedBodyMovesNoVariable(t *testing.T) {
	s := recipe(t, `{"n": "$.Counter"}`, fixed("", 50, "fix"), fixed("", 50, "template $.Counter")).For("d")
	var got []string
	for _, n := range []int64{0, 50, 0, 50} {
		bag, b, err := s.Next(now, drawn(n), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b)+string(bag[strings.LastIndexByte(string(bag), '='):]))
	}
	if s := strings.Join(got, " "); s != "fix=%24.Counter 1=1 fix=1 2=2" {
		t.Errorf("got %s", s)
	}
}

func TestProperties(t *testing.T) {
	r := recipe(t, `{line: 3, "unit": "kPa & °C = 100%", on: true, none: null, "n": "$.Counter", "device/id": '$.DeviceId'}`, fixed("", 100, "template x"))
	bag, _, err := r.For("press 1").Next(now, rand.New(rand.NewPCG(1, 2)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for item := range strings.SplitSeq(string(bag), "&") {
		k, v, _ := strings.Cut(item, "=")
		key, err1 := url.PathUnescape(k)
		value, err2 := url.PathUnescape(v)
		if err1 != nil || err2 != nil {
			t.Fatalf("%s", item)
		}
		got[key] = value
	}
	for k, want := range map[string]string{
		"$.ct": "application/json", "$.ce": "utf-8", "line": "3", "unit": "kPa & °C = 100%", "on": "true", "n": "1", "device/id": "press 1",
	} {
		if got[k] != want {
			t.Errorf("%s is %q, want %q", k, got[k], want)
		}
	}
	if len(got) != 8 || len(got["$.cid"]) != 36 {
		t.Errorf("%v", got)
	}
}

func TestBadHeaders(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": "$.Quote"}`: "Header: once its variables are in, it is no JSON: line 1",
		`["a"]`:            "Header: once its variables are in, it is no JSON object",
		`{"a": {"b": 1}}`:  `Header: the value of "a" is no text`,
	} {
		err := recipe(t, text, fixed("", 100, "template x")).Check("d", drawn(0))
		if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.Message(err), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	v, err := template.NewVariables([]template.Variable{{Name: "Counter"}}, "m")
	if err != nil {
		b.Fatal(err)
	}
	r := &message.Recipe{Variables: v, Payloads: []message.Payload{{Share: 100, Template: v.Compile(`{"deviceId": "$.DeviceId", "time": "$.Time", "counter": $.Counter}`)}}}
	r.Prepare()
	s, random := r.For("sim000001"), rand.New(rand.NewPCG(1, 2))
	bag, body := make([]byte, 0, 512), make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		bag, body, _ = s.Next(now, random, bag[:0], body[:0])
	}
}
