package bridge_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func closed(p plan.Bridge, name string) plan.Bridge {
	ends := map[string]plan.BridgeEnd{}
	for n, e := range p.Ends {
		e.Open = n != name
		ends[n] = e
	}
	p.Ends = ends
	return p
}

// When Set returns, a bridge that may not run has no connection; what waits stays in the source and goes on from there.
func TestRevocation(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p plan.Bridge) plan.Bridge
		state  resource.BridgeState
		step   string
		why    string
	}{
		"destination": {func(p plan.Bridge) plan.Bridge { return closed(p, "lake") }, resource.BridgeWaiting, bridge.AtDestination, "not approved"},
		"source":      {func(p plan.Bridge) plan.Bridge { return closed(p, "hub") }, resource.BridgeWaiting, bridge.AtSource, "not approved"},
		"problem":     {func(p plan.Bridge) plan.Bridge { p.Problem, p.Step = "no contract", "contract"; return p }, resource.BridgeWaiting, bridge.AtContract, "no contract"},
		"paused":      {func(p plan.Bridge) plan.Bridge { p.Spec.Paused = true; return p }, resource.BridgePaused, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 2)
				w.hub.add(0, "1")
				p := telemetry()
				w.start(p)
				defer w.stop()
				w.bodiesAre("1")
				if w.connections() == 0 {
					t.Fatal("nothing is connected")
				}
				w.Set([]plan.Bridge{c.change(p)})
				if n := w.connections(); n != 0 {
					t.Errorf("%d connections are left", n)
				}
				if s := w.status(); s.State != c.state || s.Step != c.step || !strings.Contains(s.Why, c.why) {
					t.Errorf("%+v", s.BridgeStatus)
				}
				w.hub.add(1, "2")
				pass(time.Minute)
				w.bodiesAre("1")
				w.Set([]plan.Bridge{p})
				w.bodiesAre("1", "2")
				if w.lake.events()[1].Repeat {
					t.Error("it is marked, and was never sent")
				}
				w.Set(nil)
				if n := w.connections(); n != 0 || len(w.Status()) != 0 {
					t.Errorf("a bridge that is gone has %d connections", n)
				}
			})
		})
	}
}

// Who provides an end, and what was last reported, changes all the time and is no reason to begin anew.
func TestWhatDoesNotMatterIsNotNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := telemetry()
		w.start(p)
		defer w.stop()
		w.until("it reads", func() bool { return w.status().State == resource.BridgeRunning && w.connections() == 1 })
		e := p.Ends["lake"]
		e.Providers = []plan.Peer{{}}
		p.Ends = map[string]plan.BridgeEnd{"hub": p.Ends["hub"], "lake": e}
		p.Known = []resource.BridgePartition{{Partition: "0"}}
		p.Spec.Tests = []resource.BridgeTest{{Name: "x"}}
		w.Set([]plan.Bridge{p})
		pass(time.Minute)
		if n := w.hub.opened(); n != 1 {
			t.Errorf("it was read %d times", n)
		}
		p.Spec.Steps = []resource.BridgeStep{mapping("m", "root = content().uppercase()")}
		w.Set([]plan.Bridge{p})
		w.hub.add(0, "a")
		w.bodiesAre("A")
		if n := w.hub.opened(); n != 2 {
			t.Errorf("after a change it was read %d times", n)
		}
	})
}

func TestAnotherProcessTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		for i := range 3 {
			w.hub.add(0, fmt.Sprint(i))
		}
		p := telemetry()
		w.start(p)
		w.bodiesAre("0", "1", "2")
		old, oldStop := w.Bridges, w.stop
		q := p
		q.Assignment, q.Known = 2, []resource.BridgePartition{{Partition: "0", Next: 2, Reserved: 50_003}}
		w.cfg.Dir = t.TempDir()
		w.start(q)
		w.bodiesAre("0", "1", "2", "2")
		w.hub.add(0, "3")
		w.bodiesAre("0", "1", "2", "2", "3")
		if !w.lake.events()[3].Repeat || w.lake.events()[4].Repeat {
			t.Error("what the other one may have sent is marked, and nothing else")
		}
		pass(time.Minute)
		if s := old.Status()[0]; s.State != resource.BridgeWaiting || s.Step != bridge.AtSource || s.Why != "somebody else reads" {
			t.Errorf("the old one: %+v", s.BridgeStatus)
		}
		oldStop()
		w.stop()
	})
}

// A destination that does not answer is told of, given up, and tried again with marks.
func TestAHungDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.hub.add(0, "1")
		first := true // only one batch is under way
		w.lake.write = func(ctx context.Context, batch []*event.Event) (int, error) {
			if first {
				first = false
				<-ctx.Done()
				return len(batch), ctx.Err()
			}
			return len(batch), nil
		}
		w.start(telemetry())
		defer w.stop()
		w.until("it is told of", func() bool { return w.status().Step == bridge.AtDestination })
		if s := w.status(); !strings.Contains(s.Why, "not answered") {
			t.Errorf("%+v", s.BridgeStatus)
		}
		w.bodiesAre("1", "1")
		if w.lake.events()[0].Repeat && !w.lake.events()[1].Repeat {
			t.Error("the second copy is not marked")
		}
		w.until("it runs", func() bool { return w.status().State == resource.BridgeRunning })
		if s := w.status(); len(s.RecentErrors) != 1 || !strings.Contains(s.RecentErrors[0].Words, "2m0s") || s.Sent != 1 || s.Repeated != 1 {
			t.Errorf("%+v", s.BridgeStatus)
		}
	})
}

// A checkpoint that cannot be read is never taken for a new beginning.
func TestADamagedCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.hub.add(0, "1")
		w.start(telemetry())
		w.bodiesAre("1")
		w.stop()
		path := filepath.Join(w.cfg.Dir, "bridges", "b1", "checkpoint")
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole[len(whole)/2] ^= 1
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		w.start(telemetry())
		defer func() { w.stop() }()
		w.until("it fails", func() bool { return w.status().State == resource.BridgeFailed })
		if s := w.status(); s.Step != bridge.AtCheckpoint || !strings.Contains(s.Why, "is damaged") || !strings.Contains(s.Why, "move it away") {
			t.Errorf("%+v", s.BridgeStatus)
		}
		pass(time.Hour)
		w.bodiesAre("1")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		p := telemetry()
		p.Known = []resource.BridgePartition{{Partition: "0", Next: 0}}
		w.Set([]plan.Bridge{p})
		w.bodiesAre("1", "1")
		if !w.lake.events()[1].Repeat {
			t.Error("it may have been sent, and is not marked")
		}
	})
}

func TestWhereANewBridgeBegins(t *testing.T) {
	for start, want := range map[string][]string{"": {"1", "2", "3"}, "earliest": {"1", "2", "3"}, "latest": {"3"}, "time": {"2", "3"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.hub.add(0, "1")
			pass(time.Hour)
			p := telemetry()
			if p.Spec.Source.Start = start; start == "time" {
				p.Spec.Source.Start = time.Now().UTC().Format(time.RFC3339)
			}
			w.hub.add(0, "2")
			w.start(p)
			w.until("it runs", func() bool { return w.status().State == resource.BridgeRunning && w.connections() > 0 })
			pass(time.Second)
			w.kill() // before there was anything to send, perhaps
			w.hub.add(0, "3")
			w.start(p)
			w.until("all crossed", func() bool { return slices.Contains(w.lake.bodies(), "3") })
			w.stop()
			got := slices.Compact(w.lake.bodies())
			if !slices.Equal(got, want) {
				t.Errorf("from %q: %q", start, got)
			}
		})
	}
}

func TestWhatTheSourceHasLostIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		for i := range 4 {
			w.hub.add(0, fmt.Sprint(i))
		}
		w.start(telemetry())
		w.bodiesAre("0", "1", "2", "3")
		w.stop()
		for i := range 4 {
			w.hub.add(0, fmt.Sprint(4+i))
		}
		w.hub.expire(0, 6)
		w.start(telemetry())
		w.bodiesAre("0", "1", "2", "3", "6", "7")
		if e := w.status().RecentErrors; len(e) != 1 || e[0].Step != bridge.AtSource || !strings.Contains(e[0].Words, "4 to 5 of partition 0") {
			t.Errorf("%+v", e)
		}
		w.stop()
		w.hub.first[0], w.hub.parts[0] = 0, nil // another hub of the same name
		w.start(telemetry())
		defer w.stop()
		w.until("it fails", func() bool { return w.status().State == resource.BridgeFailed })
		if s := w.status(); !strings.Contains(s.Why, "not the source it was") || s.Step != bridge.AtSource {
			t.Errorf("%+v", s.BridgeStatus)
		}
	})
}

func TestSecretsAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		p := telemetry()
		p.Spec.Source.Secret = "hub.txt"
		w.start(p)
		defer w.stop()
		w.until("it fails", func() bool { return w.status().State == resource.BridgeFailed })
		if s := w.status(); s.Step != bridge.AtSource || !strings.Contains(s.Why, "hub.txt") {
			t.Errorf("%+v", s.BridgeStatus)
		}
		if err := os.MkdirAll(filepath.Join(w.cfg.Dir, "secrets"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.cfg.Dir, "secrets", "hub.txt"), []byte(" Endpoint=sb://x;\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.until("it runs", func() bool { return w.status().State == resource.BridgeRunning })
		if w.hub.secret != "Endpoint=sb://x;" {
			t.Errorf("the source got %q", w.hub.secret)
		}
	})
}

// What another bridge has sent twice is read once; what is not marked is never left out, nor rows of windows.
func TestSecondCopiesAreLeftOut(t *testing.T) {
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			add := func(id string, repeat bool, body string) {
				list := []event.Property{{Name: event.OriginProperty, Value: id}}
				if repeat {
					list = append(list, event.Property{Name: event.RepeatProperty, Value: true})
				}
				w.hub.add(0, body, list...)
			}
			add("u/0/5", false, "a")
			add("u/0/6", false, "b")
			add("u/0/5", true, "a2")
			add("u/0/6", true, "b2")
			add("u/1/5", true, "c")
			add("u/0/6/1", true, "d")
			add("u/0/6/1", true, "d2")
			add("u/0/3", false, "e")
			add("u/window/1/2/ab", true, "f")
			add("u/window/1/2/ab", true, "f2")
			p := telemetry()
			p.Spec.Batch.Events = 3
			want := []string{"a", "b", "c", "d", "e", "f", "f2"}
			if keep {
				p.Spec.Source.Repeats = resource.RepeatsKeep
				want = []string{"a", "b", "a2", "b2", "c", "d", "d2", "e", "f", "f2"}
			}
			w.start(p)
			w.bodiesAre(want...)
			w.until("it is done", func() bool { return w.status().Lag == 0 })
			if s := w.status(); s.Dropped != int64(10-len(want)) {
				t.Errorf("%+v", s.BridgeStatus)
			}
			w.stop()
			add("u/0/6/1", true, "d3")
			add("u/0/7", true, "g")
			w.start(p)
			defer w.stop()
			if keep {
				want = append(want, "d3")
			}
			w.bodiesAre(append(want, "g")...)
		})
	}
}

// A clock that jumps changes days, and neither the rate nor what is waited for.
func TestAClockThatJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		j := &jumping{}
		w.clk = j
		w.hub.add(0, "1")
		w.start(telemetry())
		defer w.stop()
		w.bodiesAre("1")
		for i, d := range []time.Duration{400 * 24 * time.Hour, -800 * 24 * time.Hour, 0} {
			j.by.Store(int64(d))
			w.hub.add(0, fmt.Sprint(i+2))
			w.until("it crossed", func() bool { return len(w.lake.bodies()) == i+2 })
			pass(15 * time.Second)
			if s := w.status(); s.State != resource.BridgeRunning || s.EventsPerSec != 0 {
				t.Errorf("after %v: %+v", d, s.BridgeStatus)
			}
		}
		if s := w.status(); s.EventsToday != 2 {
			t.Errorf("%d events today", s.EventsToday)
		}
	})
}

type jumping struct {
	clock.System
	by atomic.Int64
}

func (j *jumping) Now() time.Time { return time.Now().Add(time.Duration(j.by.Load())) }

func TestNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		reg := prometheus.NewPedanticRegistry()
		b, err := bridge.New(w.cfg, bridge.Outside{Dial: w.dial}, w.log, w.clk, reg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		w.Bridges = b
		w.lake.write = func(context.Context, []*event.Event) (int, error) {
			return 0, fault.New("", fault.Exhausted, "the lake is full")
		}
		for i := range 10 {
			w.hub.add(0, fmt.Sprint(i))
		}
		b.Set([]plan.Bridge{telemetry()})
		w.until("it waits", func() bool { return w.status().Step == bridge.AtDestination })
		want := `
			# HELP isthmus_bridge_lag_events Events of the source that are not sent yet.
			# TYPE isthmus_bridge_lag_events gauge
			isthmus_bridge_lag_events{bridge="ot/plant/telemetry"} 10
			# HELP isthmus_bridge_waiting Lanes and tasks of the bridge that wait, by step.
			# TYPE isthmus_bridge_waiting gauge
			isthmus_bridge_waiting{bridge="ot/plant/telemetry",step="destination"} 1
			# HELP isthmus_bridge_running 1 while the bridge runs without waiting for anything.
			# TYPE isthmus_bridge_running gauge
			isthmus_bridge_running{bridge="ot/plant/telemetry"} 0
		`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "isthmus_bridge_lag_events", "isthmus_bridge_waiting", "isthmus_bridge_running"); err != nil {
			t.Error(err)
		}
		if s := w.status(); s.Lag != 10 || time.Since(s.OldestUnsent) > time.Hour || s.OldestUnsent.IsZero() {
			t.Errorf("%+v", s.BridgeStatus)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Code that breaks where nobody expects it ends the run, not the process, and what was under way comes again.
func TestPartsThatPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		var broken atomic.Int64
		w.cfg.Contract = func(*plan.Contract) (bridge.Contract, error) { return &fragile{left: &broken}, nil }
		w.lake.write = func(_ context.Context, batch []*event.Event) (int, error) {
			if broken.Add(1) == 3 {
				panic("in the destination")
			}
			return len(batch), nil
		}
		w.hub.add(0, "1")
		p := telemetry()
		p.Contract = &plan.Contract{}
		w.start(p)
		defer w.stop()
		w.until("it crossed", func() bool { return len(w.lake.bodies()) == 1 })
		if s := w.status(); len(s.RecentErrors) != 1 || s.RecentErrors[0].Step != bridge.AtDestination || s.RecentErrors[0].Count != 2 || !strings.Contains(s.RecentErrors[0].Words, "in the") {
			t.Errorf("%+v", s.BridgeStatus)
		}
	})
}

type fragile struct{ left *atomic.Int64 }

func (f *fragile) Apply(*event.Event) error { return nil }

func (f *fragile) Take(checkpoint.Day, time.Time, int, int64) (time.Duration, string) {
	if f.left.Add(1) == 1 {
		panic("in the contract")
	}
	return 0, ""
}
