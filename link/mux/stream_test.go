package mux_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestAStreamCarriesItsFlowAndBytesBothWays(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	if theirs.Flow() != flow || ours.Flow() != flow {
		t.Errorf("flow %+v, want %+v", theirs.Flow(), flow)
	}
	mustWrite(t, ours, "hello")
	mustRead(t, theirs, "hello")
	mustWrite(t, theirs, "who is there")
	mustRead(t, ours, "who is there")

	back, err := s.Open(bounded(t), flow)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	there, err := c.Session.Accept(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	mustWrite(t, back, "the other way round")
	mustRead(t, there, "the other way round")
}

func TestAcceptAndRefuse(t *testing.T) {
	c, s := two(t, mux.Config{})
	t.Run("accepted by word", func(t *testing.T) {
		ours, theirs := streams(t, c, s)
		soon, cancel := context.WithCancel(t.Context())
		cancel()
		if err := ours.WaitAccepted(soon); fault.KindOf(err) != fault.Timeout {
			t.Errorf("not yet accepted: %v", err)
		}
		if err := theirs.Accept(); err != nil {
			t.Fatal(err)
		}
		if err := theirs.Accept(); err != nil {
			t.Errorf("accepting twice: %v", err)
		}
		if err := ours.WaitAccepted(bounded(t)); err != nil {
			t.Error(err)
		}
	})
	t.Run("accepted by deed", func(t *testing.T) {
		ours, theirs := streams(t, c, s)
		mustWrite(t, theirs, "x")
		if err := ours.WaitAccepted(bounded(t)); err != nil {
			t.Error(err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		ours, theirs := streams(t, c, s)
		mustWrite(t, ours, "said too early")
		theirs.Reset(tunnel.ResetRefused, "not approved")
		err := ours.WaitAccepted(bounded(t))
		isReset(t, err, tunnel.ResetRefused, true)
		if !strings.Contains(err.Error(), "not approved") {
			t.Errorf("the words are lost: %v", err)
		}
		var r *mux.ResetError
		if errors.As(err, &r); r.Fault("x").Kind != fault.Denied || r.Fault("x").Message != "not approved" {
			t.Errorf("as a fault: %v", r.Fault("x"))
		}
		_, err = ours.Read(make([]byte, 1))
		isReset(t, err, tunnel.ResetRefused, true)
		_, err = ours.Write([]byte("x"))
		isReset(t, err, tunnel.ResetRefused, true)
		isReset(t, theirs.Accept(), tunnel.ResetRefused, false)
	})
	t.Run("closed unaccepted", func(t *testing.T) {
		ours, theirs := streams(t, c, s)
		_ = theirs.Close()
		isReset(t, ours.WaitAccepted(bounded(t)), tunnel.ResetRefused, true)
	})
	if n := c.Streams() + s.Streams(); n != 0 {
		t.Errorf("%d streams left", n)
	}
}

func TestHalfClose(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	mustWrite(t, ours, "question")
	if err := ours.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := ours.CloseWrite(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := ours.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing after CloseWrite: %v", err)
	}
	if b, err := io.ReadAll(theirs); err != nil || string(b) != "question" {
		t.Fatalf("%q, %v", b, err)
	}
	answer := strings.Repeat("answer ", 100_000)
	var wg sync.WaitGroup
	wg.Go(func() {
		mustWrite(t, theirs, answer)
		_ = theirs.CloseWrite()
	})
	if b, err := io.ReadAll(ours); err != nil || string(b) != answer {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	wg.Wait()
	for c.Streams()+s.Streams() > 0 { // both have been told everything; only the tables lag
		mustPing(t, c, s)
	}
	if err := ours.Close(); err != nil {
		t.Error(err)
	}
}

// mustPing waits until everything queued on both sides before has been handled, by a stream of its own.
func mustPing(t *testing.T, c, s running) {
	t.Helper()
	a, b := streams(t, c, s)
	mustWrite(t, a, "ping")
	mustRead(t, b, "ping")
	b.Reset(tunnel.ResetPeer, "")
	_, err := a.Read(make([]byte, 1))
	isReset(t, err, tunnel.ResetPeer, true)
	_ = a.Close()
}

func TestResetDropsWhatIsQueuedAndTellsWhy(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	mustWrite(t, ours, "never to be read")
	mustWrite(t, theirs, "nor this")
	mustRead(t, ours, "nor")
	ours.Reset(tunnel.ResetRevoked, strings.Repeat("é", 200))
	_, err := ours.Read(make([]byte, 9))
	isReset(t, err, tunnel.ResetRevoked, false)
	for err = nil; err == nil; {
		_, err = theirs.Read(make([]byte, 1))
	}
	isReset(t, err, tunnel.ResetRevoked, true)
	var r *mux.ResetError
	if errors.As(err, &r); r.Message != strings.Repeat("é", 128) {
		t.Errorf("message %q", r.Message)
	}
	ours.Reset(tunnel.ResetPeer, "again, to no effect")
	if _, err := ours.Read(make([]byte, 9)); err.(*mux.ResetError).Code != tunnel.ResetRevoked { //nolint:errorlint // never wrapped
		t.Errorf("the second reset counted: %v", err)
	}
}

func TestResetWakesWhoeverWaits(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := io.Copy(onlyWriter{io.Discard}, onlyReader{ours})
		isReset(t, err, tunnel.ResetRevoked, true)
	})
	wg.Go(func() {
		_, err := ours.Write(make([]byte, 1<<20)) // more than the credit
		isReset(t, err, tunnel.ResetRevoked, true)
	})
	wg.Go(func() { isReset(t, ours.WaitAccepted(bounded(t)), tunnel.ResetRevoked, true) })
	if _, err := io.CopyN(io.Discard, onlyReader{theirs}, 1000); err != nil {
		t.Fatal(err)
	}
	theirs.Reset(tunnel.ResetRevoked, "")
	wg.Wait()
}

func TestDone(t *testing.T) {
	c, s := two(t, mux.Config{})
	open := func(done <-chan struct{}) bool {
		select {
		case <-done:
			return false
		default:
			return true
		}
	}
	ours, theirs := streams(t, c, s)
	done := ours.Done()
	_ = ours.CloseWrite()
	_, _ = theirs.Read(make([]byte, 1))
	if !open(done) || !open(theirs.Done()) {
		t.Error("done with one direction open")
	}
	mustWrite(t, theirs, "the last")
	_ = theirs.CloseWrite()
	<-done
	<-theirs.Done()
	mustRead(t, ours, "the last")

	ours, theirs = streams(t, c, s)
	done = theirs.Done()
	ours.Reset(tunnel.ResetRevoked, "")
	<-done
	if open(ours.Done()) {
		t.Error("not done after a reset")
	}

	ours, _ = streams(t, c, s)
	done = ours.Done()
	_ = s.Close()
	<-done
}

func TestClose(t *testing.T) {
	c, s := two(t, mux.Config{Linger: 50 * time.Millisecond})
	t.Run("what was written arrives", func(t *testing.T) {
		ours, theirs := streams(t, c, s)
		mustWrite(t, ours, "last words")
		_ = ours.Close()
		if b, err := io.ReadAll(theirs); err != nil || string(b) != "last words" {
			t.Errorf("%q, %v", b, err)
		}
		if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
		if _, err := ours.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
	})
	t.Run("data unread is a reset", func(t *testing.T) {
		ours, theirs := streams(t, c, s)
		mustWrite(t, theirs, "read this")
		mustRead(t, ours, "read")
		_ = ours.Close()
		_, err := theirs.Read(make([]byte, 1))
		isReset(t, err, tunnel.ResetPeer, true)
	})
	t.Run("data that comes later is a reset", func(t *testing.T) {
		ours, theirs := streams(t, c, s)
		_ = ours.Close()
		if _, err := theirs.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
			t.Fatal(err)
		}
		_, _ = theirs.Write([]byte("late")) // it may already have been told
		for {
			if _, err := theirs.Write([]byte("later")); err != nil {
				isReset(t, err, tunnel.ResetPeer, true)
				return
			}
		}
	})
	t.Run("a peer that does not end its side is reset", func(t *testing.T) {
		ours, theirs := streams(t, c, s)
		_ = theirs.Accept()
		_ = ours.Close()
		if _, err := theirs.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
			t.Fatal(err)
		}
		for {
			err := theirs.Accept() // fails once the reset is here
			if err != nil {
				isReset(t, err, tunnel.ResetTimeout, true)
				return
			}
			mustPing(t, c, s)
		}
	})
}

func TestBackPressureStopsAWriterAtTheWindow(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	_ = ours.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := ours.Write(make([]byte, 1<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n != tunnel.InitialWindow {
		t.Fatalf("wrote %d, %v; want %d and a deadline", n, err, tunnel.InitialWindow)
	}
	// Another stream is not held up by it.
	other, there := streams(t, c, s)
	mustWrite(t, other, "still")
	mustRead(t, there, "still")
	// Reading makes room again.
	_ = ours.SetWriteDeadline(time.Now().Add(within))
	var wg sync.WaitGroup
	wg.Go(func() { mustWrite(t, ours, strings.Repeat("y", 1<<20)) })
	if n, err := io.CopyN(io.Discard, theirs, 1<<20+tunnel.InitialWindow); err != nil {
		t.Errorf("read %d: %v", n, err)
	}
	wg.Wait()
}

func TestDeadlines(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	_ = ours.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline in the past: %v", err)
	}
	var timeout net.Error
	_, err := ours.Read(make([]byte, 1))
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no timeout of package net", err)
	}
	_ = ours.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline that passes: %v", err)
	}
	// A waiting reader is woken by a new deadline.
	_ = ours.SetReadDeadline(time.Time{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline set while waiting: %v", err)
		}
	})
	_ = ours.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	wg.Wait()
	// Nothing is lost.
	_ = ours.SetReadDeadline(time.Now().Add(within))
	mustWrite(t, theirs, "x")
	mustRead(t, ours, "x")
	_ = ours.SetWriteDeadline(time.Now().Add(-time.Second))
	if _, err := ours.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing past the deadline: %v", err)
	}
}

func TestReadFromAndWriteTo(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	sources := map[string]func() io.Reader{
		"plain":     func() io.Reader { return onlyReader{bytes.NewReader(text)} },
		"one byte":  func() io.Reader { return iotest.OneByteReader(bytes.NewReader(text[:5000])) },
		"with data": func() io.Reader { return iotest.DataErrReader(bytes.NewReader(text)) },
		"tcp": func() io.Reader {
			a, b := tcpPair(t)
			go func() {
				_, _ = a.Write(text)
				a.Close()
			}()
			t.Cleanup(func() { b.Close() })
			return b
		},
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			c, s := two(t, mux.Config{})
			ours, theirs := streams(t, c, s)
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := io.Copy(ours, source()); err != nil {
					t.Error(err)
				}
				_ = ours.CloseWrite()
			})
			a, b := tcpPair(t)
			defer b.Close()
			wg.Go(func() {
				if _, err := io.Copy(a, theirs); err != nil {
					t.Error(err)
				}
				a.Close()
			})
			got, err := io.ReadAll(b)
			wg.Wait()
			if err != nil || !bytes.Equal(got, text[:len(got)]) || (len(got) != len(text) && len(got) != 5000) {
				t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
			}
		})
	}
}

func TestReadFromPassesErrorsOn(t *testing.T) {
	c, s := two(t, mux.Config{})
	ours, theirs := streams(t, c, s)
	broken := errors.New("broken")
	n, err := ours.ReadFrom(io.MultiReader(strings.NewReader("some"), iotest.ErrReader(broken)))
	if n != 4 || !errors.Is(err, broken) {
		t.Errorf("%d, %v", n, err)
	}
	a, b := tcpPair(t)
	_ = a.(*net.TCPConn).SetLinger(0)
	a.Close()
	defer b.Close()
	if _, err := ours.ReadFrom(b); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("a TCP reset came as %v", err)
	}
	_ = b.SetReadDeadline(time.Now().Add(-time.Second))
	mustWrite(t, theirs, "x")
	if _, err := theirs.WriteTo(brokenWriter{broken}); err == nil {
		mustWrite(t, ours, "more")
	}
	if _, err := ours.WriteTo(brokenWriter{broken}); !errors.Is(err, broken) {
		t.Errorf("WriteTo: %v", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }
