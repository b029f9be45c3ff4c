package twin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/twin"
)

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 123_456_789, time.UTC)
	later = noon.Add(time.Minute)
)

func service(t testing.TB, d twin.Document, patch string, now time.Time) twin.Document {
	t.Helper()
	c, err := twin.ReadPatch([]byte(patch))
	if err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
	d, err = d.With(c, now)
	if err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
	return d
}

func device(t testing.TB, d twin.Document, patch string, now time.Time) twin.Document {
	t.Helper()
	c, err := twin.ReadReported([]byte(patch))
	if err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
	d, err = d.With(c, now)
	if err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
	return d
}

func asJSON(t testing.TB, d twin.Document) string {
	t.Helper()
	out, err := d.AppendJSON([]byte("{"))
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, '}')
	if !json.Valid(out) {
		t.Fatalf("no JSON: %s", out)
	}
	return string(out)
}

func TestATwinThroughItsLife(t *testing.T) {
	d := twin.New()
	if d.ETag() != "AAAAAAAAAAE=" {
		t.Error(d.ETag())
	}
	want := `{"version":2,"tags":{},"properties":{"desired":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1},` +
		`"reported":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}}}`
	if got := asJSON(t, d); got != want {
		t.Errorf("new\n got %s\nwant %s", got, want)
	}
	if got := string(d.ForDevice()); got != `{"desired":{"$version":1},"reported":{"$version":1}}` {
		t.Error(got)
	}
	d = service(t, d, `{"tags":{"site":"b"},"properties":{"desired":{"z":{"on":true,"rate":5},"a":[1, {"c":null}]}}}`, noon)
	d = device(t, d, ` { "fw" : "1.\u0030", "z":{"on":true} } `, noon)
	if d.Version != 4 || d.ETag() != "AAAAAAAAAAI=" || d.Desired.Version != 2 || d.Reported.Version != 2 {
		t.Errorf("%+v %s", d, d.ETag())
	}
	d = service(t, d, `{"properties":{"desired":{"z":{"on":null,"new":"é\t"},"$version":77,"$metadata":{"a.b":1e999}}}}`, later)
	if got, want := string(d.ForDevice()), `{"desired":{"a":[1,{"c":null}],"z":{"new":"é\t","rate":5},"$version":3},"reported":{"fw":"1.0","z":{"on":true},"$version":2}}`; got != want {
		t.Errorf("for the device\n got %s\nwant %s", got, want)
	}
	n, l := `"$lastUpdated":"2026-11-22T12:00:00.1234567Z"`, `"$lastUpdated":"2026-11-22T12:01:00.1234567Z"`
	want = `{"version":5,"tags":{"site":"b"},"properties":{"desired":{"a":[1,{"c":null}],"z":{"new":"é\t","rate":5},"$metadata":{` + l + `,"$lastUpdatedVersion":3,` +
		`"a":{` + n + `,"$lastUpdatedVersion":2},"z":{` + l + `,"$lastUpdatedVersion":3,"new":{` + l + `,"$lastUpdatedVersion":3},"rate":{` + n + `,"$lastUpdatedVersion":2}}},"$version":3},` +
		`"reported":{"fw":"1.0","z":{"on":true},"$metadata":{` + n + `,"fw":{` + n + `},"z":{` + n + `,"on":{` + n + `}}},"$version":2}}}`
	if got := asJSON(t, d); got != want {
		t.Errorf("for services\n got %s\nwant %s", got, want)
	}
	d = service(t, d, `{"tags":null,"properties":{"desired":null,"reported":{"fw":"2"}},"deviceId":"x","extra":[{"a.b":{}}]}`, later)
	if d.Tags != "{}" || d.Desired.Text != "{}" || d.Desired.Version != 4 || d.Version != 6 || !strings.Contains(d.Reported.Text, "1.0") {
		t.Errorf("emptied: %+v", d)
	}
	same := service(t, d, `{"properties":{}}`, later)
	if same != d {
		t.Errorf("nothing asked, and it became %+v", same)
	}
}

func TestAReplacementLeavesWhatItDoesNotName(t *testing.T) {
	d := device(t, service(t, twin.New(), `{"tags":{"a":1},"properties":{"desired":{"b":{"c":1},"d":2}}}`, noon), `{"e":1}`, noon)
	c, err := twin.ReadReplacement([]byte(`{"properties":{"desired":{"b":{"x":null,"y":{}}},"reported":{"f":1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	d, err = d.With(c, later)
	if err != nil || d.Tags != `{"a":1}` || d.Desired.Text != `{"b":{"y":{}}}` || d.Desired.Version != 3 || d.Reported.Text != `{"e":1}` {
		t.Errorf("%+v, %v", d, err)
	}
	if got := string(c.Notification(d)); got != `{"b":{"y":{}},"$version":3}` {
		t.Error(got)
	}
	if c, err = twin.ReadWhole([]byte(asWhole)); err != nil {
		t.Fatal(err)
	}
	if d, err = d.With(c, later); err != nil || d.Tags != `{"t":1}` || d.Reported.Text != `{"r":1}` || d.Reported.Version != 3 {
		t.Errorf("%+v, %v", d, err)
	}
}

const asWhole = `{"deviceId":"d","version":9,"tags":{"t":1},"properties":{"desired":{"$version":9},"reported":{"r":1,"$metadata":{"r":{}}}}}`

func TestWhatDevicesAndRoutesAreTold(t *testing.T) {
	before := service(t, twin.New(), `{"properties":{"desired":{"gone":1,"kept":1}}}`, noon)
	c, err := twin.ReadPatch([]byte(`{"tags":{"t":null},"properties":{"desired":{"gone":null,"o":{"x":1}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	after, err := before.With(c, noon)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Notification(after)); got != `{"gone":null,"o":{"x":1},"$version":3}` {
		t.Error(got)
	}
	l := `"$lastUpdated":"2026-11-22T12:00:00.1234567Z","$lastUpdatedVersion":3`
	if got, want := string(c.Event(after, noon)), `{"version":4,"tags":{"t":null},"properties":{"desired":{"gone":null,"o":{"x":1},"$metadata":{`+l+`,"o":{`+l+`,"x":{`+l+`}}},"$version":3}}}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if c, err = twin.ReadReported([]byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if after, err = after.With(c, noon); err != nil || c.Notification(after) != nil {
		t.Errorf("%v, %s", err, c.Notification(after))
	}
	if got := string(c.Event(after, noon)); !strings.HasPrefix(got, `{"version":5,"properties":{"reported":{"a":1,"$metadata":{"$lastUpdated":"2026`) || !json.Valid([]byte(got)) {
		t.Error(got)
	}
}

// deep is an object with this many objects below it.
func deep(n int) string { return strings.Repeat(`{"k":`, n) + `{}` + strings.Repeat(`}`, n) }

func TestHostileChangesAreRefusedWithWords(t *testing.T) {
	long := strings.Repeat("x", 5000)
	many := func(n int, each string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%04d":%s`, i, each)
		}
		return "{" + b.String()[1:] + "}"
	}
	for _, tc := range []struct {
		patch string
		kind  fault.Kind
		words string
	}{
		{deep(10), 0, ""},
		{deep(11), fault.Invalid, "nested deeper than 10"},
		{`{"a":` + strings.Repeat("[", 9) + "{}" + strings.Repeat("]", 9) + "}", 0, ""},
		{`{"a":` + strings.Repeat("[", 10) + "{}" + strings.Repeat("]", 10) + "}", fault.Invalid, "nested deeper"},
		{strings.Repeat(`{"k":`, 20000), fault.Invalid, "nested deeper"},
		{`{"$metadata":` + strings.Repeat("[", 50000), fault.Invalid, "nested deeper than 64"},
		{`{"a":{"b.c":1}}`, fault.Invalid, `reported.a.b.c: a key may not hold '.'`},
		{`{"a":{"$x":1}}`, fault.Invalid, `a key may not hold '$'`},
		{`{"a":{"$version":1}}`, fault.Invalid, `a key may not hold '$'`},
		{`{"$iothub":1}`, fault.Invalid, `a key may not hold '$'`},
		{`{"a":[{"x y":1}]}`, fault.Invalid, `reported.a[].x y: a key may not hold ' '`},
		{`{"a\u0085":1}`, fault.Invalid, "control character U+0085"},
		{`{"":1}`, fault.Invalid, "a key is empty"},
		{`{"` + long[:1024] + `":1}`, 0, ""},
		{`{"` + long[:1025] + `":1}`, fault.Invalid, "the key has 1025 bytes, 1024 are allowed"},
		{`{"a":1,"b":2,"a":3}`, fault.Invalid, "reported.a: the key is given twice"},
		{`{"a":1,"\u0061":3}`, fault.Invalid, "given twice"},
		{`{"a":[{"b":1,"b":2}]}`, fault.Invalid, "reported.a[].b: the key is given twice"},
		{`{"a":"` + long[:4096] + `"}`, 0, ""},
		{`{"a":"` + long[:4097] + `"}`, fault.Invalid, "reported.a: the string has 4097 bytes"},
		{`{"a":"\ud800"}`, fault.Invalid, "an escape"},
		{`{"a":"\ud83d\ude00\/"}`, 0, ""},
		{`{"a":"\u0000"}`, fault.Invalid, "U+0000"},
		{"{\"a\":\"\xff\"}", fault.Invalid, "UTF-8"},
		{"{\"a\":\"\n\"}", fault.Invalid, "no JSON"},
		{`{"a":4503599627370495,"b":-4503599627370496}`, 0, ""},
		{`{"a":4503599627370496}`, fault.Invalid, "reported.a: the integer is not between"},
		{`{"a":-99999999999999999999999999}`, fault.Invalid, "the integer"},
		{`{"a":1e17,"b":1.50,"c":-0}`, 0, ""},
		{`{"a":1e999}`, fault.Invalid, "reported.a: the number does not fit"},
		{`{"a":0.` + strings.Repeat("0", 100) + `}`, fault.Invalid, "the number is written with 102"},
		{`{"a":NaN}`, fault.Invalid, `at byte 5 (reported.a) is 'N'`},
		{`{"a":01}`, fault.Invalid, "no JSON"}, {`{"a":1.}`, fault.Invalid, "a digit"}, {`{"a":+1}`, fault.Invalid, "a value"}, {`{"a":.5}`, fault.Invalid, "a value"},
		{`{"a":1,}`, fault.Invalid, "a key in double quotes"}, {`{"a" 1}`, fault.Invalid, "a colon"}, {`{"a":1`, fault.Invalid, "it ends"}, {`{"a":[1,]}`, fault.Invalid, "a value"},
		{`{"a":tru}`, fault.Invalid, "a value"}, {`{"a":1} x`, fault.Invalid, "the end"}, {`{'a':1}`, fault.Invalid, "double quotes"}, {``, fault.Invalid, "it ends"}, {" ", fault.Invalid, "it ends"},
		{`[]`, fault.Invalid, "reported is no JSON object"}, {`null`, fault.Invalid, "no JSON object"}, {`"a"`, fault.Invalid, "no JSON object"},
		{many(2340, `1`), 0, ""}, // 5 + 8 bytes each
		{many(2521, `1`), fault.TooLarge, "properties.reported would have 32773 bytes, 32768 are allowed"},
		{many(3000, `"\u0001\u0001\u0001"`), 0, ""},
		{many(5000, `"\u0001\u0001\u0001"`), fault.TooLarge, "the text has"},
		{`{"a":[` + strings.Repeat("[],", 50000) + `[]]}`, fault.TooLarge, "the text has"},
		{`{"a":[` + strings.Repeat("[],", 40000) + `[]]}`, 0, ""},
	} {
		name := tc.patch[:min(len(tc.patch), 40)]
		c, err := twin.ReadReported([]byte(tc.patch))
		if err == nil {
			var d twin.Document
			if d, err = twin.New().With(c, noon); err == nil {
				asJSON(t, d)
			} else if d.Reported != twin.New().Reported {
				t.Errorf("%s: refused, and changed", name)
			}
		}
		switch {
		case (err == nil) != (tc.words == ""):
			t.Errorf("%s: %v", name, err)
		case err != nil && (fault.KindOf(err) != tc.kind || !strings.Contains(fault.Message(err), tc.words)):
			t.Errorf("%s: %v, want %v %q", name, err, tc.kind, tc.words)
		case err != nil && len(fault.Message(err)) > 600:
			t.Errorf("%s: %d bytes of words", name, len(fault.Message(err)))
		}
	}
}

func TestHostileBodiesOfServices(t *testing.T) {
	for body, words := range map[string]string{
		`[]`:                                   "the document: this is no JSON object",
		`{"tags":[]}`:                          "tags is no JSON object",
		`{"properties":1}`:                     "properties: this is no JSON object",
		`{"tags":{},"tags":{}}`:                "tags: the key is given twice",
		`{"tags":{"a":` + deep(10) + `}}`:      "tags.a.k.k",
		`{"properties":{"desired":{"a b":1}}}`: "properties.desired.a b: a key may not hold",
		`{"other":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`: "nested deeper than 64",
	} {
		_, err := twin.ReadPatch([]byte(body))
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), words) {
			t.Errorf("%s: %v", body, err)
		}
	}
	big, err := twin.ReadPatch([]byte(`{"tags":{"a":"` + strings.Repeat("x", 4096) + `","b":"` + strings.Repeat("x", 4095) + `"}}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = twin.New().With(big, noon)
	if fault.KindOf(err) != fault.TooLarge || !strings.Contains(fault.Message(err), "tags would have 8193 bytes, 8192 are allowed") {
		t.Error(err)
	}
	free, err := twin.ReadPatch([]byte(`{"tags":{"a":[` + strings.Repeat("[],", 11000) + `[]]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = twin.New().With(free, noon); fault.KindOf(err) != fault.TooLarge || !strings.Contains(fault.Message(err), "bytes of text, 32768 are allowed") {
		t.Error(err)
	}
}

func TestAStoredTwinThatIsBrokenIsOurMistake(t *testing.T) {
	c, err := twin.ReadReported([]byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"{", "[]", `{"a":1}x`} {
		d := twin.New()
		d.Reported.Text = text
		if _, err := d.With(c, noon); fault.KindOf(err) != fault.Internal {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, meta := range []string{"{}", "[", "[[[[", "[1,2,3", "[1,2,[3,4],0,0,0]", "]]", "0,0", "[9999999999999999999999,1]"} {
		d := twin.New()
		d.Reported.Text, d.Reported.Meta = `{"a":{"b":1},"c":[]}`, meta
		asJSON(t, d)
		asJSON(t, device(t, d, `{"a":{"d":1}}`, noon))
	}
}
