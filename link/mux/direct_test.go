package mux_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// A pickySink takes at once as much as it is told to, and the rest by Write.
type pickySink struct {
	tb    interface{ Errorf(string, ...any) }
	take  func(n int) (int, error)
	busy  atomic.Bool
	tried atomic.Int64
	mu    sync.Mutex
	got   bytes.Buffer
}

func (s *pickySink) enter() func() {
	if !s.busy.CompareAndSwap(false, true) {
		s.tb.Errorf("TryWrite and Write at once")
	}
	s.mu.Lock()
	return func() {
		s.mu.Unlock()
		s.busy.Store(false)
	}
}

func (s *pickySink) Write(p []byte) (int, error) {
	defer s.enter()()
	return s.got.Write(p)
}

func (s *pickySink) TryWrite(p []byte) (int, error) {
	defer s.enter()()
	n, err := s.take(len(p))
	s.got.Write(p[:n])
	s.tried.Add(int64(n))
	return n, err
}

func (s *pickySink) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Len()
}

// waitFor waits until the sink has n bytes.
func (s *pickySink) waitFor(tb testing.TB, n int) {
	tb.Helper()
	ctx := bounded(tb)
	for s.len() < n {
		select {
		case <-ctx.Done():
			tb.Fatalf("%d bytes came of %d", s.len(), n)
		case <-time.After(50 * time.Microsecond):
		}
	}
}

func undying(sts ...*mux.Stream) {
	for _, st := range sts {
		_ = st.SetDeadline(time.Time{})
	}
}

// Whatever the sink takes at once, all bytes arrive in order, are counted, and earn credit: more than a window passes.
func TestWriteToATryWriterKeepsOrder(t *testing.T) {
	c, s := two(t, mux.Config{MaxWindow: 256 << 10})
	rapid.Check(t, func(rt *rapid.T) {
		ours, theirs := streams(t, c, s)
		defer ours.Close()
		undying(ours, theirs)
		refuse := rapid.IntRange(0, 3).Draw(rt, "refuse one in")
		calls := 0
		sink := &pickySink{tb: rt, take: func(n int) (int, error) {
			calls++
			switch {
			case refuse > 0 && calls%(refuse+1) == 0:
				return 0, nil
			case refuse > 1 && calls%2 == 0:
				return n / 2, nil
			}
			return n, nil
		}}
		var total int64
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { total, err = theirs.WriteTo(sink) })
		var want bytes.Buffer
		for _, n := range rapid.SliceOfN(rapid.OneOf(rapid.IntRange(1, 200), rapid.IntRange(4000, 5000), rapid.IntRange(60_000, 200_000)), 1, 12).Draw(rt, "writes") {
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(want.Len() + i*31>>3)
			}
			want.Write(p)
			if _, err := ours.Write(p); err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "pause") {
				sink.waitFor(t, want.Len())
			}
		}
		_ = ours.CloseWrite()
		wg.Wait()
		if err != nil || total != int64(want.Len()) || !bytes.Equal(sink.got.Bytes(), want.Bytes()) {
			rt.Fatalf("%d of %d bytes, told %d, %v", sink.got.Len(), want.Len(), total, err)
		}
		_ = theirs.Close()
	})
}

// Once WriteTo waits, bytes go on without it.
func TestATryWriterIsServedAtOnce(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	undying(ours, theirs)
	sink := &pickySink{tb: t, take: func(n int) (int, error) { return n, nil }}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = theirs.WriteTo(sink) })
	for i := 1; sink.tried.Load() == 0; i++ { // the first may come before WriteTo waits
		mustWrite(t, ours, "x")
		sink.waitFor(t, i)
	}
	if held := s.Stats().Held; held != 0 {
		t.Errorf("%d bytes are held", held)
	}
	ours.Reset(tunnel.ResetPeer, "done")
	wg.Wait()
}

func TestATryWriterThatFailsEndsWriteTo(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	undying(ours, theirs)
	broken := errors.New("broken")
	sink := &pickySink{tb: t, take: func(n int) (int, error) { return n / 2, broken }}
	sent, ended := 0, make(chan struct{})
	var total int64
	var err error
	go func() {
		defer close(ended)
		total, err = theirs.WriteTo(sink)
	}()
	for over := false; !over; {
		mustWrite(t, ours, "0123456789")
		sent++
		select {
		case <-ended:
			over = true
		case <-time.After(time.Millisecond):
		}
	}
	if !errors.Is(err, broken) || total != int64(sink.len()) || total%10 != 5 {
		t.Fatalf("%d bytes, told %d, after %d writes: %v", sink.len(), total, sent, err)
	}
}

// A reset, the peer's end and the end of the session find WriteTo while it waits for the reading goroutine to do its work.
func TestEndsWhileATryWriterIsServed(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(ours, theirs *mux.Stream, c running)
		good func(error) bool
	}{
		"fin":        {func(o, _ *mux.Stream, _ running) { _ = o.CloseWrite() }, func(err error) bool { return err == nil }},
		"reset":      {func(o, _ *mux.Stream, _ running) { o.Reset(tunnel.ResetRevoked, "") }, remotely},
		"reset here": {func(_, th *mux.Stream, _ running) { th.Reset(tunnel.ResetRevoked, "") }, func(err error) bool { return err != nil }},
		"session":    {func(_, _ *mux.Stream, c running) { _ = c.Close() }, func(err error) bool { return err != nil }},
		"deadline": {func(_, th *mux.Stream, _ running) { _ = th.SetReadDeadline(time.Now()) },
			func(err error) bool { return err != nil }},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := two(t, mux.Config{})
			ours, theirs := streams(t, c, s)
			undying(ours, theirs)
			sink := &pickySink{tb: t, take: func(n int) (int, error) { return n, nil }}
			told := make(chan error, 1)
			var total int64
			go func() {
				var err error
				total, err = theirs.WriteTo(sink)
				told <- err
			}()
			for i := 1; sink.tried.Load() == 0; i++ {
				mustWrite(t, ours, "x")
				sink.waitFor(t, i)
			}
			end.do(ours, theirs, c)
			select {
			case err := <-told:
				if !end.good(err) || total != int64(sink.len()) {
					t.Errorf("%v after %d bytes of %d", err, total, sink.len())
				}
			case <-time.After(within):
				t.Fatal("WriteTo goes on")
			}
		})
	}
}

func remotely(err error) bool {
	var r *mux.ResetError
	return errors.As(err, &r) && r.Remote
}

var _ io.Writer = (*pickySink)(nil)
