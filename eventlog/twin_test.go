package eventlog_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
)

// twin is the log as one would write it without a disk: slow, obvious, and right.
type twin struct {
	partitions map[string][]*twinPartition
	turn       map[string]int
}

type twinPartition struct {
	events []eventlog.Event // all there ever were, by sequence number
	first  int64
}

func (w *twin) append(stream, key string, ev eventlog.Event) (int, int64) {
	ps := w.partitions[stream]
	if ps == nil {
		ps = []*twinPartition{{}, {}, {}}
		w.partitions[stream] = ps
	}
	i := w.turn[stream] % len(ps)
	if key != "" {
		i = int(eventlog.FNV(key) % uint32(len(ps)))
	} else {
		w.turn[stream]++
	}
	ps[i].events = append(ps[i].events, ev)
	return i, int64(len(ps[i].events) - 1)
}

func TestLogBehavesAsItsTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := eventlog.Config{Dir: "log", Partitions: 3, Reserve: 1, FS: vfs.NewMem()}
		clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
		var l *eventlog.Log
		var stop func()
		start := func() {
			var err error
			if l, err = eventlog.Open(cfg, quiet(), clk, nil); err != nil {
				rt.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ran := make(chan error, 1)
			go func() { ran <- l.Run(ctx) }()
			stop = func() {
				cancel()
				if err := <-ran; err != nil {
					rt.Fatal(err)
				}
				if err := l.Close(); err != nil {
					rt.Fatal(err)
				}
			}
		}
		start()
		defer func() { stop() }()
		w := &twin{partitions: map[string][]*twinPartition{}, turn: map[string]int{}}
		stream := rapid.SampledFrom([]string{"a", "b"})
		pick := func(rt *rapid.T) (string, int, *twinPartition) {
			s, i := stream.Draw(rt, "stream"), rapid.IntRange(0, 2).Draw(rt, "partition")
			if w.partitions[s] == nil {
				rt.Skip("no such stream yet")
			}
			return s, i, w.partitions[s][i]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				s := stream.Draw(rt, "stream")
				key := rapid.SampledFrom([]string{"", "d1", "d2", "d3", "d4"}).Draw(rt, "key")
				ev := eventlog.Event{Body: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "body")}
				pos, err := l.Append(context.Background(), s, key, ev)
				i, seq := w.append(s, key, ev)
				if err != nil || pos.Partition != i || pos.Sequence != seq {
					rt.Fatalf("append: %+v, %v, want %d/%d", pos, err, i, seq)
				}
			},
			"trim": func(rt *rapid.T) {
				s, i, p := pick(rt)
				before := rapid.Int64Range(-1, int64(len(p.events))+2).Draw(rt, "before")
				if err := l.Trim(s, i, before); err != nil {
					rt.Fatal(err)
				}
				p.first = max(p.first, min(before, int64(len(p.events))))
			},
			"read": func(rt *rapid.T) {
				s, i, p := pick(rt)
				from, limit := rapid.Int64Range(-1, 30).Draw(rt, "from"), rapid.IntRange(1, 10).Draw(rt, "limit")
				got, err := l.Read(context.Background(), s, i, from, limit)
				if err != nil {
					rt.Fatal(err)
				}
				lo := min(max(from, p.first), int64(len(p.events)))
				want := p.events[lo:min(lo+int64(limit), int64(len(p.events)))]
				if len(got) != len(want) {
					rt.Fatalf("read %d of %d from %d: %d events, want %d", i, len(p.events), from, len(got), len(want))
				}
				for j := range got {
					if got[j].Sequence != lo+int64(j) || !bytes.Equal(got[j].Body, want[j].Body) {
						rt.Fatalf("event %d: %+v, want %q", j, got[j], want[j].Body)
					}
				}
			},
			"restart": func(*rapid.T) { stop(); start(); w.turn = map[string]int{} },
			"": func(rt *rapid.T) {
				for s, ps := range w.partitions {
					for i, p := range ps {
						if first, next := l.Bounds(s, i); first != p.first || next != int64(len(p.events)) {
							rt.Fatalf("%s/%d: bounds %d, %d, want %d, %d", s, i, first, next, p.first, len(p.events))
						}
					}
				}
			},
		})
	})
}
