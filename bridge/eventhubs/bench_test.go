package eventhubs_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
)

// usual is events as a hub of 1,000 devices has them: 256 bytes, two application properties, four system properties.
func usual(n, first int) []*event.Event {
	body := bytes.Repeat([]byte("x"), 256)
	out := make([]*event.Event, n)
	for i := range out {
		device := fmt.Sprintf("press-%03d", (first+i)*7%1000)
		out[i] = &event.Event{
			Origin: event.Origin{Partition: "0", Sequence: int64(first + i)}, Body: body, Key: device,
			Properties: []event.Property{{Name: "unit", Value: "C"}, {Name: "line", Value: int64(7)}},
			System: []event.Property{
				{Name: event.DeviceID, Value: device}, {Name: "iothub-message-source", Value: "Telemetry"},
				{Name: event.ContentType, Value: "application/json"}, {Name: event.ContentEncoding, Value: "utf-8"},
			},
		}
	}
	return out
}

// BenchmarkWrite writes from four lanes, 1,000 events at a time, to four partitions of a namespace in the same process, whose log is on the
// disk, over loopback with TLS. An event counts once it is synced.
func BenchmarkWrite(b *testing.B) { benchmarkWrite(b, eventhubtest.FilesIn(b.TempDir())) }

// BenchmarkWriteMemory is the same with a log in memory: what it costs but for the disk.
func BenchmarkWriteMemory(b *testing.B) { benchmarkWrite(b, eventhubtest.NewFiles()) }

func benchmarkWrite(b *testing.B, files *eventhubtest.Files) {
	w := newWorldIn(b, files, clock.System{}, amqpdoor.Config{})
	w.ns.Create("copies", 4)
	d := w.destination("copies")
	const lanes, size = 4, 1000
	batch := usual(size, 0)
	if err := d.Write(b.Context(), "0", batch); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for l := range lanes {
		all.Go(func() {
			for range (b.N + lanes*size - 1) / (lanes * size) {
				if err := d.Write(b.Context(), strconv.Itoa(l), batch); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64((b.N+lanes*size-1)/(lanes*size)*lanes*size)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkRead reads four partitions, 1,000 events at a time, in the same way.
func BenchmarkRead(b *testing.B) {
	w := newWorldIn(b, eventhubtest.FilesIn(b.TempDir()), clock.System{}, amqpdoor.Config{})
	w.ns.Create("copies", 4)
	d := w.destination("copies")
	const stored = 100_000
	for i := range stored / 1000 {
		if err := d.Write(b.Context(), "0", usual(1000, i*1000)); err != nil {
			b.Fatal(err)
		}
	}
	s := w.source("copies")
	b.ReportAllocs()
	b.ResetTimer()
	total := 0
	for total < b.N {
		counts := make([]int, 4)
		var all sync.WaitGroup
		for p := range counts {
			r, err := s.Read(b.Context(), strconv.Itoa(p), bridge.Earliest(), 1)
			if err != nil {
				b.Fatal(err)
			}
			all.Go(func() {
				next, _ := r.End()
				for counts[p] < int(next) {
					list, err := r.Next(context.Background(), 1000, 1<<20)
					if err != nil {
						b.Error(err)
						return
					}
					counts[p] += len(list)
				}
				_ = r.Close()
			})
		}
		all.Wait()
		for _, n := range counts {
			total += n
		}
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "events/s")
}
