package column

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/message"
	"github.com/isthmus-io/isthmus/resource"
)

// What is picked out of a body is what Bloblang finds in it, whatever the body.
func FuzzPickedIsWhatBloblangFinds(f *testing.F) {
	for _, body := range []string{
		`{"a":1}`, `{"a":{"b":-2.5e3,"c":null},"d":"x"}`, `{"a":{"b":"x\u0041"}}`, `{"a":1,"a":2}`, `{"a":{"b":1},"a":{}}`, `{"a":[1,{"b":2}]}`, `[1]`, `7`, `{"a":1} x`,
		`{"a":01}`, `{"a":1e999}`, `{"a":9223372036854775808}`, `{"a":18446744073709551615,"d":-9223372036854775808}`, `{"a":"ü","d":true}`, "{\"a\":\"\xff\"}", `{"a":{"b":{"c":{}}}}`,
		`{"a":-0,"d":-0.0}`, `{"\u0061":5}`, ``, `{}`, `{"a":"x`, `{"a":123456789012345678901234567890}`, `{"d":0.1,"e":5e-324}`, `null`, `"x"`, ` { "a" : { "b" : false } } `,
	} {
		f.Add([]byte(body))
	}
	texts := []string{"this.a", "this.a.b", "this.d", "this.a.c", "this.e"}
	var fast Set
	var xs []Expression
	var slow []*message.Expression
	for _, text := range texts {
		x, err := fast.Add(text)
		if err != nil {
			f.Fatal(err)
		}
		s, err := message.Compile(text)
		if err != nil {
			f.Fatal(err)
		}
		xs, slow = append(xs, x), append(slow, s)
	}
	look := fast.Look()
	f.Fuzz(func(t *testing.T, body []byte) {
		look.At(&event.Event{Body: body})
		for i, x := range xs {
			got, gerr := look.Value(x)
			any, werr := slow[i].Value(&event.Event{Body: body})
			var want Value
			if werr == nil {
				want, werr = FromAny(any)
			}
			if (gerr == nil) != (werr == nil) || gerr == nil && got != want {
				t.Fatalf("%s of %q: %+v %v, Bloblang says %+v %v", texts[i], body, got, gerr, want, werr)
			}
		}
	})
}

func values() *rapid.Generator[Value] {
	return rapid.Custom(func(t *rapid.T) Value {
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return Value{}
		case 1:
			return truth(rapid.Bool().Draw(t, "bool"))
		case 2:
			return Integer(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-3, 3), rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64, 1<<53 + 1, -1<<53 - 1})).Draw(t, "int"))
		case 3:
			v, err := Number(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{1 << 63, -1 << 63, 1 << 53, 0.5, -0.5, math.MaxFloat64, math.Copysign(0, -1)})).Draw(t, "float"))
			if err != nil {
				return Value{}
			}
			return v
		case 4:
			return Value{Kind: Time, Bits: uint64(rapid.Int64().Draw(t, "time"))}
		case 5:
			return Value{Kind: Text, Text: string(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 'a', 255}), 0, 4).Draw(t, "text"))}
		}
		return Value{Kind: JSON, Text: rapid.SampledFrom([]string{"[]", "{}", "[1]"}).Draw(t, "json")}
	})
}

// Keys are read as what they were made of, and are ordered as the values are, alone and behind each other.
func TestKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOfN(values(), 2, 2).Draw(t, "a"), rapid.SliceOfN(values(), 2, 2).Draw(t, "b")
		key := func(list []Value) (k []byte) {
			for _, v := range list {
				k = v.AppendKey(k)
			}
			return k
		}
		rest := string(key(a))
		for i := range a {
			v, r, err := ReadKey(rest)
			if err != nil || v != a[i] {
				t.Fatalf("%+v is read as %+v: %v", a[i], v, err)
			}
			rest = r
		}
		want := slices.CompareFunc(a, b, Compare)
		if got := bytes.Compare(key(a), key(b)); got != want {
			t.Fatalf("%+v and %+v: keys say %d, values %d", a, b, got, want)
		}
		if x, ok := a[0].Float64(); ok {
			if y, ok := b[0].Float64(); ok && x != y && cmp.Compare(x, y) != Compare(a[0], b[0]) {
				t.Fatalf("%g and %g", x, y)
			}
		}
	})
}

func FuzzReadKey(f *testing.F) {
	f.Add([]byte{3, 0, 0})
	f.Add(Integer(5).AppendKey(nil))
	f.Add(Value{Kind: Text, Text: "a\x00b"}.AppendKey(nil))
	f.Fuzz(func(t *testing.T, key []byte) {
		v, rest, err := ReadKey(string(key))
		if err != nil {
			return
		}
		if again := v.AppendKey(nil); string(again)+rest != string(key) {
			t.Fatalf("%x is %+v, which is %x", key, v, again)
		}
	})
}

func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c\n\x00\u2028", "\xef", "\xef\xbf\xbd", "ü\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got, want string
		b, _ := json.Marshal(s)
		if err := json.Unmarshal(AppendQuoted(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &want); err != nil || got != want {
			t.Fatalf("%q is written as %q", want, got)
		}
	})
}

func TestConversions(t *testing.T) {
	number := func(f float64) Value {
		v, err := Number(f)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	text := func(s string) Value { return Value{Kind: Text, Text: s} }
	for _, c := range []struct {
		v    Value
		to   resource.ColumnType
		want string // "" refused
	}{
		{Value{}, resource.ColumnInteger, "null"},
		{number(21), resource.ColumnInteger, "21"},
		{number(21.5), resource.ColumnInteger, ""},
		{text("21"), resource.ColumnInteger, "21"},
		{text("21x"), resource.ColumnInteger, ""},
		{truth(true), resource.ColumnInteger, ""},
		{number(1e300), resource.ColumnInteger, ""},
		{number(21.5), resource.ColumnNumber, "21.5"},
		{text("1e3"), resource.ColumnNumber, "1000"},
		{text("NaN"), resource.ColumnNumber, ""},
		{text("Inf"), resource.ColumnNumber, ""},
		{text("true"), resource.ColumnBoolean, "true"},
		{text("1"), resource.ColumnBoolean, ""},
		{number(1), resource.ColumnBoolean, ""},
		{number(1.5), resource.ColumnTime, `"1970-01-01T00:00:01.5Z"`},
		{text("2026-01-31T13:00:00+01:00"), resource.ColumnTime, `"2026-01-31T12:00:00Z"`},
		{text("yesterday"), resource.ColumnTime, ""},
		{text("0001-01-01T00:00:00Z"), resource.ColumnTime, ""},
		{number(1.7e12), resource.ColumnTime, ""},
		{Value{Kind: JSON, Text: "[1]"}, resource.ColumnTime, ""},
		{number(21.5), resource.ColumnText, `"21.5"`},
		{Value{Kind: JSON, Text: `{"a":1}`}, "", `"{\"a\":1}"`},
	} {
		got, err := Convert(c.v, c.to)
		if (err == nil) != (c.want != "") || err == nil && string(got.AppendJSON(nil)) != c.want {
			t.Errorf("%+v as %s: %s %v", c.v, c.to, got.AppendJSON(nil), err)
		}
	}
}

func TestNamesAreAdded(t *testing.T) {
	var s Set
	plain, err := s.Add("this.machine.hall")
	if err != nil {
		t.Fatal(err)
	}
	joined, err := s.Add("this.machine.hall", "machine")
	if err != nil {
		t.Fatal(err)
	}
	device, err := s.Add("@device")
	if err != nil {
		t.Fatal(err)
	}
	l := s.Look()
	l.At(&event.Event{Body: []byte(`{"machine":{"hall":"body"}}`), Key: "press-4"})
	if v, err := l.Value(plain); err != nil || v.Text != "body" {
		t.Error(v, err)
	}
	l.With("machine", map[string]any{"hall": "table"})
	if v, err := l.Value(joined); err != nil || v.Text != "table" {
		t.Error(v, err)
	}
	if v, err := l.Value(device); err != nil || v.Text != "press-4" {
		t.Error(v, err)
	}
	l.At(&event.Event{Body: []byte(`[]`)})
	l.With("machine", nil)
	if v, err := l.Value(joined); err == nil {
		t.Errorf("an array was joined: %+v", v)
	}
	if v, err := l.Value(device); err != nil || v.Kind != Null {
		t.Error(v, err)
	}
}

func BenchmarkPick(b *testing.B) {
	var s Set
	at, _ := s.Add("this.at")
	c, _ := s.Add("this.celsius")
	body := []byte(`{"sensor":"press-4","celsius":21.549,"at":"2026-01-31T12:00:00Z","operator":"M. Curie","note":"` + string(bytes.Repeat([]byte("x"), 160)) + `"}`)
	l, e := s.Look(), &event.Event{Body: body}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		l.At(e)
		if _, err := l.Value(at); err != nil {
			b.Fatal(err)
		}
		if _, err := l.Value(c); err != nil {
			b.Fatal(err)
		}
	}
}
