package window

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/resource"
)

func threeAggregates() *resource.Window {
	return &resource.Window{
		SizeSeconds: 60, Time: "this.at", GroupBy: []resource.Column{{Name: "machine", Value: "this.machine"}},
		Aggregates: []resource.Aggregate{
			{Name: "n", Function: resource.AggregateCount},
			{Name: "mean", Function: resource.AggregateAvg, Value: "this.celsius"},
			{Name: "most", Function: resource.AggregateMax, Value: "this.celsius"},
		},
	}
}

func manyEvents(n, groups int, from time.Time) []*event.Event {
	filler := strings.Repeat("x", 150)
	out := make([]*event.Event, n)
	for i := range out {
		at := from.Add(time.Duration(i) * time.Millisecond)
		out[i] = &event.Event{
			Origin: event.Origin{Partition: "0", Sequence: int64(i), Enqueued: at},
			Body:   fmt.Appendf(nil, `{"machine":"press-%d","celsius":%.3f,"at":%q,"note":%q}`, i*7919%groups, 20+float64(i%1000)/37, at.UTC().Format(time.RFC3339Nano), filler),
		}
	}
	return out
}

// Events of 256 bytes in batches of 1,000, 1,000 groups, a minute a window.
func BenchmarkAdd(b *testing.B) {
	win := must(b, threeAggregates(), "0")
	events := manyEvents(120_000, 1000, time.Unix(1_700_000_000, 0))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		at := n % len(events)
		if at == 0 && n > 0 {
			win = must(b, threeAggregates(), "0")
		}
		if err := win.Add("0", events[at:at+1000]); err != nil {
			b.Fatal(err)
		}
		n += 1000
		win.Forget(len(win.Closed(0, 10_000)))
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

// 200,000 groups in one window: what a group takes in memory and in a snapshot, and how long that takes.
func BenchmarkGroups(b *testing.B) {
	const groups = 200_000
	events := manyEvents(groups, groups, time.Unix(1_700_000_000, 0))
	w := threeAggregates()
	w.SizeSeconds = 86_400
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		win := must(b, w, "0")
		for at := 0; at < groups; at += 1000 {
			if err := win.Add("0", events[at:at+1000]); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		began := time.Now()
		state, err := win.Snapshot()
		took := time.Since(began)
		if err != nil {
			b.Fatal(err)
		}
		began = time.Now()
		if _, err := open("w", w, []string{"0"}, state); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "restore-ms")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(win.Counts().Open), "B/group")
		b.ReportMetric(float64(len(state))/float64(win.Counts().Open), "snapshot-B/group")
		b.ReportMetric(float64(took.Microseconds())/1000, "snapshot-ms")
		runtime.KeepAlive(win)
	}
}
