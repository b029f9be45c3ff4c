package mux_test

import (
	"net"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// overTCP joins two sessions as agents are joined, so that those who write do so themselves.
func overTCP(tb testing.TB, cfg mux.Config) (client, server running) {
	a, b := tlsPair(tb, carried)
	return run(tb, mux.Client(a, cfg)), run(tb, mux.Server(b, cfg))
}

// deaf joins a session to a connection that nobody reads and whose kernel takes little.
func deaf(tb testing.TB) (running, net.Conn) {
	a, b := tcpPair(tb)
	_ = a.(*net.TCPConn).SetWriteBuffer(16 << 10)
	_ = b.(*net.TCPConn).SetReadBuffer(32 << 10)
	tb.Cleanup(func() { _ = b.Close() })
	return run(tb, mux.Client(mux.NewCarrier(a), mux.Config{KeepAlive: -1})), b
}

// Nobody who writes is caught in the kernel: deadlines, resets and the end of the session find all of them.
func TestWritersAreNotCaughtByAPeerThatTakesNothing(t *testing.T) {
	for name, end := range map[string]func(running, *mux.Stream){
		"deadline": func(_ running, st *mux.Stream) { _ = st.SetWriteDeadline(time.Now().Add(time.Millisecond)) },
		"reset":    func(_ running, st *mux.Stream) { st.Reset(tunnel.ResetRevoked, "") },
		"close":    func(_ running, st *mux.Stream) { _ = st.Close() },
		"session":  func(s running, _ *mux.Stream) { _ = s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s, b := deaf(t)
			defer b.Close()     // or the session would wait a second for it to take the last words
			for i := range 40 { // they fill what there is on the way
				st, err := s.Open(bounded(t), flow)
				if err != nil {
					t.Fatal(err)
				}
				if i < 39 {
					_ = st.SetWriteDeadline(time.Now().Add(time.Millisecond))
					_, _ = st.Write(make([]byte, 300<<10))
					continue
				}
				told := make(chan error, 1)
				go func() {
					_, err := st.Write(make([]byte, 1<<20))
					told <- err
				}()
				end(s, st)
				select {
				case err := <-told:
					if err == nil {
						t.Error("all was taken")
					}
				case <-time.After(within):
					t.Fatal("the writer is caught")
				}
			}
		})
	}
}

// What the kernel did not take at once comes later and in order, with what was queued behind it.
func TestTheRestOfAPromptWriteFollows(t *testing.T) {
	s, b := deaf(t)
	st, err := s.Open(bounded(t), flow)
	if err != nil {
		t.Fatal(err)
	}
	n := stuff(t, st)
	other, err := s.Open(bounded(t), flow)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, other, "and this")
	_ = other.CloseWrite()
	_ = b.SetReadDeadline(time.Now().Add(within))
	_ = b.(*net.TCPConn).SetReadBuffer(1 << 20)
	for fin := false; n > 0 || !fin; {
		f, err := tunnel.ReadFrame(b)
		if err != nil {
			t.Fatalf("%v with %d bytes to come", err, n)
		}
		switch {
		case f.Type == tunnel.TypeData && f.Stream == 1:
			n -= len(f.Payload)
		case f.Type == tunnel.TypeFin && f.Stream == 3:
			fin = true
		}
	}
}
