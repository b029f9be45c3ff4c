package window

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/column"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/resource"
)

var _ bridge.Window = (*Window)(nil)

// reading is an event as the tests write it.
type reading struct {
	at    int64 // milliseconds
	group string
	v     any
}

func (r reading) event(partition string, sequence int64) *event.Event {
	body, err := json.Marshal(map[string]any{"at": time.UnixMilli(r.at).UTC().Format(time.RFC3339Nano), "g": r.group, "v": r.v})
	if err != nil {
		panic(err)
	}
	return &event.Event{Origin: event.Origin{Partition: partition, Sequence: sequence, Enqueued: time.UnixMilli(r.at)}, Body: body}
}

// twin is windows computed at the end, from all events, with nothing but sorting and fractions.
type twin struct {
	w *resource.Window
	// of each partition
	streams map[string][]reading
}

type twinEvent struct {
	reading
	partition string
	sequence  int
	passed    int64 // the partition's own watermark, in milliseconds
}

func (t *twin) events() []twinEvent {
	var out []twinEvent
	for p, stream := range t.streams {
		latest := int64(math.MinInt64)
		for i, r := range stream {
			passed := int64(math.MinInt64)
			if latest != math.MinInt64 {
				passed = latest - int64(t.w.LatenessSeconds)*1000
			}
			out = append(out, twinEvent{r, p, i, passed})
			latest = max(latest, r.at)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		switch {
		case a.at != b.at:
			return a.at < b.at
		case a.partition != b.partition:
			return len(a.partition) < len(b.partition) || len(a.partition) == len(b.partition) && a.partition < b.partition
		}
		return a.sequence < b.sequence
	})
	return out
}

// rows gives, by name of the row, its body; and how many events were late. Only windows that the watermark has passed are closed.
func (t *twin) rows() (rows map[string]string, late int64) {
	rows = map[string]string{}
	watermark := int64(math.MaxInt64)
	for _, stream := range t.streams {
		latest := int64(math.MinInt64)
		for _, r := range stream {
			latest = max(latest, r.at)
		}
		if latest == math.MinInt64 {
			watermark = latest
			break
		}
		watermark = min(watermark, latest-int64(t.w.LatenessSeconds)*1000)
	}
	if t.w.Kind == resource.WindowSession {
		return t.sessions(watermark)
	}
	size := int64(t.w.SizeSeconds) * 1000
	hop := size
	if t.w.Kind == resource.WindowHopping {
		hop = int64(t.w.HopSeconds) * 1000
	}
	type cell struct {
		end   int64
		group string
	}
	cells := map[cell][]twinEvent{}
	for _, e := range t.events() {
		in := false
		for end := floor(e.at, hop) + hop; end <= floor(e.at, hop)+size; end += hop {
			if end > e.passed {
				in = true
				c := cell{end, e.group}
				cells[c] = append(cells[c], e)
			}
		}
		if !in {
			late++
		}
	}
	for c, list := range cells {
		if c.end <= watermark {
			t.put(rows, c.end-size, c.end, c.group, list)
		}
	}
	return rows, late
}

func (t *twin) sessions(watermark int64) (rows map[string]string, late int64) {
	rows = map[string]string{}
	gap, size := int64(t.w.GapSeconds)*1000, int64(t.w.SizeSeconds)*1000
	if size == 0 {
		size = 86_400_000
	}
	groups := map[string][]twinEvent{}
	for _, e := range t.events() {
		if e.at < e.passed {
			late++
			continue
		}
		groups[e.group] = append(groups[e.group], e)
	}
	for group, list := range groups {
		for len(list) > 0 {
			n := 1
			for n < len(list) && list[n].at-list[n-1].at <= gap {
				n++
			}
			chain := list[:n]
			list = list[n:]
			first, last := chain[0].at, chain[n-1].at
			if last-first <= size {
				if last+gap < watermark {
					t.put(rows, first, last+gap, group, chain)
				}
				continue
			}
			for len(chain) > 0 {
				stretch := floor(chain[0].at, size)
				n := 1
				for n < len(chain) && floor(chain[n].at, size) == stretch {
					n++
				}
				start, end, known := max(first, stretch), stretch+size, chain[n-1].at+gap
				if n == len(chain) {
					end = chain[n-1].at + gap
				}
				if chain[0].at == first { // it is cut only once the chain is known to be too long
					for _, e := range chain[n:] {
						if floor(e.at, size) != stretch+size {
							break
						}
						known = e.at + gap
					}
					known = min(known, first+size+gap)
				}
				if known < watermark {
					t.put(rows, start, end, group, chain[:n])
				}
				chain = chain[n:]
			}
		}
	}
	return rows, late
}

func (t *twin) put(rows map[string]string, start, end int64, group string, list []twinEvent) {
	var b strings.Builder
	stamp := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }
	fmt.Fprintf(&b, `{"windowStart":%q,"windowEnd":%q,"g":%q`, stamp(start), stamp(end), group)
	for _, a := range t.w.Aggregates {
		fmt.Fprintf(&b, ",%q:%s", a.Name, slow(a, list))
	}
	b.WriteString("}")
	kind := "window"
	if t.w.Kind == resource.WindowSession {
		kind = "session"
	}
	seconds := func(ms int64) string {
		return strings.TrimSuffix(strings.TrimRight(big.NewRat(ms, 1000).FloatString(3), "0"), ".")
	}
	name := kind + "/" + seconds(start) + "/" + seconds(end) + "/" + group
	if rows[name] != "" {
		panic("twice: " + name)
	}
	rows[name] = b.String()
}

// slow is an aggregate by fractions.
func slow(a resource.Aggregate, list []twinEvent) string {
	var values []any
	for _, e := range list {
		if e.v != nil || a.Value == "" {
			values = append(values, e.v)
		}
	}
	rat := func(v any) *big.Rat {
		switch v := v.(type) {
		case int64:
			return new(big.Rat).SetInt64(v)
		case float64:
			return new(big.Rat).SetFloat64(v)
		}
		panic(v)
	}
	text := func(r *big.Rat) string {
		if r.IsInt() && r.Num().IsInt64() {
			return r.Num().String()
		}
		f, _ := r.Float64()
		v, err := column.Number(f)
		if err != nil {
			return "null"
		}
		return string(v.AppendJSON(nil))
	}
	sum := new(big.Rat)
	var sorted []*big.Rat
	for _, v := range values {
		if v != nil {
			sorted = append(sorted, rat(v))
			sum.Add(sum, rat(v))
		}
	}
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Cmp(sorted[j]) < 0 })
	n := big.NewRat(int64(len(values)), 1)
	if a.Function == resource.AggregateCount {
		return strconv.Itoa(len(values))
	}
	if a.Function == resource.AggregateCountDistinct {
		different := 0
		for i := range sorted {
			if i == 0 || sorted[i].Cmp(sorted[i-1]) != 0 {
				different++
			}
		}
		return strconv.Itoa(different)
	}
	if len(values) == 0 {
		return "null"
	}
	nearest := func(r *big.Rat) *big.Rat { // as float64
		f, _ := r.Float64()
		return new(big.Rat).SetFloat64(f)
	}
	switch a.Function { //nolint:exhaustive // the others are above
	case resource.AggregateSum:
		return text(sum)
	case resource.AggregateAvg:
		r := sum.Quo(sum, n)
		if f, _ := r.Float64(); math.IsInf(f, 0) {
			return "null"
		}
		return text(nearest(r))
	case resource.AggregateMin:
		return text(sorted[0])
	case resource.AggregateMax:
		return text(sorted[len(sorted)-1])
	case resource.AggregateFirst:
		return text(rat(values[0]))
	case resource.AggregateLast:
		return text(rat(values[len(values)-1]))
	case resource.AggregatePercentile:
		for i := range sorted {
			p, _ := new(big.Rat).SetString(strconv.FormatFloat(a.Percentile, 'f', -1, 64))
			if big.NewRat(int64(100*(i+1)), int64(len(sorted))).Cmp(p) >= 0 {
				return text(nearest(sorted[i]))
			}
		}
	case resource.AggregateStdDev:
		mean := new(big.Rat).Quo(sum, n)
		squares := new(big.Rat)
		for _, v := range sorted {
			d := new(big.Rat).Sub(v, mean)
			squares.Add(squares, d.Mul(d, d))
		}
		f, _ := new(big.Float).SetPrec(2000).SetRat(squares.Quo(squares, n)).Float64()
		root, _ := new(big.Float).Sqrt(new(big.Float).SetPrec(2000).SetRat(squares)).Float64()
		if math.IsInf(root, 0) {
			return "null"
		}
		_ = f
		v, _ := column.Number(root)
		return string(v.AppendJSON(nil))
	}
	panic(a.Function)
}

var allAggregates = []resource.Aggregate{
	{Name: "n", Function: resource.AggregateCount},
	{Name: "values", Function: resource.AggregateCount, Value: "this.v"},
	{Name: "different", Function: resource.AggregateCountDistinct, Value: "this.v"},
	{Name: "sum", Function: resource.AggregateSum, Value: "this.v"},
	{Name: "mean", Function: resource.AggregateAvg, Value: "this.v"},
	{Name: "least", Function: resource.AggregateMin, Value: "this.v"},
	{Name: "most", Function: resource.AggregateMax, Value: "this.v"},
	{Name: "first", Function: resource.AggregateFirst, Value: "this.v"},
	{Name: "last", Function: resource.AggregateLast, Value: "this.v"},
	{Name: "p50", Function: resource.AggregatePercentile, Value: "this.v", Percentile: 50},
	{Name: "p999", Function: resource.AggregatePercentile, Value: "this.v", Percentile: 99.9},
	{Name: "spread", Function: resource.AggregateStdDev, Value: "this.v"},
}

func drawValue(t *rapid.T) any {
	return rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Int64Range(-5, 5), func(n int64) any { return n }),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.IntRange(-500, 500), func(n int) any { return norm(float64(n) / 10) }),
		rapid.Map(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64), func(f float64) any { return norm(f) }),
		rapid.SampledFrom([]any{1e300, -1e300, 5e-324, norm(math.MaxFloat64), 0.1, 1e16, 1.0000000000000002}),
	).Draw(t, "v")
}

// norm gives whole numbers as int64, as JSON has them.
func norm(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) < 1<<63 {
		return int64(f)
	}
	return f
}

// Whatever the batches, the mixture of partitions and the restarts: the rows are those of the twin, in one order and with the same ids.
func TestRowsDoNotDependOnWhenAnythingRan(t *testing.T) {
	for _, kind := range []resource.WindowKind{resource.WindowTumbling, resource.WindowHopping, resource.WindowSession} {
		t.Run(string(kind), func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { tryWindows(t, kind) }) })
	}
}

func tryWindows(t *rapid.T, kind resource.WindowKind) {
	w := &resource.Window{Kind: kind, Time: "this.at", GroupBy: []resource.Column{{Name: "g"}}, Aggregates: allAggregates}
	switch kind { //nolint:exhaustive // tumbling is the rest
	case resource.WindowHopping:
		w.HopSeconds = rapid.IntRange(1, 3).Draw(t, "hop")
		w.SizeSeconds = w.HopSeconds * rapid.IntRange(1, 4).Draw(t, "hops")
	case resource.WindowSession:
		w.GapSeconds = rapid.IntRange(1, 2).Draw(t, "gap")
		w.SizeSeconds = rapid.SampledFrom([]int{0, 3, 4, 5}).Draw(t, "size")
	default:
		w.SizeSeconds = rapid.IntRange(1, 4).Draw(t, "size")
	}
	w.LatenessSeconds = rapid.IntRange(0, 3).Draw(t, "lateness")
	partitions := []string{"2", "10", "x"}[:rapid.IntRange(1, 3).Draw(t, "partitions")]
	tw := &twin{w: w, streams: map[string][]reading{}}
	for _, p := range partitions {
		at := 500 * int64(rapid.IntRange(-6, 6).Draw(t, "from"))
		n := rapid.IntRange(1, 20).Draw(t, "n")
		for range n {
			at += rapid.SampledFrom([]int64{0, 500, 500, 500, 1000, 1000, 1500, 2500, -500, -1500, -2500, 7, 0}).Draw(t, "step")
			tw.streams[p] = append(tw.streams[p], reading{at, rapid.SampledFrom([]string{"a", "a", "b"}).Draw(t, "group"), drawValue(t)})
		}
	}
	want, late := tw.rows()

	open := func(state []byte) *Window {
		win, err := open("w", w, partitions, state)
		if err != nil {
			t.Fatal(err)
		}
		return win
	}
	type saved struct {
		state []byte
		next  map[string]int
		sent  int
	}
	win := open(nil)
	next := map[string]int{}
	var order []string // of rows, each once
	got := map[string]string{}
	now := saved{nil, map[string]int{}, 0}
	sent := 0 // rows of order that are forgotten by win
	for step := 0; ; step++ {
		var left []string
		for _, p := range partitions {
			if next[p] < len(tw.streams[p]) {
				left = append(left, p)
			}
		}
		act := rapid.IntRange(0, 9).Draw(t, "act")
		switch {
		case act == 0 && step < 200: // a crash
			win = open(now.state)
			next, sent = maps.Clone(now.next), now.sent
		case act <= 2: // rows are sent; they are in a snapshot first
			state, err := win.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			skip := rapid.IntRange(0, 2).Draw(t, "skip")
			for i, e := range win.Closed(0, 3)[min(skip, len(win.Closed(0, 3))):] {
				if again := win.Closed(skip, 3); string(again[i].Body) != string(e.Body) {
					t.Fatalf("skipped rows are %s, not %s", again[i].Body, e.Body)
				}
			}
			list := win.Closed(0, rapid.IntRange(1, 4).Draw(t, "rows"))
			for i, e := range list {
				name := e.Origin.Name
				if sent+i == len(order) {
					order = append(order, name)
				}
				if order[sent+i] != name {
					t.Fatalf("row %d was %s and is now %s", sent+i, order[sent+i], name)
				}
				if before := got[name]; before != "" && before != string(e.Body) {
					t.Fatalf("%s was %s and is now %s", name, before, e.Body)
				}
				got[name] = string(e.Body)
			}
			now = saved{state, maps.Clone(next), sent}
			n := rapid.IntRange(0, len(list)).Draw(t, "forget")
			win.Forget(n)
			sent += n
			if rapid.Bool().Draw(t, "save") {
				if state, err = win.Snapshot(); err != nil {
					t.Fatal(err)
				}
				now = saved{state, maps.Clone(next), sent}
			}
		case len(left) == 0 && len(win.Closed(0, 1)) == 0:
			check(t, want, got, late, win)
			return
		case len(left) > 0:
			p := rapid.SampledFrom(left).Draw(t, "partition")
			n := rapid.IntRange(1, 6).Draw(t, "batch")
			var batch []*event.Event
			for ; n > 0 && next[p] < len(tw.streams[p]); n-- {
				batch = append(batch, tw.streams[p][next[p]].event(p, int64(next[p])))
				next[p]++
			}
			if err := win.Add(p, batch); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func check(t *rapid.T, want, got map[string]string, late int64, win *Window) {
	bare := map[string]string{}
	for name, body := range got {
		var row struct{ G string }
		if err := json.Unmarshal([]byte(body), &row); err != nil {
			t.Fatal(err)
		}
		bare[name[:strings.LastIndexByte(name, '/')+1]+row.G] = body
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if bare[name] != want[name] {
			t.Fatalf("%s is\n%s, not\n%s", name, bare[name], want[name])
		}
		delete(bare, name)
	}
	for name, body := range bare {
		t.Fatalf("%s should not be: %s", name, body)
	}
	if c := win.Counts(); c.Late != late || int(c.Closed) != len(want) {
		t.Fatalf("%+v: %d were late, %d rows were closed", c, late, len(want))
	}
	kept := 0
	switch s := win.store.(type) {
	case *panes:
		for _, p := range s.list {
			for key, g := range p.groups {
				kept += groupCost + len(key) + g.kept()
			}
		}
	case *sessions:
		for key, of := range s.groups {
			for _, r := range of.list {
				kept += groupCost + len(key) + r.group.kept()
			}
		}
	}
	if kept != win.kept {
		t.Fatalf("%d bytes are kept, and %d accounted for", kept, win.kept)
	}
}
