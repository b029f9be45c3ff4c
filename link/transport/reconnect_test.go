package transport

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/plan"
)

// attempts counts how often a relay that cannot be reached is dialled in span of time, while flows ask for it every so often.
func attempts(t *testing.T, span, every time.Duration) (n int) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		tr := New(Config{}, w.credentials(consumer, 2*time.Hour), logger(t), clock.System{}, nil)
		tr.creds = w.credentials(consumer, 50*365*24*time.Hour) // a bubble's clock begins in the year 2000
		tr.clk = shifted{by: time.Until(w.authority.Certificate().NotAfter.AddDate(-5, 0, 0))}
		tr.dial = func(context.Context, string, string) (net.Conn, error) {
			n++
			return nil, errors.New("no route")
		}
		tr.SetRelays([]plan.Relay{{Address: "relay.example:443", ID: "spiffe://isthmus.test/relay/r1"}})
		ctx, cancel := context.WithTimeout(t.Context(), span)
		defer cancel()
		done := make(chan error)
		go func() { done <- tr.Run(ctx) }()
		if every > 0 {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for ctx.Err() == nil {
				select {
				case <-tick.C:
					tr.mu.Lock()
					links := tr.links
					tr.mu.Unlock()
					for _, l := range links {
						l.wanted()
					}
				case <-ctx.Done():
				}
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return n
}

// shifted is the system's clock, some time off.
type shifted struct{ by time.Duration }

func (s shifted) Now() time.Time { return time.Now().Add(s.by) }

func (s shifted) After(d time.Duration) (<-chan time.Time, func()) { return clock.System{}.After(d) }

func TestReconnectDoesNotSpin(t *testing.T) {
	// Uniform draws below 15 s make 480 attempts an hour, give or take.
	if n := attempts(t, time.Hour, 0); n < 300 || n > 800 {
		t.Errorf("%d attempts in an hour", n)
	}
	if n := attempts(t, 10*time.Second, 0); n < 2 || n > 60 {
		t.Errorf("%d attempts in ten seconds", n)
	}
}

func TestDemandHastensButDoesNotSpin(t *testing.T) {
	// One attempt each one to two seconds while flows ask a hundred times a second.
	if n := attempts(t, 10*time.Minute, 10*time.Millisecond); n < 290 || n > 620 {
		t.Errorf("%d attempts in ten minutes", n)
	}
}
