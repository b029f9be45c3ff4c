package event

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestHeaders(t *testing.T) {
	e := &Event{
		Origin: Origin{Partition: "0", Sequence: 7}, System: []Property{{DeviceID, "d"}, {"", "x"}, {RepeatProperty, true}},
		Properties: []Property{{DeviceID, "forged"}, {"line", int64(3)}, {"line", "again"}, {OriginProperty, "b0/0/1"}, {RepeatProperty, "no"}},
	}
	want := []Property{{"kept", 1}, {DeviceID, "d"}, {"line", int64(3)}, {OriginProperty, "b1/0/7"}}
	if got := e.Headers([]Property{{"kept", 1}}, "b1"); !slices.Equal(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
	for _, mark := range []any{true, "true"} {
		e.Properties = []Property{{RepeatProperty, mark}}
		if got := e.Headers(nil, "b1"); !e.Repeated() || got[len(got)-1] != (Property{RepeatProperty, true}) {
			t.Errorf("%v is lost: %v", mark, got)
		}
	}
}

// With few names and with many, each is there once, the first one.
func TestManyHeaders(t *testing.T) {
	for n := range 80 {
		e := &Event{}
		for i := range n {
			e.System = append(e.System, Property{fmt.Sprint("s", i/2), i})
			e.Properties = append(e.Properties, Property{fmt.Sprint("s", i), -1}, Property{fmt.Sprint("p", i/3), i})
		}
		seen := map[string]bool{}
		for _, h := range e.Headers(nil, "b1") {
			if seen[h.Name] || h.Name[0] == 's' && h.Value == 1 || h.Name == "p1" && h.Value != 3 {
				t.Fatalf("of %d: %v", n, h)
			}
			seen[h.Name] = true
		}
		if want := n + (n+2)/3 + 1; len(seen) != want {
			t.Fatalf("of %d: %d names, want %d", n, len(seen), want)
		}
	}
}

func TestAppendText(t *testing.T) {
	for want, v := range map[string]any{
		"x": "x", "true": true, "-3": int64(-3), "18446744073709551615": uint64(1<<64 - 1), "0.1": 0.1, "AP8=": []byte{0, 255}, "": nil,
		"2026-11-20T08:00:00.5Z": time.Date(2026, 11, 20, 9, 0, 0, 5e8, time.FixedZone("", 3600)),
	} {
		if got := string(AppendText(nil, v)); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
