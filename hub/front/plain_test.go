package front_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/hubtest"
)

// Bytes come as they are, and what a header says of the peer counts as it does elsewhere.
func TestPlainConnections(t *testing.T) {
	w := closed(t, hubtest.Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sides := make(chan uint32, 2)
	served := make(chan error, 1)
	fr := front.New(front.Config{}, w.Server, nil, slog.New(slog.DiscardHandler), clock.System{})
	go func() {
		served <- fr.ServePlain(ctx, ln, "plain", func(_ context.Context, c *front.Conn) {
			var b [5]byte
			if _, err := io.ReadFull(c, b[:]); err == nil {
				sides <- c.Side.Link
				_, _ = c.Write(b[:])
			}
		})
	}()
	for _, link := range []uint32{0, hubtest.ContosoLink} {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		var head []byte
		if link != 0 {
			head = w.Header(hubtest.Contoso, link)
		}
		if _, err := c.Write(append(head, "hello"...)); err != nil {
			t.Fatal(err)
		}
		back, err := io.ReadAll(c)
		if err != nil || string(back) != "hello" || <-sides != link {
			t.Errorf("link %d: %q, %v", link, back, err)
		}
		_ = c.Close()
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
