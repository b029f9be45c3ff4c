package abuse

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/gateway/balance"
)

// unanswering accepts and says nothing.
func unanswering(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// target is what the gateway thinks of a target.
func (f *front) target(at string) balance.TargetStatus {
	f.t.Helper()
	for _, g := range f.status().Groups {
		for _, x := range g.Targets {
			if x.Address.String() == at {
				return x
			}
		}
	}
	f.t.Fatalf("no target is at %s", at)
	return balance.TargetStatus{}
}

// becomes waits until the gateway thinks that of a target.
func (f *front) becomes(at, state string) time.Duration {
	f.t.Helper()
	began := time.Now()
	await(f.t, at, func() error {
		if s := f.target(at).State; s != state {
			return fmt.Errorf("it is %s, not %s", s, state)
		}
		return nil
	})
	return time.Since(began)
}

// A target that is down, one that accepts and never answers, all of them, and back: who comes is led to those that serve, refusals and
// outages are told once each, and service is back with the target.
func TestTargetsThatFail(t *testing.T) {
	t.Parallel()
	first, second := serve(t, repeat), serve(t, repeat)
	at := []string{first.at(), second.at()}
	config := strings.Replace(manifest("  openToAll: true\n", map[string][]string{served: at}),
		"health: {check: none}", "health: {check: tls, everySeconds: 1, rise: 1, fall: 2}, connectMillis: 1000", 1)
	f := startFront(t, config)
	for _, a := range at {
		f.becomes(a, "up")
	}
	newcomers := use(t, "newcomers", 10*time.Millisecond, func() error { return f.enters("127.0.0.1") }, func() error { return f.enters("127.0.1.1") })
	newcomers.warm(50)
	memory := f.watchMemory()

	// Down: whoever was led there is led to the other before it notices. Its own sessions end with it.
	newcomers.between(first.stop)
	f.becomes(at[0], "down")
	newcomers.served(50)
	newcomers.fine("while one target goes down, and without it", 50)

	// It accepts and never answers: for a check it stays down.
	mute := serveOn(t, at[0], unanswering)
	<-time.After(2500 * time.Millisecond)
	if s := f.target(at[0]).State; s != "down" {
		t.Errorf("a target that accepts and never answers is %s", s)
	}
	newcomers.fine("with one target that never answers", 50)
	mute.stop()

	// All down: everybody is refused, quickly.
	newcomers.stop()
	second.stop()
	f.becomes(at[1], "down")
	began := time.Now()
	tries := 0
	for ; time.Since(began) < time.Second; tries++ {
		once := time.Now()
		if f.enters("127.0.1.1") == nil {
			t.Error("somebody was served by nobody")
		}
		if took := time.Since(once); took > tolerable {
			t.Errorf("refused only after %v", took)
		}
	}
	refused := f.refusals("no-target")
	if refused != uint64(tries) {
		t.Errorf("%d of %d were refused", refused, tries)
	}

	// Back.
	serveOn(t, at[0], repeat)
	took := f.becomes(at[0], "up")
	await(t, "service", func() error { return f.enters("127.0.1.1") })
	t.Logf("%d were refused while all targets were down; one was back %v after it listened again", tries, took.Round(time.Millisecond))
	again := use(t, "newcomers", 10*time.Millisecond, func() error { return f.enters("127.0.0.1") })
	again.served(50)
	again.fine("after the outage", 50)
	again.stop()
	memory().within(t, 24)
	f.end()
	if n := f.told(3, "no-target"); n < refused {
		t.Errorf("the log accounts for %d of %d:\n%s", n, refused, f.tail())
	}
	f.saysOnce(1, "a target is down", at[0])
	f.saysOnce(1, "a target is down", at[1])
	f.saysOnce(1, "a target is back", at[0])
	if n := len(f.lines()); n > 15 {
		t.Errorf("the log has %d lines:\n%s", n, f.tail())
	}
}
