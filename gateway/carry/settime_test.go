package carry

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/isthmus-io/isthmus/clock"
)

// setClock is the machine's clock, whose time somebody sets while what it measures goes on, as time.Now does then.
type setClock struct {
	clock.System
	by atomic.Int64 // seconds
}

func (c *setClock) Now() time.Time {
	now := time.Now()
	// The first word of a time with a monotonic reading has the seconds of the wall clock above 30 bits of nanoseconds.
	*(*uint64)(unsafe.Pointer(&now)) += uint64(c.by.Load()) << 30
	return now
}

func TestSetClockIsWhatItSays(t *testing.T) {
	var c setClock
	before := c.Now()
	c.by.Store(-7200)
	after := c.Now()
	if wall := after.Round(0).Sub(before.Round(0)); wall > -7190*time.Second || after.Sub(before) < 0 || after.Sub(before) > time.Minute {
		t.Fatalf("the wall says %v, the rest %v", wall, after.Sub(before))
	}
}

// Setting the machine's time neither ends connections nor keeps those that say nothing, and what waits for a meter goes on.
func TestTheMachinesTimeIsSet(t *testing.T) {
	for name, by := range map[string]int64{"ahead": 7200, "back": -7200} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, cfg Config) {
				clk := &setClock{}
				w := newWorld(t, cfg, &Entrance{TLS: true, HelloTimeout: 700 * time.Millisecond}, clk)
				w.begun()
				target := newTarget(t, echo)
				meter := &slowMeter{}
				w.gate.set(func() {
					w.gate.choose = func(Hello) (Way, *Refusal) { return Way{Target: target, Meter: meter}, nil }
				})
				open, hello := w.dial(), clientHello(t, "a.example")
				talk := func(b []byte) {
					t.Helper()
					if _, err := open.Write(b); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(open, make([]byte, len(b))); err != nil {
						t.Fatal(err)
					}
				}
				talk(hello)
				silent := w.dial()
				w.until("the silent one is there", func(s Stats) bool { return s.Open == 2 })

				clk.by.Store(by)
				_ = silent.SetDeadline(time.Now().Add(10 * time.Second))
				if n, err := silent.Read(make([]byte, 1)); n != 0 || isTimeout(err) {
					t.Errorf("silent for longer than allowed: %v", err)
				}
				w.endsWith(ReasonHelloTimeout)
				meter.rest.Store(true)
				_ = open.SetDeadline(time.Now().Add(10 * time.Second))
				talk([]byte("still here"))
			})
		})
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // as net gives it
	return ok && e.Timeout()
}

// slowMeter has one taker wait once when it is told to.
type slowMeter struct{ rest atomic.Bool }

func (m *slowMeter) Take(want int) (int, time.Duration) {
	if m.rest.CompareAndSwap(true, false) {
		return 0, 50 * time.Millisecond
	}
	return want, 0
}
