package contract

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/resource"
)

// FuzzBody holds the reader of bodies against encoding/json: what it takes that one takes too and reads as the same, and what it refuses
// that one refuses, or has a reason that it says.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{"a":{"b":[1,2.5e-3,"x",null,true,{"c":"\u00e9\ud83d\ude00\n"}],"s":"é"},"b":-0,"z":{}}`, `{}`, ` { "a" : [ ] } `, `{"a":1}x`, `{"a":01}`, `{"a":1.}`,
		`{"a":.5}`, `{"a":-}`, `{"a":1e}`, `{"a":"` + "\x01" + `"}`, `{"a":"\ud800"}`, `{"a":"\ud800\u0041"}`, `{"a":tru}`, `[1]`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}", `{"a":"\x"}`,
		`{"a" 1}`, `{"a":1,}`, `{,}`, `{"a":[1,]}`, `{"a`, "\ufeff{}", "{\"a\":1}\x00", `{"\u0061":1}`,
	} {
		f.Add([]byte(s))
	}
	all := compile(f, resource.ContractMessage{Name: "m", Fields: fields{{Path: "*"}}})
	hashed := compile(f, resource.ContractMessage{Name: "m", Fields: fields{{Path: "*", Hash: true}}})
	some := compile(f, resource.ContractMessage{Name: "m", Fields: fields{{Path: "a.*.c", Rename: "x.*.y"}, {Path: "b", Type: "number"}, {Path: "a.s", Drop: true}}})
	f.Fuzz(func(t *testing.T, body []byte) {
		e := &event.Event{Body: body}
		err := all.Apply(e)
		var want, got map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		werr := d.Decode(&want)
		valid := werr == nil && want != nil && json.Valid(body)
		switch {
		case err == nil && !valid:
			t.Fatalf("%q is taken", body)
		case err != nil && valid:
			ours := []string{"half a surrogate", "one name twice", "too deep", "UTF-8"}
			fine := false
			for _, w := range ours {
				fine = fine || strings.Contains(err.Error(), w)
			}
			if !fine || strings.Contains(err.Error(), "UTF-8") && utf8.Valid(body) {
				t.Fatalf("%q: %v", body, err)
			}
		case err == nil:
			d := json.NewDecoder(bytes.NewReader(e.Body))
			d.UseNumber()
			if err := d.Decode(&got); err != nil || !json.Valid(e.Body) || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q becomes %q: %v", body, e.Body, err)
			}
		}
		if herr := hashed.Apply(&event.Event{Body: body}); (herr == nil) != (err == nil) {
			t.Fatalf("%q: hashed %v, as it is %v", body, herr, err)
		}
		e = &event.Event{Body: body}
		if serr := some.Apply(e); serr == nil && (err != nil || !json.Valid(e.Body)) {
			t.Fatalf("%q becomes %q", body, e.Body)
		}
	})
}

// FuzzDecimal: numbers in canonical form are equal exactly when the numbers are.
func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"0", "-0.0", "1", "10e-1", "0.001", "123.4500e12", "1e99999999999999999999", "-1E+5"} {
		f.Add(s, "1.0")
	}
	form := func(s string) string {
		var d decimal
		d.read([]byte(s))
		return string(d.append(nil))
	}
	isNumber := func(s string) bool {
		r := reader{in: []byte(s)}
		if c := r.next(); r.pos > 0 || c != '-' && (c < '0' || c > '9') {
			return false
		}
		_, err := r.number()
		return err == nil && r.pos == len(s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !isNumber(a) || !isNumber(b) {
			return
		}
		var d decimal
		d.read([]byte(b))
		if c := compare([]byte(a), &d); (c == 0) != (form(a) == form(b)) {
			t.Fatalf("%s and %s compare as %d and are %s and %s", a, b, c, form(a), form(b))
		}
		if short(a) && short(b) {
			x, y := ratio(a), ratio(b)
			if c := compare([]byte(a), &d); c != x.Cmp(y) {
				t.Fatalf("%s and %s compare as %d", a, b, c)
			}
		}
	})
}
