package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// slow does what a list of fields says with a body that was read into memory. It finds the rule of each value by comparing it with every
// path, and knows nothing of trees of paths and of writing while reading.
type slow struct {
	fields fields
	strict bool
	fail   bool
}

// place is a step of a path: a name, or an index.
type place struct {
	name  string
	index int // -1 for a name
}

func fits(path string, at []place) bool {
	names := strings.Split(path, ".")
	if len(names) != len(at) {
		return false
	}
	for i, n := range names {
		if n != "*" && (at[i].index >= 0 || n != at[i].name) {
			return false
		}
	}
	return true
}

func (s *slow) rule(at []place) *field {
	var list []*field
	for i := range s.fields {
		if fits(s.fields[i].Path, at) {
			list = append(list, &s.fields[i])
		}
	}
	pattern := func(f *field) string { // a name sorts before a star
		names := strings.Split(f.Path, ".")
		for i := range names {
			if names[i] != "*" {
				names[i] = "!"
			}
		}
		for i := range names {
			names[i] = map[string]string{"!": "0", "*": "1"}[names[i]]
		}
		return strings.Join(names, "")
	}
	slices.SortFunc(list, func(a, b *field) int { return strings.Compare(pattern(a), pattern(b)) })
	rank := func(f *field) int {
		switch {
		case f.Drop:
			return 2
		case f.Hash:
			return 1
		}
		return 0
	}
	if len(list) == 0 {
		return nil
	}
	best := list[0]
	for _, o := range list[1:] {
		particular := true
		for i, c := range pattern(o) {
			particular = particular && (c == '1' || pattern(best)[i] == '0')
		}
		if !particular && rank(o) > rank(best) {
			best = o
		}
	}
	return best
}

// nothing stands for a value of which nothing crosses.
var nothing = new(struct{ int })

// pending is a value that leaves its place.
type pending struct {
	target string
	at     []place
	path   string
	value  any
}

func (s *slow) walk(v any, at []place, all, identity, listed bool, leave *[]pending) any {
	r := s.rule(at)
	if len(at) == 0 {
		r = nil
	}
	switch {
	case r == nil:
		if _, compound := compound(v); compound {
			return s.inside(v, at, all, identity, listed, leave)
		}
		if all {
			return v
		}
		if !listed && s.strict {
			s.fail = true
		}
		return nothing
	case r.Drop:
		return s.inside(v, at, false, identity, true, leave)
	}
	to := r.Rename
	if to == "" {
		to = r.Path
	}
	_, many := compound(v)
	switch {
	case r.Type == "number":
		if _, ok := v.(json.Number); !ok {
			s.fail = true
			return nothing
		}
	case r.Hash:
		v = "hash of " + string(plainJSON(v))
	case many:
		inner := s.inside(v, at, true, to == r.Path, true, leave)
		if inner == nothing {
			inner = map[string]any{}
		}
		v = inner
	}
	if identity && to == r.Path {
		return v
	}
	*leave = append(*leave, pending{to, slices.Clone(at), r.Path, v})
	return nothing
}

func compound(v any) (n int, ok bool) {
	switch c := v.(type) {
	case map[string]any:
		return len(c), true
	case []any:
		return len(c), true
	}
	return 0, false
}

func (s *slow) inside(v any, at []place, all, identity, listed bool, leave *[]pending) any {
	switch c := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, inner := range c {
			if w := s.walk(inner, append(slices.Clone(at), place{name, -1}), all, identity, listed, leave); w != nothing {
				out[name] = w
			}
		}
		if len(out) > 0 || all {
			return out
		}
	case []any:
		out := []any{}
		for i, inner := range c {
			if w := s.walk(inner, append(slices.Clone(at), place{"", i}), all, identity, listed, leave); w != nothing {
				out = append(out, w)
			}
		}
		if len(out) > 0 || all {
			return out
		}
	}
	return nothing
}

// sparse is an array that is being made.
type sparse map[int]any

// taken marks what stands where it stands and takes nothing in.
type taken struct{ value any }

func (s *slow) put(root map[string]any, p pending) {
	stars := []place{}
	for i, n := range strings.Split(p.path, ".") {
		if n == "*" {
			stars = append(stars, p.at[i])
		}
	}
	var steps []place
	for _, n := range strings.Split(p.target, ".") {
		if n != "*" {
			steps = append(steps, place{n, -1})
			continue
		}
		steps = append(steps, stars[0])
		stars = stars[1:]
	}
	var at any = root
	for i, st := range steps {
		last := i == len(steps)-1
		var next any = map[string]any{}
		if last {
			next = taken{p.value}
		} else if steps[i+1].index >= 0 {
			next = sparse{}
		}
		var there any
		var known bool
		switch c := at.(type) {
		case map[string]any:
			if st.index >= 0 {
				s.fail = true
				return
			}
			if there, known = c[st.name]; !known {
				c[st.name], there = next, next
			}
		case sparse:
			if st.index < 0 {
				s.fail = true
				return
			}
			if there, known = c[st.index]; !known {
				c[st.index], there = next, next
			}
		default:
			s.fail = true
			return
		}
		if known && last {
			s.fail = true
			return
		}
		at = there
	}
}

func settle(v any) any {
	switch c := v.(type) {
	case taken:
		return c.value
	case map[string]any:
		out := map[string]any{}
		for n, inner := range c {
			out[n] = settle(inner)
		}
		return out
	case sparse:
		var at []int
		for i := range c {
			at = append(at, i)
		}
		slices.Sort(at)
		out := []any{}
		for _, i := range at {
			out = append(out, settle(c[i]))
		}
		return out
	}
	return v
}

func plainJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// run is what becomes of a body; ok is false when it breaks the contract.
func (s *slow) run(body map[string]any) (out map[string]any, ok bool) {
	var leave []pending
	root := map[string]any{}
	// Everything is put to its place from the outside: what stays inside something that crosses stays in its value.
	s.walk(body, nil, false, false, false, &leave)
	for _, p := range leave {
		s.put(root, p)
	}
	for i := range s.fields {
		if f := &s.fields[i]; f.Required && !s.hasAll(body, strings.Split(f.Path, ".")) {
			s.fail = true
		}
	}
	return settle(root).(map[string]any), !s.fail
}

// hasAll tells whether a path is there, under every value of its last star and under one at least.
func (s *slow) hasAll(body any, path []string) bool {
	last := -1
	for i, n := range path {
		if n == "*" && i < len(path)-1 {
			last = i
		}
	}
	all := s.find(found{value: body}, path)
	if len(all) == 0 || last < 0 {
		return len(all) > 0
	}
	for _, v := range s.find(found{value: body}, path[:last+1]) {
		if len(s.find(v, path[last+1:])) == 0 {
			return false
		}
	}
	return true
}

type found struct {
	value any
	at    []place
}

// find returns what a path leads to. What is hashed is one value, with nothing in it.
func (s *slow) find(v found, path []string) []found {
	if len(path) == 0 {
		return []found{v}
	}
	if r := s.rule(v.at); len(v.at) > 0 && r != nil && r.Hash {
		return nil
	}
	var out []found
	switch c := v.value.(type) {
	case map[string]any:
		for n, inner := range c {
			if path[0] == "*" || path[0] == n {
				out = append(out, s.find(found{inner, append(slices.Clone(v.at), place{n, -1})}, path[1:])...)
			}
		}
	case []any:
		if path[0] == "*" {
			for i, inner := range c {
				out = append(out, s.find(found{inner, append(slices.Clone(v.at), place{"", i})}, path[1:])...)
			}
		}
	}
	return out
}

var drawnNames = []string{"a", "b", "c"}

func drawFields(t *rapid.T) fields {
	var out fields
	for i := range rapid.IntRange(1, 6).Draw(t, "fields") {
		path := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "*"}), 1, 3).Draw(t, "path"), ".")
		fd := field{Path: path}
		switch rapid.IntRange(0, 9).Draw(t, "what") {
		case 0, 1:
			fd.Drop = true
		case 2:
			fd.Hash = true
		case 3:
			fd.Type = "number"
		case 4:
			fd.Required = true
		}
		if !fd.Drop && rapid.IntRange(0, 2).Draw(t, "moves") == 0 {
			names := strings.Split(path, ".")
			if rapid.Bool().Draw(t, "far") {
				names = append([]string{"z" + strconv.Itoa(i)}, names...)
			} else if names[len(names)-1] != "*" {
				names[len(names)-1] = rapid.SampledFrom([]string{"a", "b", "y" + strconv.Itoa(i)}).Draw(t, "name")
			}
			fd.Rename = strings.Join(names, ".")
		}
		out = append(out, fd)
	}
	return out
}

func drawValue(t *rapid.T, depth int) any {
	what := rapid.IntRange(0, 7).Draw(t, "kind")
	if depth == 0 {
		what = 0
	}
	switch {
	case what <= 3:
		out := map[string]any{}
		for _, n := range drawnNames {
			if rapid.IntRange(0, 3).Draw(t, "has") > 0 && depth < 4 {
				out[n] = drawValue(t, depth+1)
			}
		}
		return out
	case what == 4 && depth < 4:
		out := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			out = append(out, drawValue(t, depth+1))
		}
		return out
	case what == 5:
		return json.Number(strconv.Itoa(rapid.IntRange(0, 99).Draw(t, "number")))
	}
	return rapid.SampledFrom([]any{"x", "é", true, nil}).Draw(t, "scalar")
}

// Whatever a contract lists and however a body is made: what crosses is what the slow reading of the contract says.
func TestAsTheSlowTwinSays(t *testing.T) {
	moved, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		list := drawFields(t)
		strict := rapid.IntRange(0, 3).Draw(t, "strict") == 0
		m := resource.ContractMessage{Name: "m", Fields: list}
		if strict {
			m.Otherwise = resource.OtherwiseDeadLetter
		}
		x, err := Compile(&plan.Contract{Name: "a/b", Spec: resource.ContractSpec{Messages: []resource.ContractMessage{m}}, HashKey: testKey})
		if err != nil {
			return // it contradicts itself
		}
		body, _ := drawValue(t, 0).(map[string]any)
		in := plainJSON(body)
		e := &event.Event{Body: in}
		err = x.Apply(e)
		twin := slow{fields: list, strict: strict}
		want, ok := twin.run(body)
		if (err == nil) != ok {
			t.Fatalf("%+v\nof %s\n%s, %v\ntwin: %s %v", list, in, e.Body, err, plainJSON(want), ok)
		}
		if err != nil {
			refused++
			return
		}
		var got any
		d := json.NewDecoder(bytes.NewReader(e.Body))
		d.UseNumber()
		if err := d.Decode(&got); err != nil {
			t.Fatalf("%s: %v", e.Body, err)
		}
		if !reflect.DeepEqual(got, hashes(want)) {
			t.Fatalf("%+v\nof    %s\nis    %s\nwant  %s", list, in, e.Body, plainJSON(want))
		}
		moved++
	})
	t.Logf("%d crossed, %d refused", moved, refused)
}

// hashes puts the hashes in.
func hashes(v any) any {
	switch c := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for n, inner := range c {
			out[n] = hashes(inner)
		}
		return out
	case []any:
		out := []any{}
		for _, inner := range c {
			out = append(out, hashes(inner))
		}
		return out
	case string:
		rest, is := strings.CutPrefix(c, "hash of ")
		if !is {
			return c
		}
		switch rest[0] {
		case '"':
			var s string
			if json.Unmarshal([]byte(rest), &s) != nil {
				panic(rest)
			}
			return hashOf(text, s)
		case '{', '[':
			s := scratch{reader: reader{in: []byte(rest)}}
			b, err := s.canonical(nil)
			if err != nil {
				panic(err)
			}
			return hashOf(container, string(b))
		case 't', 'f':
			return hashOf(boolean, rest)
		case 'n':
			return hashOf(null, "")
		}
		return hashOf(number, rest)
	}
	return v
}

// Canaries stand in every place of an event, each in one place. Of those that are not listed none comes out, nor in a reason.
func TestNoCanaryCrosses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := 0
		alive := map[string]bool{} // canaries that may cross
		canary := func(may bool) string {
			n++
			c := fmt.Sprintf("canary%04d", n)
			alive[c] = may
			return c
		}
		var list fields
		allowed := map[string]bool{}
		for _, name := range []string{"a", "b", "c"} {
			if rapid.Bool().Draw(t, name) {
				allowed[name] = true
				list = append(list, field{Path: name})
			}
		}
		list = append(list, field{Path: "h", Hash: true}, field{Path: "in.ok"}, field{Path: "list.*.ok"}, field{Path: "all"}, field{Path: "all.not", Drop: true}, field{Path: "r", Rename: "x.y"})
		if rapid.Bool().Draw(t, "in place") {
			list = list[:len(list)-1]
		}
		list = append(list, field{Path: "n", Type: "number"}, field{Path: "o", OneOf: []string{"agreed"}})
		var value func(may bool, depth int) any
		value = func(may bool, depth int) any {
			switch k := rapid.IntRange(0, 4).Draw(t, "kind"); {
			case k == 0 && depth > 0:
				return map[string]any{canary(may): value(may, depth-1)}
			case k == 1 && depth > 0:
				return []any{value(may, depth-1), value(may, depth-1)}
			default:
				return canary(may)
			}
		}
		body := map[string]any{
			"h": value(false, 2), canary(false): value(false, 2), "in": map[string]any{"ok": value(true, 2), canary(false): value(false, 2), "other": value(false, 2)},
			"list": []any{value(false, 1), map[string]any{"ok": value(true, 1), "no": value(false, 1)}},
			"all":  map[string]any{"not": value(false, 2), canary(true): value(true, 2)}, "x": value(false, 1), "r": value(len(list) == 8+len(allowed), 2),
		}
		for _, name := range []string{"a", "b", "c"} {
			body[name] = value(allowed[name], 2)
		}
		if rapid.IntRange(0, 5).Draw(t, "wrong") == 0 {
			body["n"] = value(false, 1)
		}
		if rapid.IntRange(0, 5).Draw(t, "other") == 0 {
			body["o"] = value(false, 1)
		}
		in := plainJSON(body)
		switch rapid.IntRange(0, 9).Draw(t, "damage") {
		case 0:
			in = in[:rapid.IntRange(0, len(in)).Draw(t, "cut")]
		case 1:
			if i := rapid.IntRange(0, len(in)-1).Draw(t, "at"); bytes.IndexByte([]byte("{}[]:,"), in[i]) >= 0 { // names stay as they are
				in[i] = rapid.Byte().Draw(t, "byte")
			}
		}
		e := &event.Event{Body: in, Key: canary(false)}
		e.Properties = []event.Property{{Name: "p", Value: canary(true)}, {Name: "q", Value: canary(false)}, {Name: canary(false), Value: []byte(canary(false))}, {Name: "t", Value: canary(false)}}
		e.System = []event.Property{{Name: event.DeviceID, Value: canary(false)}, {Name: event.MessageID, Value: canary(true)}, {Name: canary(false), Value: canary(false)}}
		e.Origin = event.Origin{Partition: "3", Sequence: 7, Name: canary(false), Enqueued: time.Unix(1, 0)}
		m := resource.ContractMessage{
			Name: "m", When: rapid.SampledFrom([]string{"", `this.h.type() == "string"`, `this.a.number() > 1`, `@q.number() > 1`}).Draw(t, "when"), Fields: list,
			Properties: fields{{Path: "p"}, {Path: "q", Hash: true}}, System: fields{{Path: event.DeviceID, Hash: true}, {Path: event.MessageID}},
		}
		if rapid.IntRange(0, 9).Draw(t, "number") == 0 {
			m.Properties = append(m.Properties, field{Path: "t", Type: "number"})
		}
		if rapid.IntRange(0, 4).Draw(t, "strict") == 0 {
			m.Otherwise = resource.OtherwiseDeadLetter
		}
		err := compileRapid(t, m).Apply(e)
		everything := fmt.Sprintf("%s %v %v %s %s", e.Body, show(e.Properties), show(e.System), e.Key, e.ID("b"))
		if err != nil {
			everything = fmt.Sprintf("%v %+v", err, err)
		}
		for c, may := range alive {
			if strings.Contains(everything, c) && (!may || err != nil) {
				t.Fatalf("%s comes out of %s: %s", c, in, everything)
			}
		}
	})
}

func compileRapid(t *rapid.T, m resource.ContractMessage) *Enforcer {
	x, err := Compile(&plan.Contract{Name: "a/b", Spec: resource.ContractSpec{Messages: []resource.ContractMessage{m}}, HashKey: testKey})
	if err != nil {
		t.Fatal(err)
	}
	return x
}
