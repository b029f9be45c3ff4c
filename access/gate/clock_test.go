package gate_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/plan"
)

// wallClock can be set, which its timers do not notice.
type wallClock struct {
	clock.System
	by atomic.Int64
}

func (c *wallClock) Now() time.Time {
	return c.System.Now().Round(0).Add(time.Duration(c.by.Load()))
}

func TestAClockThatIsSetProlongsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		by, after time.Duration
	}{
		"back":        {-10 * time.Hour, time.Hour},
		"a bit back":  {-time.Minute, time.Hour},
		"forward":     {40 * time.Minute, 30 * time.Minute}, // half an hour after the beginning it is over
		"far forward": {1000 * time.Hour, 30 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clk := &wallClock{}
				w := newWorld(t, gate.Config{}, clk)
				w.gate.Set([]plan.Target{w.target()})
				s, _ := w.enter("grant-1")
				time.Sleep(30 * time.Minute)
				clk.by.Store(int64(c.by))
				cut(t, s)
				if took := time.Since(w.begun); took < c.after || took > c.after+time.Second {
					t.Error("after", took)
				}
				if r := w.journal.wait(1); r.End != session.EndExpired {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// An extension and new limits count from what the session holds the time to be, too.
func TestAClockThatIsSetProlongsNothingWithANewPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := &wallClock{}
		w := newWorld(t, gate.Config{}, clk)
		p := w.target()
		w.gate.Set([]plan.Target{p})
		s, _ := w.enter("grant-1")
		time.Sleep(30 * time.Minute)
		clk.by.Store(int64(-10 * time.Hour))
		p.Grants[0].Until = w.begun.Add(2 * time.Hour)
		w.gate.Set([]plan.Target{p})
		cut(t, s)
		if took := time.Since(w.begun); took < 2*time.Hour || took > 2*time.Hour+time.Second {
			t.Error("after", took)
		}
	})
}

func TestTheControlPlanesClockCounts(t *testing.T) {
	for name, c := range map[string]struct{ ahead, after time.Duration }{
		"hardly":        {2 * time.Second, time.Hour},
		"hardly behind": {-2 * time.Second, time.Hour},
		"ahead":         {20 * time.Minute, 40 * time.Minute},
		"behind":        {-20 * time.Minute, 80 * time.Minute},
	} {
		for _, when := range []string{"before", "while it is open"} {
			t.Run(name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, gate.Config{}, nil)
					p := w.target()
					p.Grants[0].From = w.begun.Add(-time.Hour)
					w.gate.Set([]plan.Target{p})
					if when == "before" {
						w.gate.SetOffset(c.ahead)
					}
					s, _ := w.enter("grant-1")
					w.gate.SetOffset(c.ahead)
					cut(t, s)
					if took := time.Since(w.begun); took < c.after || took > c.after+time.Second {
						t.Error("after", took)
					}
					// Records show the control plane's time.
					if r := w.journal.wait(1); r.End != session.EndExpired || r.At.Sub(w.begun.Add(time.Hour)).Abs() > 3*time.Second {
						t.Errorf("%+v", r)
					}
				})
			})
		}
	}
}

// By a clock that ran ahead somebody was let in too early.
func TestACorrectionBeforeTheBeginningEndsASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{}, nil)
		w.gate.Set([]plan.Target{w.target()})
		s, _ := w.enter("grant-1")
		w.gate.SetOffset(-time.Hour)
		if reset := cut(t, s); !strings.Contains(reset.Message, "does not begin before") {
			t.Error(reset)
		}
	})
}
