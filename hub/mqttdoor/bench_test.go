package mqttdoor_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// nullLog makes everything durable at once.
type nullLog struct{ hub.EventLog }

func (nullLog) AppendAsync(_, _ string, _ eventlog.Event, done func(eventlog.Position, error)) {
	done(eventlog.Position{}, nil)
}

// BenchmarkQoS1 measures messages of 128 bytes with properties through TLS, the door and a log that costs nothing, and the way back of
// their PUBACKs. Senders are in the same process, so the door has less than the whole machine. A device keeps window messages in
// flight.
func BenchmarkQoS1(b *testing.B) {
	for _, c := range []struct{ devices, window int }{{1, 128}, {10, 128}, {100, 16}, {100, 1}} {
		b.Run(fmt.Sprintf("devices=%d/window=%d", c.devices, c.window), func(b *testing.B) {
			flood(b, hubtest.Start(b, hubtest.Options{Log: nullLog{}}), c.devices, c.window)
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
	b.Run("devices=100/window=64", func(b *testing.B) { flood(b, hubtest.Start(b, hubtest.Options{Log: log}), 100, 64) })
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	if err := log.Close(); err != nil {
		b.Error(err)
	}
	_ = os.RemoveAll(dir)
}

func flood(b *testing.B, w *hubtest.World, devices, window int) {
	if _, err := w.Hub(hubtest.Contoso).SetLimits(b.Context(), []byte(`{"device":{"messages":{"perSecond":0}},"hub":{"messages":{"perSecond":0}}}`), "benchmark"); err != nil {
		b.Fatal(err) // one device may have all there is
	}
	conns := make([]*tls.Conn, devices)
	for i := range conns {
		d := w.Device(hubtest.Contoso, fmt.Sprintf("d%d", i))
		c, err := w.Dial(w.MQTT, nil, hubtest.Contoso)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		p, _ := connect(hubtest.Contoso, d.ID, w.Token(hubtest.Contoso, d)).Append(nil)
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			b.Fatal(err)
		}
		conns[i] = c
	}
	body := make([]byte, 128)
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	var all sync.WaitGroup
	for i, c := range conns {
		n := b.N / devices
		if i < b.N%devices {
			n++
		}
		all.Go(func() {
			send(b, c, fmt.Sprintf("devices/d%d/messages/events/%%24.ct=application%%2Fjson&line=3", i), body, n, window)
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msg/s")
}

// send publishes n messages, in bursts of half the window.
func send(b *testing.B, c *tls.Conn, topic string, body []byte, n, window int) {
	var burst []byte
	half := max(1, window/2)
	for i := range half {
		burst, _ = (&mqtt.Publish{Topic: []byte(topic), Payload: body, QoS: 1, ID: uint16(i + 1)}).Append(burst)
	}
	one := len(burst) / half
	acks := make([]byte, 4*half)
	flying := 0
	for n > 0 || flying > 0 {
		for n > 0 && flying+min(n, half) <= window {
			k := min(n, half)
			if _, err := c.Write(burst[:k*one]); err != nil {
				b.Error(err)
				return
			}
			flying += k
			n -= k
		}
		k := min(flying, half)
		if _, err := io.ReadFull(c, acks[:4*k]); err != nil {
			b.Error(err)
			return
		}
		flying -= k
	}
}
