package eventlog_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
)

// BenchmarkAppend is what writers which each wait for their fsync get together, with bodies of 256 bytes.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l := open(b, eventlog.Config{}, clock.System{})
			ev := eventlog.Event{
				Body:   make([]byte, 256),
				System: map[string]string{"iothub-connection-device-id": "press-4", "iothub-message-source": "Telemetry"},
			}
			for i := range ev.Body {
				ev.Body[i] = byte(i * 31) // not all alike, or the store's compression has it too easy
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for w := range writers {
				key := fmt.Sprint("device-", w)
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := l.Append(b.Context(), "hub", key, ev); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// BenchmarkAppendAsync is one producer that does not wait, as a door does with the messages of all its connections.
func BenchmarkAppendAsync(b *testing.B) {
	l := open(b, eventlog.Config{}, clock.System{})
	body := make([]byte, 256)
	var wg sync.WaitGroup
	done := func(_ eventlog.Position, err error) {
		if err != nil {
			b.Error(err)
		}
		wg.Done()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		wg.Add(1)
		l.AppendAsync("hub", "device-1", eventlog.Event{Body: body}, done)
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkRead is a reader that catches up.
func BenchmarkRead(b *testing.B) {
	l := open(b, eventlog.Config{Partitions: 1}, clock.System{})
	const stored = 50_000
	var wg sync.WaitGroup
	wg.Add(stored)
	for range stored {
		l.AppendAsync("hub", "", eventlog.Event{Body: make([]byte, 256)}, func(eventlog.Position, error) { wg.Done() })
	}
	wg.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		events, err := l.Read(b.Context(), "hub", 0, int64(n%stored), min(1000, b.N-n))
		if err != nil || len(events) == 0 {
			b.Fatal(len(events), err)
		}
		n += len(events)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkBatch is one sender that does not wait for its answers.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{256, 4096} {
		for _, n := range []int{1, 100, 500} {
			b.Run(fmt.Sprintf("bytes=%d/events=%d", size, n), func(b *testing.B) {
				l := open(b, eventlog.Config{}, clock.System{})
				evs := make([]eventlog.Event, n)
				for i := range evs {
					evs[i].Body = noise(size)
				}
				var wg sync.WaitGroup
				done := func(_ eventlog.Position, err error) {
					if err != nil {
						b.Error(err)
					}
					wg.Done()
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += n {
					wg.Add(1)
					l.AppendBatch(eventlog.Batch{Stream: "hub", Partition: -1, Events: evs[:min(n, b.N-i)]}, done)
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}

// noise is what compression does not make smaller.
func noise(size int) []byte {
	b := make([]byte, size)
	x := uint32(size)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func fill(b *testing.B, l *opened, stored int) {
	b.Helper()
	evs := make([]eventlog.Event, 500)
	for i := range evs {
		evs[i].Body = noise(256)
	}
	for range stored / len(evs) {
		if _, err := appendBatch(l, eventlog.Batch{Stream: "hub", Partition: -1, Key: "k", Events: evs}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan is BenchmarkRead without copies.
func BenchmarkScan(b *testing.B) {
	l := open(b, eventlog.Config{Partitions: 1}, clock.System{})
	const stored = 50_000
	fill(b, l, stored)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		seen := 0
		err := l.Scan(b.Context(), "hub", 0, int64(n%stored), min(1000, b.N-n), func(v *eventlog.View) bool { seen += len(v.Body) / 256; return true })
		if err != nil || seen == 0 {
			b.Fatal(seen, err)
		}
		n += seen
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkTail is a reader that wakes up for each single event at the end of a log which holds others, as it is without the wait.
func BenchmarkTail(b *testing.B) {
	for _, stored := range []int{0, 500_000} {
		b.Run(fmt.Sprintf("stored=%d", stored), func(b *testing.B) {
			l := open(b, eventlog.Config{}, clock.System{})
			fill(b, l, stored)
			pos := mustAppend(b, l, "hub", "k", eventlog.Event{Body: noise(256)})
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				seen := 0
				if err := l.Scan(b.Context(), "hub", pos.Partition, pos.Sequence, 100, func(*eventlog.View) bool { seen++; return true }); err != nil || seen != 1 {
					b.Fatal(seen, err)
				}
			}
		})
	}
}
