package mux_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// blackHole is a peer like a machine that lost its power behind a relay: what is sent to it goes somewhere, and nothing comes back.
func blackHole(t *testing.T, cfg mux.Config) running {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { b.Close() })
	go func() { _, _ = io.Copy(io.Discard, b) }()
	return run(t, mux.Client(a, cfg))
}

func TestAFlowThatWaitsFindsOutThatThePeerIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		cfg         mux.Config
		gives       bool // up, before the session can know
		bytes       int  // sent behind the Open
		least, most time.Duration
	}{
		"a flow":                 {least: 4 * time.Second, most: 5 * time.Second},
		"one that gives up":      {gives: true, least: 4 * time.Second, most: 5 * time.Second},
		"on a line full of data": {bytes: 256 << 10, least: 19 * time.Second, most: 21 * time.Second},
		"more than patience":     {cfg: mux.Config{InitialWindow: 1 << 20}, bytes: 256 << 10, least: 19 * time.Second, most: 21 * time.Second},
		"told not to look":       {cfg: mux.Config{Doubt: -1}, least: 20 * time.Second, most: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := blackHole(t, c.cfg)
				time.Sleep(1300 * time.Millisecond) // of the bubble; the tunnel was idle, and nobody looked
				start := time.Now()
				st, err := s.Open(t.Context(), flow)
				if err != nil {
					t.Fatal(err)
				}
				if c.bytes > 0 {
					mustWrite(t, st, strings.Repeat("x", c.bytes))
				}
				time.Sleep(2500 * time.Millisecond)
				if in := s.InDoubt(); in != (c.cfg.Doubt >= 0) {
					t.Errorf("in doubt: %v", in)
				}
				if c.gives {
					st.Reset(tunnel.ResetPeer, "")
				}
				if err := s.waitInBubble(); fault.KindOf(err) != fault.Timeout || fault.Next(err) == "" {
					t.Errorf("Run: %v", err)
				}
				if took := time.Since(start); took < c.least || took > c.most {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestAPeerThatTakesItsTimeIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := two(t, mux.Config{})
		ours, err := c.Open(t.Context(), flow)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := s.Session.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 60 { // it dials a target that does not answer, say
			time.Sleep(time.Second)
			synctest.Wait()
			if c.InDoubt() || c.Err() != nil {
				t.Fatalf("in doubt: %v, %v", c.InDoubt(), c.Err())
			}
		}
		if err := theirs.Accept(); err != nil {
			t.Fatal(err)
		}
		if err := ours.WaitAccepted(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if c.InDoubt() || c.Err() != nil {
			t.Errorf("afterwards: %v, %v", c.InDoubt(), c.Err())
		}
		_, _ = ours.Close(), theirs.Close()
	})
}

// A peer that comes back while it is doubted is kept.
func TestASignOfLifeEndsTheDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		s := run(t, mux.Client(a, mux.Config{}))
		st, err := s.Open(t.Context(), flow)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		time.Sleep(500 * time.Millisecond) // off the full seconds, on which the session looks
		for range 6 {                      // each time just before the end
			time.Sleep(3 * time.Second)
			if !s.InDoubt() {
				t.Error("no doubt")
			}
			frame, _ := tunnel.AppendFrame(nil, ping(1))
			if _, err := b.Write(frame); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if s.InDoubt() || s.Err() != nil {
				t.Fatalf("in doubt: %v, %v", s.InDoubt(), s.Err())
			}
		}
	})
}
