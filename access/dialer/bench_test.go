package dialer

import (
	"io"
	"net"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
)

// BenchmarkBulk is bytes of one connection through listener, relay and agent into a machine that reads as fast as it can.
func BenchmarkBulk(b *testing.B) {
	w := newWorld(b)
	w.grant("g-1", machine(b, func(c *net.TCPConn) {
		_, _ = io.Copy(io.Discard, c)
		_, _ = c.Write([]byte{1})
	}))
	address := w.listening(b)
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	chunk := make([]byte, 1<<20)
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if _, err := c.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkKeystroke is a byte there and back.
func BenchmarkKeystroke(b *testing.B) {
	w := newWorld(b)
	w.grant("g-1", machine(b, echo))
	c, err := net.Dial("tcp", w.listening(b))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	key := make([]byte, 1)
	for b.Loop() {
		if _, err := c.Write(key); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, key); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSession is a connection in a tunnel that stands, from the first to the last byte.
func BenchmarkSession(b *testing.B) {
	w := newWorld(b)
	w.grant("g-1", machine(b, echo))
	address := w.listening(b)
	for b.Loop() {
		if got, err := talkTo(address, "x"); got != "x" {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is a program from its start to the first byte back, with a pass that was kept: relay, tunnel and session.
func BenchmarkStart(b *testing.B) {
	w := newWorld(b)
	w.grant("g-1", machine(b, echo))
	file := b.TempDir() + "/pass.json"
	for b.Loop() {
		d, stop := w.dialerOn(Config{File: file, Holder: "alice"}, clock.System{})
		c, err := d.Dial(b.Context(), "g-1")
		if err != nil {
			b.Fatal(err)
		}
		if got, err := talk(c, "x"); got != "x" {
			b.Fatal(err)
		}
		stop()
	}
}

// listening forwards to the grant g-1 until the benchmark ends.
func (w *world) listening(b *testing.B) string {
	b.Helper()
	d := w.dialer(Config{})
	l := listen(b)
	done := make(chan error, 1)
	go func() { done <- d.Forward(b.Context(), l, "g-1", nil) }()
	b.Cleanup(func() {
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return l.Addr().String()
}
