package eventlog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
)

// testdata/layout1 was written by a release without formats, producers and streams' own options: 40 events with a property and a
// message id and 4 without, of device-0 to device-3 in turn, a second apart, in 2 partitions of contoso, trimmed before event 3 of
// partition 0 and, after the first 40, all of partition 1; and one empty event in a stream named other.
func TestAStoreOfTheFirstLayoutOpens(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "layout1"))); err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	clk := clock.NewFake(start.Add(time.Hour))
	next := [2]int64{22, 22}
	offset := [2]int64{}
	for round := range 3 { // as the old release left it, and twice after this one wrote to it
		l := open(t, eventlog.Config{Dir: dir, Partitions: 5}, clk)
		if o, err := l.Options("contoso"); err != nil || o != (eventlog.StreamOptions{Partitions: 2, Hash: "fnv"}) {
			t.Fatalf("%+v, %v", o, err)
		}
		if round == 0 {
			sameAsWritten(t, l, start)
		}
		for i := range int64(2) {
			info, err := l.Info("contoso", int(i))
			if err != nil || info.Next != next[i] || info.LastOffset < offset[i] || info.First != []int64{3, 20}[i] {
				t.Errorf("round %d: partition %d: %+v, %v", round, i, info, err)
			}
			pos, err := l.AppendTo(t.Context(), "contoso", int(i), "", eventlog.Event{Format: 7, Body: []byte("new")})
			if err != nil || pos.Sequence != next[i] || pos.Offset <= info.LastOffset {
				t.Errorf("round %d: %+v, %v after %+v", round, pos, err, info)
			}
			all, err := l.Read(t.Context(), "contoso", int(i), 0, 0)
			if err != nil || int64(len(all)) != pos.Sequence+1-info.First || all[0].Format != 0 || all[len(all)-1].Format != 7 {
				t.Errorf("round %d: %d events, %v", round, len(all), err)
			}
			next[i], offset[i] = next[i]+1, pos.Offset
		}
		if round == 1 {
			if err := l.DeleteStream(t.Context(), "other"); err != nil {
				t.Error(err)
			}
		}
		l.end(t)
	}
}

func sameAsWritten(t *testing.T, l *opened, start time.Time) {
	t.Helper()
	seen := map[string]bool{}
	for i := range 2 {
		events, err := l.Read(t.Context(), "contoso", i, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			var n int
			if _, err := fmt.Sscanf(string(ev.Body), "body %d", &n); err != nil || seen[string(ev.Body)] {
				t.Fatalf("%+v, %v", ev, err)
			}
			seen[string(ev.Body)] = true
			at := start.Add(time.Duration(n) * time.Second)
			full := n < 40
			if !full {
				at = at.Add(time.Second)
			}
			if ev.Format != 0 || ev.PartitionKey != fmt.Sprint("device-", n%4) || !ev.Enqueued.Equal(at) ||
				full != (ev.Properties["n"] == fmt.Sprint(n)) || full != (ev.System["message-id"] == fmt.Sprint("m-", n)) {
				t.Errorf("%+v", ev)
			}
		}
	}
	if len(seen) != 17+2+2 {
		t.Errorf("%d events: %v", len(seen), seen)
	}
}
