package window

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, w *resource.Window, lanes ...string) *Window {
	t.Helper()
	win, err := open("w", w, lanes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return win
}

// plain is an event of a second, with a body.
func plain(second int64, body string) *event.Event {
	return &event.Event{Origin: event.Origin{Partition: "0", Enqueued: time.Unix(second, 0)}, Body: []byte(body), Key: "d"}
}

func counting(size int) *resource.Window {
	return &resource.Window{SizeSeconds: size, Aggregates: []resource.Aggregate{{Name: "n", Function: resource.AggregateCount}}}
}

func refusals(t *testing.T, err error) map[int]error {
	t.Helper()
	if err == nil {
		return nil
	}
	r, ok := errors.AsType[*event.Refused](err)
	if !ok {
		t.Fatal(err)
	}
	return r.At
}

// A partition without events holds windows open until it has been idle, and then no more; all idle, time goes on; a jumping clock closes nothing.
func TestIdlePartitions(t *testing.T) {
	w := counting(10)
	w.IdleSeconds = 20
	win := must(t, w, "0", "1")
	if err := win.Add("0", []*event.Event{plain(1, "{}"), plain(25, "{}")}); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000_000, 0)
	win.Idle("1", now)
	win.Idle("1", now.Add(19*time.Second))
	if rows := win.Closed(0, 9); len(rows) != 0 {
		t.Fatalf("%d rows while a partition holds them", len(rows))
	}
	win.Idle("1", now.Add(20*time.Second))
	if rows := win.Closed(0, 9); len(rows) != 1 || string(rows[0].Body) != `{"windowStart":"1970-01-01T00:00:00Z","windowEnd":"1970-01-01T00:00:10Z","n":1}` {
		t.Fatalf("%d rows", len(rows))
	}
	state, err := win.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	// What comes of it then for a closed window is late, also after a restart.
	for _, again := range []bool{false, true} {
		if again {
			if win, err = open("w", w, []string{"0", "1"}, state); err != nil {
				t.Fatal(err)
			}
		}
		if err := win.Add("1", []*event.Event{plain(2, "{}"), plain(21, "{}")}); err != nil {
			t.Fatal(err)
		}
		if c := win.Counts(); c.Late != 1 || c.Open != 1 {
			t.Fatalf("%+v", c)
		}
	}
	// The second is over when both have been idle for so long that it must be.
	step := func(seconds int, want int) {
		t.Helper()
		now = now.Add(time.Duration(seconds) * time.Second)
		win.Idle("0", now)
		win.Idle("1", now)
		if rows := win.Closed(0, 9); len(rows) != want {
			t.Fatalf("%d rows, not %d", len(rows), want)
		}
	}
	step(0, 1)
	win.Forget(1)
	step(4, 0)
	step(10, 0)
	step(-3600, 0) // a clock that goes back
	step(5, 0)
	step(5, 1)
	win.Forget(1)
	if err := win.Add("0", []*event.Event{plain(1000, "{}")}); err != nil {
		t.Fatal(err)
	}
	step(0, 0)
	step(86400*365, 1) // and one that jumps: it counts for half a minute
	if err := win.Add("0", []*event.Event{plain(1030, "{}")}); err != nil {
		t.Fatal(err)
	}
	if c := win.Counts(); c.Late != 1 {
		t.Fatalf("%+v", c)
	}
}

func TestLateEvents(t *testing.T) {
	w := counting(10)
	w.Late = resource.ErrorDeadLetter
	w.LatenessSeconds = 5
	w.Where = "this.x != 1"
	win := must(t, w, "0")
	err := win.Add("0", []*event.Event{plain(3, "{}"), plain(14, "{}"), plain(4, "{}"), plain(15, "{}"), plain(9, "{}"), plain(8, `{"x":1}`)})
	if r := refusals(t, err); len(r) != 1 || !strings.Contains(r[4].Error(), "late") || win.Counts().Late != 1 {
		t.Fatalf("%v %+v", err, win.Counts())
	}
	if rows := win.Closed(0, 9); len(rows) != 1 || !strings.Contains(string(rows[0].Body), `"n":2`) {
		t.Fatalf("%d rows", len(rows))
	}
}

// One wrong clock closes nobody's windows, and what cannot be counted is refused with its reason while the rest is in.
func TestEventsThatCannotBe(t *testing.T) {
	w := &resource.Window{
		SizeSeconds: 10, Time: "this.at", Where: "this.ok", GroupBy: []resource.Column{{Name: "line", Type: resource.ColumnInteger}},
		Aggregates: []resource.Aggregate{{Name: "sum", Function: resource.AggregateSum, Value: "this.v"}, {Name: "most", Function: resource.AggregateMax, Value: "this.v"}},
	}
	win := must(t, w, "0")
	bodies := map[string]string{
		`{"at":1,"ok":true,"line":1,"v":2}`:                     "",
		`{"at":2,"ok":true,"line":1,"v":null}`:                  "",
		`{"at":2,"ok":true,"line":null}`:                        "",
		`{"at":301,"ok":true,"line":1,"v":2}`:                   "after the event came in",
		`{"at":"9999-12-31T00:00:00Z","ok":true,"line":1}`:      "between the years",
		`{"at":-9e9,"ok":true,"line":1}`:                        "between the years",
		`{"at":1e300,"ok":true,"line":1}`:                       "between the years",
		`{"at":"yesterday","ok":true}`:                          "time:",
		`{"at":null,"ok":true}`:                                 "time: null",
		`{"ok":true}`:                                           "time: null",
		`{"at":1,"ok":7}`:                                       "where: the condition is",
		`{"at":1}`:                                              "where:",
		`{"at":1,"ok":true,"line":1.5}`:                         "line:",
		`{"at":1,"ok":true,"line":1,"v":"2"}`:                   "sum: the value is a text",
		`{"at":1,"ok":true,"line":1,"v":{"a":1}}`:               "sum: the value is an array or object",
		`{"at":1,"ok":true,"line":1,"v":1e400}`:                 "sum:",
		`no json`:                                               "time:",
		``:                                                      "time:",
		`{"at":0,"ok":false,"line":"x","v":"not looked at"}`:    "",
		`{"at":"1970-01-01T00:00:01Z","ok":true,"line":"1"}`:    "",
		`{"at":1.5,"ok":true,"line":1.0,"v":0.5,"at2":[1,[2]]}`: "",
	}
	for body, want := range bodies {
		e := plain(0, body)
		got := ""
		if r := refusals(t, win.Add("0", []*event.Event{e})); r != nil {
			got = r[0].Error()
		}
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %s", body, got)
		}
	}
	if err := win.Add("0", []*event.Event{plain(10, `{"at":10,"ok":true}`)}); err != nil {
		t.Fatal(err)
	}
	rows := win.Closed(0, 9)
	if len(rows) != 2 || string(rows[0].Body) != `{"windowStart":"1970-01-01T00:00:00Z","windowEnd":"1970-01-01T00:00:10Z","line":null,"sum":null,"most":null}` ||
		string(rows[1].Body) != `{"windowStart":"1970-01-01T00:00:00Z","windowEnd":"1970-01-01T00:00:10Z","line":1,"sum":2.5,"most":2}` {
		t.Errorf("%d rows: %s", len(rows), rows[len(rows)-1].Body)
	}
	if name := rows[1].Origin.Name; !strings.HasPrefix(name, "window/0/10/") || !rows[1].Origin.Enqueued.Equal(time.Unix(10, 0)) {
		t.Errorf("a row is called %s", name)
	}
}

// A source whose clock is wrong makes no event late, and moves no other event's window.
func TestEventsOfTheYear9999(t *testing.T) {
	for _, expression := range []string{"", "this.at"} {
		w := counting(10)
		w.Time = expression
		win := must(t, w, "0")
		list := []*event.Event{plain(1, `{"at":1}`), plain(2, `{"at":2}`), plain(3, `{"at":3}`), plain(4, `{"at":4}`)}
		list[1].Origin.Enqueued = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
		list[2].Origin.Enqueued = time.Date(2554, 7, 21, 0, 0, 0, 0, time.UTC) // 2^64 ns after 1970
		r := refusals(t, win.Add("0", list))
		if len(r) != 2 || !strings.Contains(r[1].Error(), "the year 9999") || !strings.Contains(r[2].Error(), "the year 2554") || win.Counts().Late != 0 {
			t.Errorf("%q: %v, %+v", expression, r, win.Counts())
		}
	}
}

// Beyond maxGroups nothing of a batch is taken in; what needs no new group still is.
func TestMaxGroups(t *testing.T) {
	for _, w := range []*resource.Window{
		{SizeSeconds: 10}, {Kind: resource.WindowSession, GapSeconds: 2}, {Kind: resource.WindowHopping, SizeSeconds: 10, HopSeconds: 5},
	} {
		w.MaxGroups = 2
		w.GroupBy = []resource.Column{{Name: "g"}}
		w.Aggregates = []resource.Aggregate{{Name: "n", Function: resource.AggregateCount}}
		win := must(t, w, "0")
		if err := win.Add("0", []*event.Event{plain(1, `{"g":"a"}`), plain(1, `{"g":"b"}`)}); err != nil {
			t.Fatal(err)
		}
		err := win.Add("0", []*event.Event{plain(1, `{"g":"a"}`), plain(1, `{"g":"c"}`), plain(1, "x")})
		if fault.KindOf(err) != fault.Exhausted || win.Counts().Open != 2 {
			t.Fatalf("%s: %v", w.Kind, err)
		}
		if err := win.Add("0", []*event.Event{plain(1, `{"g":"a"}`), plain(2, `{"g":"b"}`)}); err != nil {
			t.Fatalf("%s: %v", w.Kind, err)
		}
	}
}

func TestJoins(t *testing.T) {
	dir := t.TempDir()
	w := &resource.Window{
		SizeSeconds: 10, GroupBy: []resource.Column{{Name: "hall", Value: "this.machines.hall"}},
		Join:       []resource.TableJoin{{Table: "machines", On: "@device"}, {Table: "halls", On: "this.machines.hall", Required: true}},
		Aggregates: []resource.Aggregate{{Name: "people", Function: resource.AggregateMax, Value: "this.halls.people"}},
	}
	clk := clock.NewFake(time.Unix(0, 0))
	changed := make(chan struct{}, 10)
	args := bridge.WindowArgs{
		Step: resource.BridgeStep{Name: "w", Window: w}, Folder: dir, Lanes: []string{"0"}, Clock: clk, Changed: func() { changed <- struct{}{} },
		References: []resource.ReferenceTable{{Name: "machines", File: "machines.csv", Key: "id"}, {Name: "halls", File: "halls.json", Key: "hall", RefreshSeconds: 3}},
	}
	if err := os.WriteFile(filepath.Join(dir, "machines.csv"), []byte("id,hall\r\nd,3\r\ne,4\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	win, err := New(t.Context(), args)
	if err != nil {
		t.Fatal(err)
	}
	defer win.Close()
	batch := []*event.Event{plain(1, "{}"), plain(2, "{}")}
	batch[1].Key = "e"
	if err := win.Add("0", batch); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "halls") || win.Counts().Open != 0 {
		t.Fatalf("a table that was never read: %v", err)
	}
	if p := win.Problems(); len(p) != 1 || !strings.Contains(p[0], "there is no file") {
		t.Error(p)
	}
	<-changed
	if err := os.WriteFile(filepath.Join(dir, "halls.json"), []byte("{\"hall\":3,\"people\":12}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for read := false; !read; {
		clk.Advance(time.Second)
		select {
		case <-changed:
			read = true
		default:
			runtime.Gosched()
		}
	}
	if r := refusals(t, win.Add("0", batch)); len(r) != 1 || !strings.Contains(r[1].Error(), "no row has the key \"4\"") {
		t.Fatal(r)
	}
	if err := win.Add("0", []*event.Event{plain(11, "{}")}); err != nil {
		t.Fatal(err)
	}
	if rows := win.Closed(0, 1); len(rows) != 1 || !strings.HasSuffix(string(rows[0].Body), `"hall":"3","people":12}`) {
		t.Fatalf("%d rows", len(rows))
	}
	args.References = args.References[:1]
	if _, err := New(t.Context(), args); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

func TestWrongExpressions(t *testing.T) {
	for _, change := range []func(*resource.Window){
		func(w *resource.Window) { w.Time = "this." },
		func(w *resource.Window) { w.Where = "env(\"HOME\")" },
		func(w *resource.Window) { w.GroupBy = []resource.Column{{Name: "g", Value: "now()"}} },
		func(w *resource.Window) { w.Aggregates[0].Value = "((" },
		func(w *resource.Window) { w.Join = []resource.TableJoin{{Table: "t", On: ")"}} },
	} {
		w := counting(10)
		change(w)
		if _, err := open("w", w, nil, nil); fault.KindOf(err) != fault.Invalid || fault.Next(err) == "" {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

func TestColumns(t *testing.T) {
	w := &resource.Window{GroupBy: []resource.Column{{Name: "g", Value: "this.x", Type: resource.ColumnTime}}, Aggregates: allAggregates}
	c := Columns(w)
	if len(c) != 3+len(allAggregates) || c[0].Name != "windowStart" || c[2] != (resource.Column{Name: "g", Type: resource.ColumnTime}) || c[3].Type != resource.ColumnInteger {
		t.Errorf("%+v", c)
	}
}

// A damaged state, or that of another window, is an error and never an empty window.
func TestOtherStates(t *testing.T) {
	w := counting(10)
	win := must(t, w, "0")
	if err := win.Add("0", []*event.Event{plain(1, "{}")}); err != nil {
		t.Fatal(err)
	}
	state, err := win.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for i := range state {
		bad := append([]byte(nil), state...)
		bad[i] ^= 0x40
		if _, err := open("w", w, []string{"0"}, bad); err == nil {
			t.Fatalf("byte %d may be anything", i)
		}
		if _, err := open("w", w, []string{"0"}, state[:i]); err == nil {
			t.Fatalf("%d bytes are enough", i)
		}
	}
	if _, err := open("w", counting(20), []string{"0"}, state); fault.KindOf(err) != fault.Precondition {
		t.Error(err)
	}
	if _, err := open("w", w, []string{"1"}, state); err != nil { // partitions may go
		t.Error(err)
	}
}

func FuzzRestore(f *testing.F) {
	specs := []*resource.Window{
		{SizeSeconds: 10, GroupBy: []resource.Column{{Name: "g"}}, Aggregates: allAggregates},
		{Kind: resource.WindowSession, GapSeconds: 2, GroupBy: []resource.Column{{Name: "g"}}, Aggregates: allAggregates},
	}
	const head = 4 + 32
	for i, w := range specs {
		win, err := open("w", w, []string{"0"}, nil)
		if err != nil {
			f.Fatal(err)
		}
		for s := range int64(30) {
			if err := win.Add("0", []*event.Event{plain(s, fmt.Sprintf(`{"g":"%d","v":%g}`, s%3, float64(s)*1.1))}); err != nil {
				f.Fatal(err)
			}
		}
		state, err := win.Snapshot()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i == 1, state[head:len(state)-4])
	}
	f.Fuzz(func(t *testing.T, session bool, inner []byte) {
		w := specs[0]
		if session {
			w = specs[1]
		}
		win := must(t, w, "0")
		r := &reader{s: inner}
		win.store.read(r)
		if !r.bad {
			win.store.append(nil)
		}
	})
}

func numbers() *rapid.Generator[column.Value] {
	return rapid.Custom(func(t *rapid.T) column.Value {
		v, err := column.FromAny(rapid.OneOf(
			rapid.Map(rapid.Int64(), func(n int64) any { return n }), rapid.Map(rapid.Float64(), func(f float64) any { return f }),
			rapid.SampledFrom([]any{math.MaxFloat64, -math.MaxFloat64, 5e-324, int64(math.MinInt64), 1e17, 0.1, int64(0)}),
		).Draw(t, "number"))
		if err != nil {
			return column.Value{Kind: column.Int}
		}
		return v
	})
}

// Sums and sums of squares are those of fractions, however they were added and merged.
func TestSumsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(numbers(), 1, 30).Draw(t, "numbers")
		want, squares := new(big.Rat), new(big.Rat)
		var a, b, sq exact
		for i, v := range list {
			r := new(big.Rat)
			if v.Kind == column.Int {
				r.SetInt64(int64(v.Bits))
			} else {
				r.SetFloat64(math.Float64frombits(v.Bits))
			}
			want.Add(want, r)
			squares.Add(squares, r.Mul(r, r))
			sq.addSquare(v)
			if i%3 == 0 {
				b.addValue(v)
			} else {
				a.addValue(v)
			}
		}
		a.merge(&b)
		if a.used && a.rat().Cmp(want) != 0 || !a.used && want.Sign() != 0 {
			t.Fatalf("%v is %v", want, a.rat())
		}
		if sq.used && sq.rat().Cmp(squares) != 0 || !sq.used && squares.Sign() != 0 {
			t.Fatalf("%v is %v", squares, sq.rat())
		}
		var back exact
		r := &reader{s: a.append(nil)}
		back.read(r)
		if r.bad || a.used && back.rat().Cmp(want) != 0 {
			t.Fatalf("%v is read as %v", want, back.rat())
		}
	})
}
