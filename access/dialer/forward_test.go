package dialer

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// told collects what a forwarding tells.
type told struct {
	mu   sync.Mutex
	list []error
}

func (t *told) tell(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, err)
}

func (t *told) words() (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, err := range t.list {
		out = append(out, fault.Message(err))
	}
	return out
}

// forward starts one and returns its address, what it tells, and what it returns.
func forward(t *testing.T, d *Dialer, grant string) (address string, tell *told, done chan error, stop func()) {
	t.Helper()
	l := listen(t)
	tell, done = &told{}, make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- d.Forward(ctx, l, grant, tell.tell) }()
	t.Cleanup(cancel)
	return l.Addr().String(), tell, done, cancel
}

func TestForward(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	address, tell, done, stop := forward(t, d, "g-1")
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			text := strings.Repeat(string(rune('a'+i)), 300_000)
			if got, err := talkTo(address, text); err != nil || got != text {
				t.Errorf("%d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	all.Wait()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := tell.words(); len(n) > 0 {
		t.Errorf("told %q", n)
	}
	if _, err := talkTo(address, "x"); err == nil {
		t.Error("it still listens")
	}
}

// What is open can be seen, with the bytes so far.
func TestSessions(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	address, _, done, stop := forward(t, d, "g-1")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "12345"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	var s Session
	eventually(t, "the bytes are counted", func() bool {
		list := d.Sessions()
		if len(list) != 1 {
			return false
		}
		s = list[0]
		return s.Sent == 5 && s.Received == 5
	})
	if s.Grant != "g-1" || s.Target != "ot/plant-7/g-1" || s.Client.String() != c.LocalAddr().String() || s.Since.IsZero() {
		t.Errorf("%+v", s)
	}
	stop()
	<-done
	if n := d.Sessions(); len(n) != 0 {
		t.Errorf("%d are open", len(n))
	}
}

// A Unix socket is a listener like another.
func TestForwardFromAUnixSocket(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Forward(ctx, l, "g-1", nil) }()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := talk(c, "hello"); got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A machine that takes nothing holds its person up, and nobody else; what is in between is bounded.
func TestBackPressure(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	w.grant("g-slow", machine(t, func(c *net.TCPConn) {
		<-release
		n, _ := io.Copy(io.Discard, c)
		_, _ = io.WriteString(c, strconv.FormatInt(n, 10))
	}))
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	slow, _, _, _ := forward(t, d, "g-slow")
	quick, _, _, _ := forward(t, d, "g-1")
	c, err := net.Dial("tcp", slow)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	sent, err := c.Write(make([]byte, 256<<20))
	if err == nil {
		t.Fatal("256 MiB went into a machine that reads nothing")
	}
	if got, err := talkTo(quick, "still"); got != "still" {
		t.Errorf("%q, %v", got, err)
	}
	close(release)
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_ = c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); string(b) != strconv.Itoa(sent) {
		t.Errorf("%d bytes were sent, %s arrived, %v", sent, b, err)
	}
}

// Refusals are told once, however many connections meet them, and again after something else has happened.
func TestTroubleIsToldOnce(t *testing.T) {
	w := newWorld(t)
	target := machine(t, echo)
	w.grant("g-1", target)
	w.change("g-1", func(g *PassGrant) { g.From = time.Now().Add(-time.Hour) })
	d := w.dialer(Config{})
	w.set(func() { delete(w.inForce, "g-1"); w.words = "too many sessions" })
	address, tell, _, _ := forward(t, d, "g-1")
	for range 5 {
		if _, err := talkTo(address, "x"); err == nil {
			t.Fatal("it was let in")
		}
	}
	if n := tell.words(); len(n) != 1 || n[0] != "too many sessions" {
		t.Fatalf("told %q", n)
	}
	w.set(func() { w.inForce["g-1"] = target })
	if got, err := talkTo(address, "x"); got != "x" {
		t.Fatalf("%q, %v", got, err)
	}
	w.set(func() { delete(w.inForce, "g-1") })
	_, _ = talkTo(address, "x")
	if n := tell.words(); len(n) != 2 {
		t.Errorf("told %q", n)
	}
	eventually(t, "one look at what became of the grant", func() bool { return w.given() == 2 })
}

// A grant that is revoked ends the forwarding, which says so once.
func TestForwardEndsWithItsGrant(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	address, tell, done, _ := forward(t, d, "g-1")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	w.revoke("g-1", "bob of ot has revoked the grant")
	if err := <-done; fault.KindOf(err) != fault.Denied || !strings.Contains(fault.Message(err), "g-1") {
		t.Errorf("got %v", err)
	}
	if n := tell.words(); len(n) != 1 || n[0] != "bob of ot has revoked the grant" {
		t.Errorf("told %q", n)
	}
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the connection ended as if all had been said")
	}
	if _, err := talkTo(address, "x"); err == nil {
		t.Error("it still listens")
	}
}

// At its end a grant is asked after: it may have been extended. While nobody answers, the time that was said holds.
func TestForwardAtTheEndOfItsGrant(t *testing.T) {
	w := newWorld(t)
	w.life = 12 * time.Hour
	w.grant("g-1", machine(t, echo))
	clk := clock.NewFake(time.Now())
	d, _ := w.dialerOn(Config{}, clk)
	_, _, done, _ := forward(t, d, "g-1")
	eventually(t, "it waits", func() bool { return ready(d) && w.given() == 1 })
	w.change("g-1", func(g *PassGrant) { g.Until = g.Until.Add(time.Hour) })
	eventually(t, "it asks", func() bool { clk.Advance(time.Minute); return w.given() == 2 })
	w.set(func() { w.away = errAway })
	var err error
	eventually(t, "it ends", func() bool {
		clk.Advance(time.Minute)
		select {
		case err = <-done:
			return true
		default:
			return false
		}
	})
	if fault.KindOf(err) != fault.Expired || !strings.Contains(fault.Message(err), "ended at") || fault.Next(err) == "" {
		t.Errorf("got %v", err)
	}
	if by := time.Until(clk.Now()); by < 119*time.Minute || by > 150*time.Minute {
		t.Errorf("it ended after %v", by)
	}
}

func TestForwardWithoutAGrant(t *testing.T) {
	w := newWorld(t)
	d := w.dialer(Config{})
	address, _, done, _ := forward(t, d, "g-1")
	if err := <-done; fault.KindOf(err) != fault.Denied {
		t.Errorf("got %v", err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("it listens")
	}
}

// After the loss of the link the listener is still there, and the next connection finds its way by the same grant.
func TestForwardOutlivesTheLink(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	address, _, _, _ := forward(t, d, "g-1")
	if got, err := talkTo(address, "before"); got != "before" {
		t.Fatalf("%q, %v", got, err)
	}
	w.stopRelay()
	w.startRelay()
	if got, err := talkTo(address, "after"); got != "after" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{MaxConnections: 2})
	address, tell, _, _ := forward(t, d, "g-1")
	for range 2 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "both are open", func() bool { return len(d.Sessions()) == 2 })
	if _, err := talkTo(address, "x"); err == nil {
		t.Error("a third was taken")
	}
	if n := tell.words(); len(n) != 1 || !strings.Contains(n[0], "2 connections open") {
		t.Errorf("told %q", n)
	}
}

func TestAListenerThatIsClosed(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	l := listen(t)
	_ = l.Close()
	if err := d.Forward(t.Context(), l, "g-1", nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

// A control plane that gives no pass at all any more, as no grant is left, has said that this one is over.
func TestForwardEndsWhenNoPassIsGiven(t *testing.T) {
	w := newWorld(t)
	w.grant("g-1", machine(t, echo))
	d := w.dialer(Config{})
	address, _, done, _ := forward(t, d, "g-1")
	if got, err := talkTo(address, "x"); got != "x" {
		t.Fatalf("%q, %v", got, err)
	}
	w.set(func() { w.away = fault.New("test", fault.Denied, "no grant of yours is in force") })
	w.revoke("g-1", "it was revoked")
	_, _ = talkTo(address, "x")
	if err := <-done; fault.KindOf(err) != fault.Denied {
		t.Errorf("got %v", err)
	}
	_, err := d.Dial(t.Context(), "g-1")
	kind(t, err, fault.Denied, "no grant of yours is in force")
}
