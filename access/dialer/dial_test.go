package dialer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

func TestDial(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	c, err := d.Dial(t.Context(), "g-1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := talk(c, strings.Repeat("hello ", 100_000)); err != nil || len(got) != 600_000 {
		t.Fatalf("%d bytes came back, %v", len(got), err)
	}
}

// What the person says ends before what the machine says, and the other way about.
func TestHalfClose(t *testing.T) {
	w := newWorld(t)
	heard := make(chan string, 1)
	first := machine(t, func(c *net.TCPConn) { // says all before it listens
		_, _ = io.WriteString(c, "welcome")
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		heard <- string(b)
	})
	w.grant("g-first", first)
	d := w.dialer(Config{})
	c, err := d.Dial(t.Context(), "g-first")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "welcome" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := io.WriteString(c, "late"); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "late" {
		t.Errorf("the machine got %q", got)
	}
}

// The words of whoever refuses are the fault's.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	w.grant("g-dead", "127.0.0.1:1")
	w.grant("g-nobody", "")
	w.change("g-nobody", func(g *PassGrant) { g.Providers = nil })
	d := w.dialer(Config{Settle: 100 * time.Millisecond})
	_, err := d.Dial(t.Context(), "g-dead")
	kind(t, err, fault.Unavailable, "the target does not answer")

	_, err = d.Dial(t.Context(), "g-nobody")
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), "has not joined") || fault.Next(err) == "" {
		t.Errorf("got %v", err)
	}
	_, err = d.Dial(t.Context(), "g-other")
	if fault.KindOf(err) != fault.Denied || !strings.Contains(fault.Message(err), "g-other") || fault.Next(err) == "" {
		t.Errorf("got %v", err)
	}

	w.set(func() {
		delete(w.inForce, "g-1")
		w.words = "as many sessions are open as the policy lets a grant have"
	})
	_, err = d.Dial(t.Context(), "g-1")
	kind(t, err, fault.Denied, "as many sessions are open as the policy lets a grant have")

	w.set(func() { w.words = "" })
	_, err = d.Dial(t.Context(), "g-1")
	if fault.KindOf(err) != fault.Denied || !strings.Contains(fault.Message(err), "ot/plant-7/g-1") {
		t.Errorf("got %v", err)
	}
}

// A grant that has ended by the clock of this machine too is Expired, whoever says no.
func TestExpired(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", "")
	w.change("g-1", func(g *PassGrant) { g.From, g.Until = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour) })
	w.set(func() { delete(w.inForce, "g-1") })
	d := w.dialer(Config{})
	_, err := d.Dial(t.Context(), "g-1")
	kind(t, err, fault.Expired, "the grant has expired at 15:40")

	w.agent.SetAllowed(nil) // and the agent does not let a tunnel come to be
	eventually(t, "the tunnel is gone", func() bool { return len(w.agent.Status().Tunnels) == 0 || !usable(d) })
	_, err = d.Dial(t.Context(), "g-1")
	if fault.KindOf(err) != fault.Expired || !strings.Contains(fault.Message(err), "the grant for ot/plant-7/g-1 ended at") || fault.Next(err) == "" {
		t.Errorf("got %v", err)
	}
}

func usable(d *Dialer) bool {
	for _, t := range d.way.Status().Tunnels {
		if !t.Retired {
			return true
		}
	}
	return false
}

// A grant made a moment ago may not have come to the agent, which declines; the plan is waited for.
func TestAGrantThatIsOnItsWay(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	w.change("g-1", func(g *PassGrant) { g.From = time.Now() })
	target := w.inForce["g-1"]
	w.set(func() { delete(w.inForce, "g-1") })
	w.agent.SetAllowed(nil)
	d := w.dialer(Config{Settle: 10 * time.Second})
	var dialled sync.WaitGroup
	dialled.Go(func() {
		c, err := d.Dial(t.Context(), "g-1")
		if err != nil {
			t.Error(err)
			return
		}
		if got, err := talk(c, "hello"); got != "hello" {
			t.Errorf("%q, %v", got, err)
		}
	})
	eventually(t, "it was declined", func() bool { return d.up != nil && w.given() == 1 && ready(d) && !usable(d) })
	w.set(func() { w.inForce["g-1"] = target })
	allowAll(w)
	dialled.Wait()
}

func ready(d *Dialer) bool {
	select {
	case <-d.up:
		return true
	default:
		return false
	}
}

// Ten at once, each with its own bytes, through one tunnel or two.
func TestTenAtOnce(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			text := strings.Repeat(string(rune('a'+i)), 1<<20)
			c, err := d.Dial(t.Context(), "g-1")
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := talk(c, text); err != nil || got != text {
				t.Errorf("session %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	all.Wait()
}

// The relay goes, with whatever it carried, and comes back: the same grant and the same pass lead in again.
func TestLinkLoss(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	c, err := d.Dial(t.Context(), "g-1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w.stopRelay()
	if _, err := io.ReadAll(c); err == nil {
		t.Fatal("the connection ended as if all had been said")
	}
	w.startRelay()
	again, err := d.Dial(t.Context(), "g-1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := talk(again, "again"); got != "again" {
		t.Fatalf("%q, %v", got, err)
	}
	if n := w.given(); n != 1 {
		t.Errorf("%d passes were asked for", n)
	}
}

// An agent that restarts is waited for; one that does not come is not, for ever.
func TestAnAgentThatIsAway(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	w.stopAgent()
	d := w.dialer(Config{Patience: 300 * time.Millisecond})
	_, err := d.Dial(t.Context(), "g-1")
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), "there is no way to ot/plant-7/g-1") || fault.Next(err) == "" {
		t.Errorf("got %v", err)
	}
	patient := w.dialer(Config{})
	var dialled sync.WaitGroup
	dialled.Go(func() {
		c, err := patient.Dial(t.Context(), "g-1")
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = talk(c, "")
	})
	w.startAgent()
	dialled.Wait()
}

func TestDialGivesUpWithItsCaller(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	w.stopAgent()
	d := w.dialer(Config{Patience: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Dial(ctx, "g-1"); err == nil {
		t.Error("it was dialled")
	}
}

// A target that takes the stream and never says so is given up.
func TestATargetThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	held := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.grant("g-1", l.Addr().String())
	w.stopAgent()
	w.set(func() { w.hold = held })
	w.startAgent()
	d := w.dialer(Config{AcceptTimeout: 50 * time.Millisecond})
	_, err = d.Dial(t.Context(), "g-1")
	kind(t, err, fault.Timeout, "ot/plant-7/g-1 has not answered in 50ms")
	close(held)
}

func TestStdio(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c) // all of it, before a word is answered
		_, _ = io.WriteString(c, strings.ToUpper(string(b)))
	}))
	d := w.dialer(Config{})
	var out closing
	if err := d.Stdio(t.Context(), strings.NewReader("hello"), &out, "g-1"); err != nil {
		t.Fatal(err)
	}
	if out.String() != "HELLO" || !out.closed {
		t.Errorf("got %q, closed %v", out.String(), out.closed)
	}
}

type closing struct {
	bytes.Buffer
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// A machine that has said all ends the output, though the input goes on.
func TestStdioHearsTheEndWhileItSpeaks(t *testing.T) {
	w := newWorld(t)
	got := make(chan string, 1)
	w.grant("g-1", machine(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "bye")
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	}))
	d := w.dialer(Config{})
	in, typing := io.Pipe()
	screen, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- d.Stdio(t.Context(), in, out, "g-1") }()
	if b, err := io.ReadAll(screen); err != nil || string(b) != "bye" {
		t.Fatalf("%q, %v", b, err)
	}
	_, _ = io.WriteString(typing, "and more")
	_ = typing.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if g := <-got; g != "and more" {
		t.Errorf("the machine got %q", g)
	}
}

// A session that is cut says why, in the words of whoever cut it.
func TestStdioIsCut(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	in, typing := io.Pipe()
	screen, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- d.Stdio(t.Context(), in, out, "g-1") }()
	_, _ = io.WriteString(typing, "x")
	if _, err := io.ReadFull(screen, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	w.revoke("g-1", "bob of ot has revoked the grant")
	kind(t, <-done, fault.Denied, "bob of ot has revoked the grant")
	if _, err := typing.Write([]byte("y")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the input is not closed: %v", err)
	}
}

func TestStdioEndsWithItsCaller(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	in, typing := io.Pipe()
	screen, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Stdio(ctx, in, out, "g-1") }()
	_, _ = io.WriteString(typing, "x")
	if _, err := io.ReadFull(screen, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Whoever reads the output goes away, as ssh does when it has been told to.
func TestStdioWithoutAReader(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	in, typing := io.Pipe()
	screen, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- d.Stdio(t.Context(), in, out, "g-1") }()
	_ = screen.Close()
	_, _ = io.WriteString(typing, "x")
	if err := <-done; err != nil {
		t.Error(err)
	}
}
