package mux_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within bounds every wait of a test; it is long so that a loaded machine does not matter.
const within = 20 * time.Second

func bounded(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	tb.Cleanup(cancel)
	return ctx
}

// running is a session with its Run in the background.
type running struct {
	*mux.Session
	ended chan error
}

func run(tb testing.TB, s *mux.Session) running {
	ctx, cancel := context.WithCancel(context.Background())
	r := running{s, make(chan error, 1)}
	var wg sync.WaitGroup
	wg.Go(func() { r.ended <- s.Run(ctx) })
	tb.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return r
}

// wait returns what Run returned.
func (r running) wait(tb testing.TB) error {
	tb.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(within):
		tb.Fatal("the session did not end")
		return nil
	}
}

// two sessions joined in memory.
func two(tb testing.TB, cfg mux.Config) (client, server running) {
	a, b := net.Pipe()
	return run(tb, mux.Client(a, cfg)), run(tb, mux.Server(b, cfg))
}

// streams opens one and returns both of its ends.
func streams(tb testing.TB, c, s running) (ours, theirs *mux.Stream) {
	tb.Helper()
	ctx := bounded(tb)
	ours, err := c.Open(ctx, flow)
	if err != nil {
		tb.Fatal(err)
	}
	if theirs, err = s.Session.Accept(ctx); err != nil {
		tb.Fatal(err)
	}
	for _, st := range []*mux.Stream{ours, theirs} {
		_ = st.SetDeadline(time.Now().Add(within))
		tb.Cleanup(func() { _ = st.Close() })
	}
	return ours, theirs
}

// remote checks that the error is the peer's reset with the code.
func isReset(tb testing.TB, err error, code tunnel.ResetCode, remote bool) {
	tb.Helper()
	var r *mux.ResetError
	if !errors.As(err, &r) || r.Code != code || r.Remote != remote {
		tb.Fatalf("error %v, want a reset with %v, by the peer: %v", err, code, remote)
	}
}

// puppet is a peer that says exactly what it is told.
type puppet struct {
	tb     testing.TB
	conn   net.Conn
	frames chan tunnel.Frame // what the session says; closed at its end
}

// newPuppet joins a puppet to a session, which is the client if asked.
func newPuppet(tb testing.TB, cfg mux.Config, client bool) (*puppet, running) {
	a, b := net.Pipe()
	p := &puppet{tb: tb, conn: b, frames: make(chan tunnel.Frame, 4096)}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(p.frames)
		r := bufio.NewReader(b)
		for {
			f, err := tunnel.ReadFrame(r)
			if err != nil {
				return
			}
			p.frames <- f
		}
	})
	s := mux.Server(a, cfg)
	if client {
		s = mux.Client(a, cfg)
	}
	r := run(tb, s)
	tb.Cleanup(func() {
		_ = b.Close()
		wg.Wait()
	})
	return p, r
}

// say sends frames; a session that has hung up does not matter.
func (p *puppet) say(frames ...tunnel.Frame) {
	p.tb.Helper()
	var b []byte
	var err error
	for _, f := range frames {
		if b, err = tunnel.AppendFrame(b, f); err != nil {
			p.tb.Fatal(err)
		}
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(within))
	_, _ = p.conn.Write(b)
}

// hear returns the next frame of the type, passing over others.
func (p *puppet) hear(t tunnel.Type) tunnel.Frame {
	p.tb.Helper()
	deadline := time.After(within)
	for {
		select {
		case f, ok := <-p.frames:
			if !ok {
				p.tb.Fatalf("the session hung up before it said %v", t)
			}
			if f.Type == t {
				return f
			}
		case <-deadline:
			p.tb.Fatalf("the session did not say %v", t)
		}
	}
}

func open(id uint32) tunnel.Frame {
	b, _ := tunnel.AppendFlow(nil, flow)
	return tunnel.Frame{Type: tunnel.TypeOpen, Stream: id, Payload: b}
}

func data(id uint32, n int) tunnel.Frame {
	return tunnel.Frame{Type: tunnel.TypeData, Stream: id, Payload: bytes.Repeat([]byte{'d'}, n)}
}

func window(id, credit uint32) tunnel.Frame {
	b := make([]byte, 4)
	tunnel.PutWindow(b, credit)
	return tunnel.Frame{Type: tunnel.TypeWindow, Stream: id, Payload: b}
}

func reset(id uint32, code tunnel.ResetCode) tunnel.Frame {
	return tunnel.Frame{Type: tunnel.TypeReset, Stream: id, Payload: tunnel.AppendReason(nil, code, "so")}
}

func bare(t tunnel.Type, id uint32) tunnel.Frame { return tunnel.Frame{Type: t, Stream: id} }

func ping(token byte) tunnel.Frame {
	return tunnel.Frame{Type: tunnel.TypePing, Payload: []byte{0, 0, 0, 0, 0, 0, 0, token}}
}

func mustRead(tb testing.TB, r io.Reader, want string) {
	tb.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		tb.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

func mustWrite(tb testing.TB, w io.Writer, s string) {
	tb.Helper()
	if n, err := io.WriteString(w, s); err != nil || n != len(s) {
		tb.Fatalf("wrote %d of %q: %v", n, s, err)
	}
}

func pipe() (a, b net.Conn) { return net.Pipe() }
