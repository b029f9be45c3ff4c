package front_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// handled serves a listener beside the world's with a handler of the test's, and returns its address.
func handled(t *testing.T, w *hubtest.World, handle func(context.Context, *front.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Front.Serve(ctx, ln, "test", handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// A connection that is kept outlives its handler, also when somebody else keeps it before the handler has returned.
func TestKeptConnections(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	kept := make(chan *front.Conn, 1)
	returned := make(chan struct{}, 1)
	address := handled(t, w, func(_ context.Context, c *front.Conn) {
		defer func() { returned <- struct{}{} }()
		c.Keep()
		c.Hand(c.Keep)
		kept <- c
	})
	for _, last := range []func(*front.Conn){(*front.Conn).Leave, func(c *front.Conn) { c.Hand(func() {}) }, func(c *front.Conn) { c.Cut(hub.HubGone); c.Leave(); c.Leave() }} {
		client, err := w.Dial(address, nil, hubtest.Contoso)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_ = client.SetDeadline(time.Now().Add(20 * time.Second))
		c := <-kept
		<-returned
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := io.ReadFull(client, b); err != nil || b[0] != 'x' {
			t.Fatalf("read %q, %v", b, err)
		}
		last(c)
		if _, err := client.Read(b); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it is still there: %v", err)
		}
	}
}

// A connection rests until bytes come, its deadline passes or it is cut.
func TestRest(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	conns := make(chan *front.Conn, 1)
	address := handled(t, w, func(_ context.Context, c *front.Conn) {
		c.Keep()
		conns <- c
	})
	client, err := w.Dial(address, nil, hubtest.Contoso)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c := <-conns
	defer c.Leave()
	if !c.MayRest() {
		return // the platform cannot
	}
	b := make([]byte, 10)
	quiet := func() {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if n, err := c.Read(b); n != 0 || err == nil {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
	for range 50 {
		quiet()
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		go func() { _, _ = client.Write([]byte("hello")) }()
		if err := c.Rest(); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(b); err != nil || string(b[:n]) != "hello" {
			t.Fatalf("read %q, %v", b[:n], err)
		}
	}
	quiet()
	if err := c.Rest(); err == nil {
		t.Error("it does not end with its deadline")
	}
	_ = c.SetReadDeadline(time.Time{})
	go c.Cut(hub.DeviceDisabled)
	_ = c.Rest()
	if _, err := c.Read(b); err == nil || c.Cause() != hub.DeviceDisabled {
		t.Errorf("after the cut %v, %v", err, c.Cause())
	}
}
