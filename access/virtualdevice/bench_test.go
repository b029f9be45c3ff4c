package virtualdevice_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/virtualdevice"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/stream"
)

// near is a stream whose service's end is in the hub's process, as gates have it.
func near(b *testing.B, serve func(net.Conn)) net.Conn {
	b.Helper()
	w := newWorld(b, nil)
	w.host.Set([]virtualdevice.Device{w.settings("press-4", map[string]string{"bench": target(b, "tcp", serve)})})
	w.run()
	w.status("press-4", isConnected)
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	c, err := w.Streams.Dial(ctx, w.Hub(hubtest.Contoso), stream.Request{To: hub.Name{Device: "press-4"}, Name: "bench", Host: hubtest.Contoso})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

func BenchmarkToTheMachine(b *testing.B) {
	got := make(chan int64, 1)
	c := near(b, func(c net.Conn) { n, _ := io.Copy(io.Discard, c); got <- n })
	block := make([]byte, 32<<10)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := c.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		b.Fatal(err)
	}
	<-got
}

func BenchmarkFromTheMachine(b *testing.B) {
	c := near(b, func(c net.Conn) {
		block := make([]byte, 32<<10)
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	block := make([]byte, 32<<10)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := io.ReadFull(c, block); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKeystroke is one byte there and back.
func BenchmarkKeystroke(b *testing.B) {
	c := near(b, echo)
	key := make([]byte, 1)
	begun := time.Now()
	for b.Loop() {
		if _, err := c.Write(key); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, key); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(begun).Microseconds())/float64(b.N), "µs/key")
}
