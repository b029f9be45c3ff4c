package socketstream_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/socketstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type closeWriter interface{ CloseWrite() error }

// pair makes two ends that agreed on what both offer. The second is as it comes, for those who write messages themselves.
func pair(t *testing.T, ctx context.Context, offers ...string) (socketstream.Stream, *websocket.Conn, func() socketstream.Stream) {
	t.Helper()
	accepted := make(chan *websocket.Conn)
	release := make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: offers})
		if err != nil {
			t.Error(err)
			return
		}
		accepted <- c
		<-release
	}))
	var raw, other net.Conn
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { other = c; return ctx }
	srv.Start()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		raw = c
		return c, err
	}}}
	theirs, _, err := websocket.Dial(t.Context(), srv.URL, &websocket.DialOptions{Subprotocols: offers, HTTPClient: client}) //nolint:bodyclose // there is none
	if err != nil {
		t.Fatal(err)
	}
	ours := socketstream.New(ctx, <-accepted, func() { _ = other.Close() })
	t.Cleanup(func() {
		_ = theirs.CloseNow()
		ours.Cut("")
		close(release)
		srv.Close()
		client.CloseIdleConnections()
	})
	return ours, theirs, func() socketstream.Stream {
		s := socketstream.New(ctx, theirs, func() { _ = raw.Close() })
		t.Cleanup(func() { s.Cut("") })
		return s
	}
}

func TestBytesPassAndOneWayEndsBeforeTheOther(t *testing.T) {
	a, _, other := pair(t, t.Context(), socketstream.Subprotocol)
	b := other()
	sent := make([]byte, 3<<20)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	done := make(chan error, 1)
	go func() {
		var err error
		for rest := sent; len(rest) > 0 && err == nil; {
			n := min(len(rest), 1+rand.IntN(100_000))
			_, err = a.Write(rest[:n])
			rest = rest[n:]
			if _, none := a.Write(nil); none != nil { // which says nothing
				err = none
			}
		}
		done <- errors.Join(err, a.(closeWriter).CloseWrite())
	}()
	got, err := io.ReadAll(b)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(sent), err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := b.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	if err := b.(closeWriter).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(a); string(got) != "still here" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	<-b.Gone()
}

func TestALossAfterTheEndIsNoticed(t *testing.T) {
	a, theirs, _ := pair(t, t.Context(), socketstream.Subprotocol)
	if err := theirs.Write(t.Context(), websocket.MessageBinary, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("%v", err)
	}
	select {
	case <-a.Gone():
		t.Error("gone before it went")
	default:
	}
	_ = theirs.CloseNow()
	<-a.Gone()
}

func TestPlainPeers(t *testing.T) {
	a, theirs, _ := pair(t, t.Context(), "AMQP")
	if _, half := a.(closeWriter); half {
		t.Error("a peer that agreed to nothing can end one way")
	}
	for _, m := range []string{"", "he", "", "", "llo"} { // empty messages mean nothing
		if err := theirs.Write(t.Context(), websocket.MessageBinary, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(a, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	go func() { _ = theirs.Close(websocket.StatusNormalClosure, "") }()
	if _, err := a.Read(got); !errors.Is(err, io.EOF) {
		t.Errorf("closed in order: %v", err)
	}
}

func TestWhatEndsAStream(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(a socketstream.Stream, theirs *websocket.Conn, cancel func())
		want func(error) bool
	}{
		"text": {func(_ socketstream.Stream, theirs *websocket.Conn, _ func()) {
			_ = theirs.Write(context.Background(), websocket.MessageText, []byte("hello"))
		}, func(err error) bool { return fault.KindOf(err) == fault.Invalid }},
		"a loss":      {func(_ socketstream.Stream, theirs *websocket.Conn, _ func()) { _ = theirs.CloseNow() }, func(err error) bool { return !errors.Is(err, io.EOF) }},
		"the context": {func(_ socketstream.Stream, _ *websocket.Conn, cancel func()) { cancel() }, func(err error) bool { return err != nil }},
		"a deadline": {func(a socketstream.Stream, _ *websocket.Conn, _ func()) {
			_ = a.SetReadDeadline(time.Now().Add(time.Hour))
			_ = a.SetDeadline(time.Now())
		}, func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a, theirs, _ := pair(t, ctx)
			theirs.CloseRead(ctx)
			c.do(a, theirs, cancel)
			if _, err := a.Read(make([]byte, 1)); err == nil || !c.want(err) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestCutSaysWhyAndWaitsForNobody(t *testing.T) {
	a, theirs, _ := pair(t, t.Context())
	why := "the grant was revoked" + strings.Repeat("!", 200)
	cut := make(chan struct{})
	go func() { a.Cut(why); close(cut) }()
	_, _, err := theirs.Read(t.Context())
	if got, ok := errors.AsType[websocket.CloseError](err); !ok || got.Code != websocket.StatusPolicyViolation || got.Reason != why[:123] {
		t.Errorf("%v", err)
	}
	<-cut

	a, _, _ = pair(t, t.Context())
	watch := clocktest.Start(t)
	stuck := make(chan struct{})
	go func() { // nobody reads that
		defer close(stuck)
		for {
			if _, err := a.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				return
			}
		}
	}()
	a.Cut("")
	<-stuck
	if took := watch.Took(); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestADeadlineCanBeTakenBack(t *testing.T) {
	a, theirs, _ := pair(t, t.Context())
	for _, at := range []time.Time{time.Now().Add(time.Hour), time.Now().Add(2 * time.Hour), {}} {
		if err := a.SetWriteDeadline(at); err != nil {
			t.Fatal(err)
		}
	}
	_ = theirs.Write(t.Context(), websocket.MessageBinary, []byte("x"))
	if n, err := a.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if a.RemoteAddr().String() == "" || a.LocalAddr().Network() == "" {
		t.Error("no addresses")
	}
}
