package mux_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestTwoIdleSessionsStayAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := two(t, mux.Config{})
		time.Sleep(24 * time.Hour) // of the bubble
		synctest.Wait()
		select {
		case err := <-c.ended:
			t.Fatal(err)
		case err := <-s.ended:
			t.Fatal(err)
		default:
		}
		if c.RTT() == 0 || s.RTT() == 0 {
			t.Error("no round trip was measured")
		}
	})
}

func TestASilentPeerEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		go func() { _, _ = io.Copy(io.Discard, b) }() // reads and says nothing
		start := time.Now()
		err := run(t, mux.Client(a, mux.Config{})).waitInBubble()
		if fault.KindOf(err) != fault.Timeout || fault.Next(err) == "" {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAPeerThatTalksButDoesNotAnswerEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		go func() { // it reads, to be told the reason, and talks of other things
			_, _ = io.Copy(io.Discard, b)
		}()
		var wg sync.WaitGroup
		defer wg.Wait()
		defer b.Close()
		wg.Go(func() {
			for {
				frame, _ := tunnel.AppendFrame(nil, ping(1))
				if _, err := b.Write(frame); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		start := time.Now()
		if err := run(t, mux.Client(a, mux.Config{})).waitInBubble(); fault.KindOf(err) != fault.Timeout {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(start); took != 2*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAPeerThatTakesNothingDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close() // neither reads nor says anything
		s := run(t, mux.Client(a, mux.Config{}))
		st, err := s.Open(t.Context(), flow)
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, st, strings.Repeat("x", 100_000))
		synctest.Wait()
		start := time.Now()
		_ = s.Close()
		if err := s.waitInBubble(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestKeepAliveCanBeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		s := run(t, mux.Client(a, mux.Config{KeepAlive: -1}))
		time.Sleep(time.Hour)
		if err := s.Err(); err != nil {
			t.Error(err)
		}
		_ = s.Close()
		_ = s.waitInBubble()
	})
}

// waitInBubble is wait without a timer, which would move the bubble's time.
func (r running) waitInBubble() error { return <-r.ended }
