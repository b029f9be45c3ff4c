package amqpdoor_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// nullLog makes everything durable at once.
type nullLog struct{ hub.EventLog }

func (nullLog) AppendAsync(_, _ string, _ eventlog.Event, done func(eventlog.Position, error)) {
	done(eventlog.Position{}, nil)
}

// BenchmarkTelemetry measures messages of 256 bytes with properties through TLS, the door and a log that costs nothing, and the way back of
// their outcomes. The sender is in the same process, so the door has less than the whole machine.
func BenchmarkTelemetry(b *testing.B) {
	for _, c := range []struct{ devices, window int }{{1, 1}, {1, 500}, {50, 10}} {
		b.Run(fmt.Sprintf("devices=%d/window=%d", c.devices, c.window), func(b *testing.B) {
			flood(b, start(b, hubtest.Options{Log: nullLog{}}, amqpdoor.Config{}), c.devices, c.window)
		})
	}
}

// BenchmarkDurable is the same with the real log on this machine's disk.
func BenchmarkDurable(b *testing.B) {
	dir := b.TempDir()
	log, err := eventlog.Open(eventlog.Config{Dir: dir, FS: vfs.Default}, hubtest.Silent(), clock.System{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- log.Run(ctx) }()
	for _, c := range []struct{ devices, window int }{{1, 1}, {1, 500}, {50, 50}} {
		b.Run(fmt.Sprintf("devices=%d/window=%d", c.devices, c.window), func(b *testing.B) {
			flood(b, start(b, hubtest.Options{Log: log}, amqpdoor.Config{}), c.devices, c.window)
		})
	}
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	if err := log.Close(); err != nil {
		b.Error(err)
	}
	_ = os.RemoveAll(dir)
}

// flood sends b.N messages of so many devices of one connection, each of which keeps window of them in flight.
func flood(b *testing.B, w *world, devices, window int) {
	if _, err := w.Hub(hubtest.Contoso).SetLimits(b.Context(), []byte(`{"device":{"messages":{"perSecond":0}},"hub":{"messages":{"perSecond":0}}}`), "benchmark"); err != nil {
		b.Fatal(err) // one device may have all there is
	}
	c := w.dial()
	c.ctx = b.Context()
	c.claims("devices", w.policyToken("devices"))
	message := encode(b, amqp.Message{
		Properties: &amqp.Properties{ContentType: "application/json"}, ApplicationProperties: amqp.Map{{Key: "line", Value: "3"}}, Data: [][]byte{make([]byte, 256)},
	})
	var all sync.WaitGroup
	var failed sync.Once
	begin := make(chan struct{})
	for i := range devices {
		w.Device(hubtest.Contoso, fmt.Sprintf("d%d", i))
		s := c.sends(fmt.Sprintf("/devices/d%d/messages/events", i))
		n := b.N / devices
		if i < b.N%devices {
			n++
		}
		all.Go(func() {
			free := make(chan struct{}, window)
			done := func(s amqp.State) {
				if s != (amqp.Accepted{}) {
					failed.Do(func() { b.Errorf("%+v", s) })
				}
				<-free
			}
			<-begin
			for range n {
				free <- struct{}{}
				if err := s.Start(b.Context(), message, 0, done); err != nil {
					b.Error(err)
					return
				}
			}
			for range window {
				free <- struct{}{}
			}
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	close(begin)
	all.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msg/s")
}
