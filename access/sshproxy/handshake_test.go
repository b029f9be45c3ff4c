package sshproxy_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/access/sshproxy"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
)

var discard = slog.New(slog.DiscardHandler)

// silent is a session whose person says nothing.
func silent(t *testing.T, ctx context.Context, clk clock.Clock) (person net.Conn, done <-chan end) {
	t.Helper()
	here, there := net.Pipe()
	machine, other := net.Pipe()
	ends := make(chan end, 1)
	go func() {
		out, err := sshproxy.New(sshproxy.Config{}, discard, clk).Serve(ctx, gate.Session{
			ID: "1", Target: plan.Target{ID: "t", Record: &plan.Recording{}}, Opened: clk.Now(),
		}, there, machine)
		ends <- end{out, err}
	}()
	t.Cleanup(func() { here.Close(); other.Close() })
	return here, ends
}

func TestAHandshakeHasHalfAMinute(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	person, done := silent(t, t.Context(), clk)
	if _, err := person.Read(make([]byte, 1)); err != nil { // its version, by which time the clock is waited for
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, person) }()
	clk.Advance(30 * time.Second)
	e := <-done
	if e.out.End != session.BadLogin || fault.KindOf(e.err) != fault.Timeout {
		t.Errorf("it ended so: %+v", e)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	person, done := silent(t, ctx, clock.System{})
	if _, err := person.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, person) }()
	cancel()
	<-done
}

func TestASessionIsCutWithItsContext(t *testing.T) {
	w := newWorld(t)
	client := w.client(w.pass())
	s, err := client.NewSession()
	must(t, err)
	must(t, s.Start("echo begun; sleep 1000"))
	w.cut()
	if err := s.Wait(); err == nil {
		t.Error("it went on")
	}
	e := w.ended()
	if e.err != nil || e.out.End != "" || e.out.Recording == "" { // why it was cut is for the gate to say
		t.Errorf("it ended so: %+v", e)
	}
	w.tape(e.out.Recording)
}
