package hubstore

import "testing"

func TestFindReadsWhatTwinsAreKeptAs(t *testing.T) {
	const object = `{"":0,"a":1,"b":{"a":"x,}\"]","c":[1,{"d":2},"]"],"e":{}},"q\"\\":null,"z":true,"é":-1.5e3}`
	for path, want := range map[string]string{
		"a": "1", "b.a": `"x,}\"]"`, "b.c": `[1,{"d":2},"]"]`, "b.e": "{}", `q"\`: "null", "z": "true", "é": "-1.5e3", "x": "", "b.x": "", "a.b": "", "b.c.d": "", "": "0", "b.e.f": "",
	} {
		if got := find(object, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add(`{"a":{"b":[1,"x"]},"c":2}`, "a.b")
	f.Add(`{"a`, "a")
	f.Add(`{"a":"\`, "a")
	f.Fuzz(func(t *testing.T, object, path string) { find(object, path) })
}
