package loosejson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/simulate/loosejson"
)

func TestWhatPeopleWrite(t *testing.T) {
	for text, want := range map[string]string{
		`[{name: "Temp", "random": true, max: 25, min: 23}, {name:'Counter', min:100,},]`: `[{"name":"Temp","random":true,"max":25,"min":23},{"name":"Counter","min":100}]`,
		"\ufeff{\r\n // a remark\r\n \"a\": 1 /* and\n another */ }":                      `{"a":1}`,
		`"\u00e9\ud83d\ude00\ud83d!\n\/"`:                                                 `"é😀` + "\ufffd" + `!\n/"`,
		`'it\'s "so"'`:                                                                    `"it's \"so\""`,
		`-0.50e+3`:                                                                        `-0.50e+3`,
		` null `:                                                                          `null`,
		`{}`:                                                                              `{}`,
		"{\"a\":\"two\nlines\"}":                                                          `{"a":"two\nlines"}`,
		"\"\x01\"":                                                                        `"\u0001"`,
		`{"a":[true,false,null,{"b":[]}],"":0}`:                                           `{"a":[true,false,null,{"b":[]}],"":0}`,
	} {
		v, err := loosejson.Parse(text)
		if got := string(v.Append(nil)); err != nil || got != want {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "line 1, column 1: it ends where a value was expected",
		"{\n  \"é\": x\n}":        "line 2, column 8: a value was expected",
		`{"a" 1}`:                 "line 1, column 6: a colon was expected",
		`{"a": 1 "b": 2}`:         "a comma or the end of an object",
		`[1 2]`:                   "a comma or the end of an array",
		`[1`:                      "a comma or the end of an array",
		`["a`:                     "line 1, column 2: a text has no end",
		`"\x"`:                    "an escape is not known",
		`"\u12`:                   "four hexadecimal digits",
		`1 2`:                     "something follows the end",
		`/* `:                     "a comment has no end",
		`{:1}`:                    "a name was expected",
		`[1e]`:                    "a value was expected",
		`infinity`:                "a value was expected",
		strings.Repeat("[", 1000): "too deep",
	} {
		if v, err := loosejson.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s, %v, want %s", text, v.Append(nil), err, want)
		}
	}
}

// What strict JSON is, is read as encoding/json reads it; what is read is written as strict JSON that is read the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,"\u00e9",null,true]}`, `[{name: 'x', /* c */ values: ["on","off",],},]`, `"\ud83d"`, "\ufeff{}", `{"a":{"a":{}}}`, `"\`, `00.1`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := loosejson.Parse(text)
		if err != nil {
			if _, ok := errors.AsType[*loosejson.SyntaxError](err); !ok {
				t.Fatalf("%T", err)
			}
			return
		}
		again, err := loosejson.Parse(string(v.Append(nil)))
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("%q became %s, %v", text, v.Append(nil), err)
		}
		if !json.Valid([]byte(text)) {
			return
		}
		var ours, theirs any
		if err := json.Unmarshal([]byte(text), &theirs); err != nil {
			return // a number that is too large for Go
		}
		if err := json.Unmarshal(v.Append(nil), &ours); err != nil || !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("%q: %v, %v, want %v", text, ours, err, theirs)
		}
	})
}
