package hub_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/isthmus-io/isthmus/hub"
)

// BenchmarkCommands sends to so many devices at once, one message after the other to each, and each device completes what it is given:
// ns/op is the time for one message of all, from sending to the end, three commits of its own.
func BenchmarkCommands(b *testing.B) {
	for _, devices := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) { benchmarkCommands(b, devices) })
	}
}

func benchmarkCommands(b *testing.B, devices int) {
	h := benchHub(b, hub.Config{Dir: b.TempDir()})
	players := make([]*player, devices)
	for i := range players {
		players[i] = &player{waiting: make(chan struct{}, 1)}
		players[i].Session = benchConnect(b, h, fmt.Sprint("d", i), players[i])
		players[i].Listen(hub.Commands, true)
	}
	body := make([]byte, 256)
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for _, p := range players {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := h.SendCommand(b.Context(), p.Name(), hub.Command{Body: body}); err != nil {
					b.Error(err)
					return
				}
				c, err := p.NextCommand(b.Context())
				if err != nil || c == nil {
					b.Error(c, err)
					return
				}
				if err := wait(p.Complete, c.Lock); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
