package relay

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestPairCarriesBothWays(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	a, b := h.pair()
	payload := make([]byte, 3<<20)
	_, _ = rand.Read(payload)
	for _, way := range []struct{ from, to *net.TCPConn }{{a, b}, {b, a}} {
		go func() { _, _ = way.from.Write(payload) }()
		got := make([]byte, len(payload))
		if _, err := io.ReadFull(way.to, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, payload) {
			t.Fatal("bytes changed on the way")
		}
	}
}

// What a client sends right behind its preface, without waiting for the status, reaches the peer whole.
func TestEarlyBytesAreThePeers(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	tk := h.ticket(h.join(asker), h.join(target))
	a := h.dial()
	p := tunnel.Preface{Kind: tunnel.Pair, Ticket: tk}.Encode()
	if _, err := a.Write(append(p[:], "early"...)); err != nil {
		t.Fatal(err)
	}
	b := h.show(tk)
	if s := h.status(b); s != tunnel.StatusPaired {
		t.Fatal(s)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(b, got); err != nil || string(got) != "early" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestHalfClosePassesOn(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	a, b := h.pair()
	_, _ = a.Write([]byte("question"))
	_ = a.CloseWrite()
	if got, err := io.ReadAll(b); err != nil || string(got) != "question" {
		t.Fatalf("got %q, %v", got, err)
	}
	// The other direction still carries.
	_, _ = b.Write([]byte("answer"))
	_ = b.CloseWrite()
	if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
		t.Fatalf("got %q, %v", got, err)
	}
	eventually(t, "the pair is gone", func() bool { return h.relay.pairCount() == 0 })
	if s := h.relay.Status(); s.BytesOfPairs != uint64(len("questionanswer")) {
		t.Fatalf("counted %d bytes", s.BytesOfPairs)
	}
}

func TestResetPassesOn(t *testing.T) {
	h := serve(t, Config{}, clock.System{})
	a, b := h.pair()
	_ = a.SetLinger(0)
	_ = a.Close()
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
}

func TestIdlePairIsReset(t *testing.T) {
	h := serve(t, Config{PairIdle: 50 * time.Millisecond}, clock.System{})
	_, b := h.pair()
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %v, want a reset", err)
	}
}

func TestStuckPeerIsReset(t *testing.T) {
	h := serve(t, Config{PairIdle: 100 * time.Millisecond}, clock.System{})
	a, b := h.pair()
	_ = b.SetReadBuffer(4 << 10)
	// b reads nothing; a fills every buffer on the way and must be told in the end.
	buf := make([]byte, 1<<20)
	var err error
	for err == nil {
		_, err = a.Write(buf)
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Fatalf("the relay waits for ever: %v", err)
	}
}
