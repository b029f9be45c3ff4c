package trial

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// events makes events of what a test writes.
func events(input []resource.TestEvent) ([]*event.Event, error) {
	out := make([]*event.Event, len(input))
	for i := range input {
		in := &input[i]
		e := &event.Event{Origin: event.Origin{Partition: lane, Sequence: int64(i), Enqueued: in.Enqueued}}
		if e.Origin.Enqueued.IsZero() {
			e.Origin.Enqueued = begin.Add(time.Duration(i) * time.Millisecond)
		}
		switch body := in.Body.(type) {
		case nil:
		case string:
			e.Body = []byte(body)
		default:
			b, err := marshal(body)
			if err != nil {
				return nil, fault.Wrap("trial.Run", fault.Invalid, err, "the body of an event of a test cannot be written as JSON")
			}
			e.Body = b
		}
		for _, name := range slices.Sorted(maps.Keys(in.Properties)) {
			e.Properties = append(e.Properties, event.Property{Name: name, Value: in.Properties[name]})
		}
		for _, name := range slices.Sorted(maps.Keys(in.System)) {
			e.System = append(e.System, event.Property{Name: name, Value: in.System[name]})
		}
		e.Key = event.Text(e.System, event.DeviceID)
		out[i] = e
	}
	return out, nil
}

// marshal writes JSON as people do: < stays <.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// maxShown is how much of a value is shown.
const maxShown = 300

// against says what is not as the test expects.
func (g *got) against(t *resource.BridgeTest) (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for i := range max(len(g.sent), len(t.Output)) {
		switch {
		case i >= len(t.Output):
			say("output %d is not expected: %s", i+1, shown(g.sent[i]))
		case i >= len(g.sent):
			say("output %d is missing: %s", i+1, expected(&t.Output[i]))
		default:
			compareEvent(func(format string, args ...any) {
				say("output %d: "+format, append([]any{i + 1}, args...)...)
			}, &t.Output[i], g.sent[i])
		}
	}
	for i := range max(len(g.dead), len(t.Dead)) {
		switch {
		case i >= len(t.Dead):
			say("dead letter %d is not expected: step %s: %s", i+1, g.dead[i].Step, g.dead[i].Reason)
		case i >= len(g.dead):
			say("dead letter %d is missing: step %s: %s", i+1, orAny(t.Dead[i].Step), orAny(t.Dead[i].Reason))
		default:
			compareDead(say, i+1, &t.Dead[i], &g.dead[i])
		}
	}
	if len(problems) > 0 && g.filtered > 0 {
		say("%d events were left out by steps", g.filtered)
	}
	return problems
}

func orAny(s string) string {
	if s == "" {
		return "any"
	}
	return s
}

func compareDead(say func(string, ...any), n int, want *resource.TestDead, is *bridge.Dead) {
	if want.Step != "" && want.Step != is.Step {
		say("dead letter %d is of step %s (%s), not of %s", n, is.Step, is.Reason, want.Step)
	} else if !strings.Contains(is.Reason, want.Reason) {
		say("dead letter %d says %q, which does not hold %q", n, is.Reason, want.Reason)
	}
}

func compareEvent(say func(string, ...any), want *resource.TestEvent, is *event.Event) {
	if want.Body != nil {
		compareBody(say, want.Body, is.Body)
	}
	for part, list := range map[string]struct {
		want map[string]string
		is   []event.Property
	}{"properties": {want.Properties, is.Properties}, "system": {want.System, is.System}} {
		for _, name := range slices.Sorted(maps.Keys(list.want)) {
			v, there := event.Get(list.is, name)
			switch s := textOf(v); {
			case !there:
				say("%s.%s is not there, and should be %q", part, name, list.want[name])
			case s != list.want[name]:
				say("%s.%s is %q, not %q", part, name, cut(s), list.want[name])
			}
		}
	}
	if !want.Enqueued.IsZero() && !want.Enqueued.Equal(is.Origin.Enqueued) {
		say("enqueued is %s, not %s", is.Origin.Enqueued.Format(time.RFC3339Nano), want.Enqueued.Format(time.RFC3339Nano))
	}
}

func compareBody(say func(string, ...any), want any, is []byte) {
	if text, ok := want.(string); ok && text == string(is) {
		return
	}
	d := json.NewDecoder(bytes.NewReader(is))
	d.UseNumber()
	var body any
	if err := d.Decode(&body); err != nil || d.More() {
		say("body is %q, not %s", cut(string(is)), compact(want))
		return
	}
	b, err := marshal(want)
	if err != nil {
		say("the expected body cannot be written as JSON")
		return
	}
	w := json.NewDecoder(bytes.NewReader(b))
	w.UseNumber()
	var plain any
	if err := w.Decode(&plain); err != nil {
		say("the expected body cannot be read as JSON")
		return
	}
	compare(say, "body", plain, body)
}

// compare says where a value is not as expected.
func compare(say func(string, ...any), at string, want, is any) {
	switch w := want.(type) {
	case map[string]any:
		object, ok := is.(map[string]any)
		if !ok {
			say("%s is %s, not %s", at, compact(is), compact(want))
			return
		}
		for _, name := range slices.Sorted(maps.Keys(w)) {
			v, there := object[name]
			if !there {
				say("%s.%s is not there, and should be %s", at, name, compact(w[name]))
				continue
			}
			compare(say, at+"."+name, w[name], v)
		}
	case []any:
		list, ok := is.([]any)
		if !ok || len(list) != len(w) {
			say("%s is %s, not %s", at, compact(is), compact(want))
			return
		}
		for i := range w {
			compare(say, at+"["+strconv.Itoa(i)+"]", w[i], list[i])
		}
	case json.Number:
		if n, ok := is.(json.Number); !ok || !equal(string(w), string(n)) {
			say("%s is %s, not %s", at, compact(is), compact(want))
		}
	default:
		if want != is {
			say("%s is %s, not %s", at, compact(is), compact(want))
		}
	}
}

// equal tells whether two numbers of JSON are.
func equal(a, b string) bool {
	if a == b {
		return true
	}
	const longest = 400 // digits and exponents beyond it are compared as text
	x, okx := new(big.Rat), len(a) < longest
	y, oky := new(big.Rat), len(b) < longest
	for _, s := range []string{a, b} {
		if i := strings.IndexAny(s, "eE"); i >= 0 {
			if e, err := strconv.Atoi(strings.TrimPrefix(s[i+1:], "+")); err != nil || e > longest || e < -longest {
				return false
			}
		}
	}
	if okx {
		_, okx = x.SetString(a)
	}
	if oky {
		_, oky = y.SetString(b)
	}
	return okx && oky && x.Cmp(y) == 0
}

func compact(v any) string {
	b, err := marshal(v)
	if err != nil {
		return "what cannot be written as JSON"
	}
	return cut(string(b))
}

func cut(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}

func shown(e *event.Event) string {
	s := string(e.Body)
	for _, p := range e.Properties {
		s += " " + p.Name + "=" + textOf(p.Value)
	}
	for _, p := range e.System {
		s += " @" + p.Name + "=" + textOf(p.Value)
	}
	return cut(s)
}

func expected(e *resource.TestEvent) string {
	if e.Body == nil {
		return "any"
	}
	if s, ok := e.Body.(string); ok {
		return cut(s)
	}
	return compact(e.Body)
}
