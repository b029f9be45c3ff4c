package mux_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// scripted is a connection on which the peer says what the script holds and then hangs up.
type scripted struct {
	net.Conn
	r io.Reader
}

func (c scripted) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (c scripted) Close() error                     { return nil }
func (c scripted) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession lets a peer say anything. Whatever it is, the session ends, holds no memory afterwards, and its streams fail.
func FuzzSession(f *testing.F) {
	add := func(frames ...tunnel.Frame) {
		var b []byte
		for _, fr := range frames {
			b, _ = tunnel.AppendFrame(b, fr)
		}
		f.Add(b, true)
		f.Add(b, false)
	}
	add(open(1), data(1, 10), window(1, 10), bare(tunnel.TypeFin, 1))
	add(open(2), data(2, 5000), reset(2, 4), data(2, 1))
	add(bare(tunnel.TypeAccept, 1), data(1, 100), bare(tunnel.TypeFin, 1), bare(tunnel.TypeFin, 3))
	add(ping(1), tunnel.Frame{Type: tunnel.TypePing, Flags: 1, Payload: []byte{0, 0, 0, 0, 0, 0, 0, 1}})
	add(tunnel.Frame{Type: tunnel.TypeGoAway, Payload: []byte{0, 6, 'x'}}, open(1), open(3), open(3))
	f.Fuzz(func(t *testing.T, script []byte, client bool) {
		conn := scripted{r: bytes.NewReader(script)}
		cfg := mux.Config{KeepAlive: -1, MaxMemory: 64 << 10, AcceptBacklog: 4}
		s := mux.Server(conn, cfg)
		if client {
			s = mux.Client(conn, cfg)
		}
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		var wg sync.WaitGroup
		own := make([]*mux.Stream, 3)
		for i := range own {
			st, err := s.Open(ctx, flow)
			if err != nil {
				t.Fatal(err)
			}
			own[i] = st
			wg.Go(func() { _, _ = st.Write(make([]byte, 10_000)) })
		}
		wg.Go(func() {
			for {
				st, err := s.Accept(ctx)
				if err != nil {
					return
				}
				_, _ = io.CopyN(st, onlyReader{st}, 1000)
				_ = st.Close()
			}
		})
		if err := s.Run(ctx); err == nil {
			t.Fatal("Run says that all went well")
		}
		wg.Wait()
		for _, st := range own {
			if _, err := io.Copy(io.Discard, st); err == nil {
				_ = st.CloseWrite()
			}
			_ = st.Close()
		}
		if st := s.Stats(); st.Held != 0 || s.Streams() != 0 {
			t.Fatalf("%d streams and %d bytes left", s.Streams(), st.Held)
		}
	})
}
