package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func TestEditsBecomeObjects(t *testing.T) {
	for _, c := range []struct {
		edits []string
		want  string // empty: refused
	}{
		{nil, ""},
		{[]string{"plant=43"}, `{"plant":43}`},
		{[]string{"plant=43", "name=east wing", "gone=null", "on=true"}, `{"gone":null,"name":"east wing","on":true,"plant":43}`},
		{[]string{`code="43"`, "eq=a=b", "empty="}, `{"code":"43","empty":"","eq":"a=b"}`},
		{[]string{"a.b.c=1", "a.b.d=[1,2]"}, `{"a":{"b":{"c":1,"d":[1,2]}}}`},
		{[]string{"a"}, "!"}, {[]string{"=1"}, "!"}, {[]string{"a..b=1"}, "!"}, {[]string{".a=1"}, "!"},
		{[]string{"a=1", "a=2"}, "!"}, {[]string{"a=1", "a.b=2"}, "!"}, {[]string{"a.b=2", "a=1"}, "!"},
	} {
		got, err := nest("tag", c.edits)
		var u *usageError
		if wrong := c.want == "!"; wrong != (err != nil) || wrong && (!errors.As(err, &u) || u.next == "") || !wrong && string(got) != c.want {
			t.Errorf("%q: %s, %v; want %s", c.edits, got, err, c.want)
		}
	}
	if _, err := assignments("property", []string{"a=1", "a=2"}); err == nil {
		t.Error("said twice")
	}
	if m, err := assignments("property", []string{"a.b=", "c=d=e"}); err != nil || m["a.b"] != "" || m["c"] != "d=e" {
		t.Errorf("%v, %v", m, err)
	}
}

// What is shown of a value can be given back as one.
func TestValuesReadAsTheyAreShown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var v any
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			v = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"43", "true", "null", `"x"`, "[1]", "1e3", " 1", "east wing", "0x2b"})).Draw(t, "text")
		case 1:
			v = rapid.Int32().Draw(t, "number")
		case 2:
			v = rapid.Bool().Draw(t, "truth")
		default:
			v = []any{"a", 1.5}
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := valueOf(plainText(b)); string(got) != string(b) {
			t.Fatalf("%s is shown as %q, which reads as %s", b, plainText(b), got)
		}
	})
}

func TestTablesOfResults(t *testing.T) {
	raw := func(items ...string) []json.RawMessage {
		var out []json.RawMessage
		for _, i := range items {
			out = append(out, json.RawMessage(i))
		}
		return out
	}
	for name, c := range map[string]struct {
		r    results
		want []string // heads, then rows, cells separated by |
	}{
		"columns in their order": {results{kind: "Raw", items: raw(`{"b":1,"a":"x"}`, `{"a":null,"c":{"d":1}}`)}, []string{"B|A|C", "1|x|", "||{\"d\":1}"}},
		"no objects":             {results{kind: "Raw", items: raw(`1`, `"two"`)}, []string{"VALUE", "1", "two"}},
		"whole twins": {results{kind: "Twin", items: raw(`{"version":2,"deviceId":"d","properties":{},"status":"enabled","tags":{"a":1}}`)},
			[]string{"DEVICEID|STATUS|TAGS", "d|enabled|{\"a\":1}"}},
		"jobs": {results{kind: "DeviceJob", items: raw(`{"deviceId":"d","jobId":"j","status":"failed","outcome":{}}`)}, []string{"DEVICEID|JOBID|STATUS", "d|j|failed"}},
	} {
		heads, rows := c.r.table()
		got := []string{strings.Join(heads, "|")}
		for _, row := range rows {
			var texts []string
			for _, f := range row {
				texts = append(texts, f.text)
			}
			got = append(got, strings.Join(texts, "|"))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestBars(t *testing.T) {
	for _, c := range []struct {
		value, most float64
		want        string
	}{
		{0, 10, ""}, {-1, 10, ""}, {5, 0, ""}, {10, 10, "████"}, {5, 10, "██"}, {0.01, 10, "▏"}, {1.25, 10, "▌"}, {8.75, 10, "███▌"}, {1, 1e300, "▏"},
	} {
		if got := drawn(c.value, c.most, 4); got != c.want {
			t.Errorf("%g of %g is %q, want %q", c.value, c.most, got, c.want)
		}
	}
	w, out, _ := testWorld(nil)
	r := results{items: []json.RawMessage{[]byte(`{"plant":"east\u001b[2J","n":2}`), []byte(`{"n":1}`), []byte(`{"plant":"日本","n":0}`)}}
	if err := w.bars(r.labelled()); err != nil {
		t.Fatal(err)
	}
	if want := "east?[2J  2  " + strings.Repeat("█", 50) + "\n(none)    1  " + strings.Repeat("█", 25) + "\n日本      0\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestBarOfAJob(t *testing.T) {
	w, _, _ := testWorld(nil)
	j := func(all, good, bad int) hubclient.Job {
		return hubclient.Job{ID: "j", Status: "running", Statistics: &hubclient.JobStatistics{Devices: all, Succeeded: good, Failed: bad, Running: 1}}
	}
	for _, c := range []struct {
		job        hubclient.Job
		good, bad  int
		begins     string
		mustHoldIt string
	}{
		{j(10, 5, 0), 15, 0, "█", " 50 %  5 of 10 done, 0 failed, 1 under way  running"},
		{j(1000, 998, 1), 29, 1, "█", " 99 %  999 of 1000 done, 1 failed"},
		{j(3, 0, 3), 0, 30, "▓", "100 %  3 of 3 done, 3 failed"},
	} {
		got := w.jobBar(c.job)
		if strings.Count(got, "█") != c.good || strings.Count(got, "▓") != c.bad || !strings.HasPrefix(got, c.begins) || !strings.Contains(got, c.mustHoldIt) {
			t.Errorf("%s", got)
		}
		if n := strings.Count(got, "█") + strings.Count(got, "▓") + strings.Count(got, "░"); n != 30 {
			t.Errorf("the bar has %d columns: %s", n, got)
		}
	}
	if got := w.jobBar(hubclient.Job{ID: "j\x1b", Status: "queued"}); got != "j? queued" {
		t.Errorf("%q", got)
	}
}

func TestArraysAndLinesOfEnrollments(t *testing.T) {
	for text, want := range map[string]int{`[{"a":1},{"a":2}]`: 2, "{\"a\":1}\n{\"a\":2}\n\n{\"a\":3}": 3, `[]`: 0, ``: -1, `{"a":1} {`: -1, `nonsense`: -1} {
		list, err := arrayOf([]byte(text))
		if (err != nil) != (want < 0) || err == nil && len(list) != want {
			t.Errorf("%q: %d, %v", text, len(list), err)
		}
	}
}
