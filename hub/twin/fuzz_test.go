package twin_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/twin"
)

// merge is RFC 7396 as its section 2 writes it.
func merge(target any, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	out := map[string]any{}
	for k, v := range t {
		out[k] = v
	}
	for k, v := range p {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = merge(out[k], v)
		}
	}
	return out
}

func decoded(t interface{ Fatalf(string, ...any) }, text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// ages is the slow twin of metadata: what was written when, by path, as {"": n, key: {...}}.
func ages(old any, patch any, n float64) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return map[string]any{"": n}
	}
	out := map[string]any{}
	if o, ok := old.(map[string]any); ok {
		for k, v := range o {
			out[k] = v
		}
	}
	out[""] = n
	for k, v := range p {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = ages(out[k], v, n)
		}
	}
	return out
}

// shown turns $metadata into the form of ages.
func shown(m map[string]any) any {
	out := map[string]any{}
	for k, v := range m {
		switch k {
		case "$lastUpdated":
		case "$lastUpdatedVersion":
			out[""] = v
		default:
			out[k] = shown(v.(map[string]any))
		}
	}
	return out
}

// values draws values for which a key is drawn from few, so that patches meet what is there.
func values(depth int) *rapid.Generator[any] {
	key := rapid.SampledFrom([]string{"a", "b", "é", "\"", "a-very-long-key", "\\"})
	return rapid.Custom(func(t *rapid.T) any {
		kind := rapid.IntRange(0, 9).Draw(t, "kind")
		if depth == 0 && kind > 5 {
			kind -= 5
		}
		switch kind {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return float64(rapid.Int64Range(-1<<52, 1<<52-1).Draw(t, "int"))
		case 3:
			return rapid.Float64Range(-1e9, 1e9).Draw(t, "float")
		case 4, 5:
			return strings.ReplaceAll(rapid.String().Draw(t, "string"), "\x00", "\x01")
		case 6:
			return rapid.SliceOfN(values(depth-1), 0, 3).Draw(t, "array")
		default:
			return rapid.MapOfN(key, values(depth-1), 0, 4).Draw(t, "object")
		}
	})
}

func objects() *rapid.Generator[any] {
	return values(3).Filter(func(v any) bool { _, ok := v.(map[string]any); return ok })
}

func TestATwinIsWhatASlowOneIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := twin.New()
		var want, wantAges any = map[string]any{}, map[string]any{}
		for n := range rapid.IntRange(1, 8).Draw(t, "patches") {
			patch := objects().Draw(t, "patch")
			replace := n > 0 && rapid.IntRange(0, 5).Draw(t, "replace") == 0
			text, err := json.Marshal(patch)
			if err != nil {
				t.Fatalf("%v", err)
			}
			read := twin.ReadPatch
			if replace {
				read, want, wantAges = twin.ReadReplacement, map[string]any{}, map[string]any{}
			}
			c, err := read([]byte(`{"properties":{"desired":` + string(text) + `}}`))
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			before := d
			if d, err = d.With(c, noon); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if d.Version != before.Version+1 || d.Desired.Version != before.Desired.Version+1 || d.Reported != before.Reported {
				t.Fatalf("versions: %+v then %+v", before, d)
			}
			want, wantAges = merge(want, patch), ages(wantAges, patch, float64(d.Desired.Version))
			if got := decoded(t, d.Desired.Text); !reflect.DeepEqual(got, want) {
				t.Fatalf("after %s\n got %v\nwant %v", text, got, want)
			}
			whole, err := d.AppendJSON([]byte("{"))
			if err != nil {
				t.Fatalf("%v", err)
			}
			desired := decoded(t, string(whole)+"}").(map[string]any)["properties"].(map[string]any)["desired"].(map[string]any)
			if got := shown(desired["$metadata"].(map[string]any)); !reflect.DeepEqual(got, wantAges) {
				t.Fatalf("metadata after %s (%s)\n got %v\nwant %v", text, d.Desired.Meta, got, wantAges)
			}
			told := decoded(t, string(c.Notification(d))).(map[string]any)
			delete(told, "$version")
			if expected := patch; !replace && !reflect.DeepEqual(told, expected) || replace && !reflect.DeepEqual(told, want) {
				t.Fatalf("the device is told %v of %v", told, expected)
			}
			if event := decoded(t, string(c.Event(d, noon))); event.(map[string]any)["version"] != float64(d.Version) {
				t.Fatalf("event %v", event)
			}
		}
	})
}

func FuzzTwinPatch(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1}`, `{"a":{"b":null,"c":[1,{"d":"\u00e9\ud83d\ude00\n"}]}}`, `{"z":1,"a":-0.5e-3,"$version":3,"$metadata":{"x.y":{}}}`, `{"a":1,"a":2}`, deep(11), "{\"\xff\":1}",
		`{"a b":1}`, ` { "k" : [ ] , "l" : { } } `, `{"a":4503599627370496}`, `[`, `{"a":tr`, `{"c":{"d":{}}}`, `{"b":{"y":2},"c":7}`,
	} {
		f.Add([]byte(s))
	}
	before := device(f, twin.New(), `{"a":{"b":1,"q":[2]},"b":{"x":1},"c":{"d":{"e":true}}}`, noon)
	f.Fuzz(func(t *testing.T, patch []byte) {
		c, err := twin.ReadReported(patch)
		if err != nil {
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge || !utf8.ValidString(fault.Message(err)) {
				t.Fatalf("%q: %v", patch, err)
			}
			return
		}
		if !json.Valid(patch) {
			t.Fatalf("%q is no JSON and was taken", patch)
		}
		after, err := before.With(c, later)
		if err != nil {
			if fault.KindOf(err) != fault.TooLarge || after.Reported != before.Reported {
				t.Fatalf("%q: %v", patch, err)
			}
			return
		}
		if after.Reported.Version != before.Reported.Version+1 || after.Desired != before.Desired || after.Tags != before.Tags {
			t.Fatalf("%q: %+v", patch, after)
		}
		p := decoded(t, string(patch)).(map[string]any)
		delete(p, "$version")
		delete(p, "$metadata")
		if got, want := decoded(t, after.Reported.Text), merge(decoded(t, before.Reported.Text), p); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q\n got %v\nwant %v", patch, got, want)
		}
		asJSON(t, after)
		decoded(t, string(c.Event(after, later)))
		decoded(t, string(after.ForDevice()))
		// What was stored reads as it was written: an empty patch changes times only.
		nothing, err := twin.ReadReported([]byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := after.With(nothing, later); err != nil || again.Reported.Text != after.Reported.Text || again.Reported.Meta != after.Reported.Meta {
			t.Fatalf("%q: %+v then %+v, %v", patch, after.Reported, again.Reported, err)
		}
	})
}
