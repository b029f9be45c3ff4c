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
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		wg.Add(1)
		l.AppendAsync("hub", "device-1", eventlog.Event{Body: body}, func(_ eventlog.Position, err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
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
