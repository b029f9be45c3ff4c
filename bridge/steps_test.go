package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// bodiesAre waits for what the destination is to have in the end.
func (w *world) bodiesAre(want ...string) {
	w.t.Helper()
	w.until(fmt.Sprintf("%q crossed", want), func() bool { return len(w.lake.bodies()) >= len(want) })
	if got := w.lake.bodies(); !slices.Equal(got, want) {
		w.t.Errorf("%q crossed, want %q", got, want)
	}
}

func TestStepsInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		for i := range 6 {
			w.hub.add(0, fmt.Sprintf(`{"n":%d}`, i), event.Property{Name: "type", Value: "telemetry"})
		}
		w.start(telemetry(
			mapping("split", `root = if this.n == 2 { [{"n":20},{"n":21},{"n":22}] } else if this.n == 4 { deleted() } else { this }`),
			resource.BridgeStep{Name: "odd", Filter: `this.n % 2 == 1 || this.n == 22`},
			mapping("text", `root = "n is " + this.n.string()`+"\n"+`meta kind = @type`),
		))
		defer w.stop()
		w.bodiesAre("n is 1", "n is 21", "n is 22", "n is 3", "n is 5")
		if want := []string{"b1/0/1", "b1/0/2", "b1/0/2/1", "b1/0/3", "b1/0/5"}; !slices.Equal(w.lake.ids(), want) {
			t.Errorf("their ids are %q, want %q", w.lake.ids(), want)
		}
		if got := event.Text(w.lake.events()[0].Properties, "kind"); got != "telemetry" {
			t.Errorf("the property is %q", got)
		}
		w.until("all is counted", func() bool { return w.status().Partitions[0].Next == 6 })
		if s := w.status(); s.Sent != 5 || s.Filtered != 3 || s.Dead != 0 {
			t.Errorf("%+v", s.BridgeStatus)
		}
	})
}

// function is a step of the user's own.
type function func(ctx context.Context, batch []*event.Event) ([]bridge.Outcome, error)

func (f function) Close(context.Context) error { return nil }

func (f function) Process(ctx context.Context, batch []*event.Event) ([]bridge.Outcome, error) {
	return f(ctx, batch)
}

func withFunction(w *world, f function) resource.BridgeStep {
	w.cfg.Step = func(context.Context, bridge.StepArgs) (bridge.Step, error) { return f, nil }
	return resource.BridgeStep{Name: "enrich", WASM: &resource.WASMFunction{Module: "enrich.wasm"}}
}

// One event that a function cannot stand does not end the process, nor take others with it; what is kept of it is what was read.
func TestAFunctionThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		for _, body := range []string{"a", "poison", "b", "refuse", "c"} {
			w.hub.add(0, body, event.Property{Name: "p", Value: "as it was"})
		}
		w.start(telemetry(mapping("first", `root = content().uppercase()`), withFunction(w, func(_ context.Context, batch []*event.Event) ([]bridge.Outcome, error) {
			out := make([]bridge.Outcome, len(batch))
			for i, e := range batch {
				e.Properties = event.Set(e.Properties, "p", "changed")
				switch string(e.Body) {
				case "POISON":
					panic("a bug")
				case "REFUSE":
					out[i].Refused = errors.New("not this one")
				default:
					out[i].Events = batch[i : i+1]
				}
			}
			return out, nil
		})))
		defer w.stop()
		w.bodiesAre("A", "B", "C")
		w.until("they are counted", func() bool { return w.status().Dead == 2 })
		dead := w.letters.list()
		slices.SortFunc(dead, func(a, b bridge.Dead) int { return strings.Compare(string(a.Event.Body), string(b.Event.Body)) })
		if len(dead) != 2 || string(dead[0].Event.Body) != "poison" || !strings.Contains(dead[0].Reason, "a bug") || dead[1].Reason != "not this one" || dead[1].Step != "enrich" {
			t.Errorf("%+v", dead)
		}
		if got := event.Text(dead[0].Event.Properties, "p"); got != "as it was" {
			t.Errorf("the letter has the property %q", got)
		}
		if e := w.status().RecentErrors; len(e) != 1 || e[0].Step != "enrich" || e[0].Count != 2 {
			t.Errorf("%+v", e)
		}
	})
}

// A function that is away, or a step that is to wait, stops the lane; the status says which and why, and nothing is lost.
func TestWhatIsAwayIsWaitedFor(t *testing.T) {
	for _, onError := range []resource.OnError{"", resource.ErrorWait} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			for i := range 3 {
				w.hub.add(0, fmt.Sprint(i))
			}
			var there atomic.Bool
			f := withFunction(w, func(_ context.Context, batch []*event.Event) ([]bridge.Outcome, error) {
				out := make([]bridge.Outcome, len(batch))
				for i := range batch {
					out[i].Events = batch[i : i+1]
					if !there.Load() && onError == resource.ErrorWait {
						out[i] = bridge.Outcome{Refused: errAway}
					}
				}
				if !there.Load() && onError == "" {
					return nil, errAway
				}
				return out, nil
			})
			f.OnError = onError
			w.start(telemetry(f))
			defer w.stop()
			w.until("it waits", func() bool { return w.status().State == resource.BridgeWaiting && w.status().Step == "enrich" })
			if s := w.status(); s.Why != "it is away: wait" || len(w.Problems()) != 1 || !strings.Contains(w.Problems()[0], "enrich") {
				t.Errorf("%+v %q", s.BridgeStatus, w.Problems())
			}
			pass(time.Hour)
			if len(w.lake.bodies())+len(w.letters.list()) != 0 {
				t.Errorf("meanwhile %q crossed, %v died", w.lake.bodies(), w.letters.list())
			}
			there.Store(true)
			w.bodiesAre("0", "1", "2")
			w.until("it runs", func() bool { return w.status().State == resource.BridgeRunning })
			if len(w.Problems()) != 0 {
				t.Errorf("%q", w.Problems())
			}
		})
	}
}

func TestFullDeadLettersStopTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.letters.full = true
		for _, body := range []string{`{"n":1}`, "no json", `{"n":2}`} {
			w.hub.add(0, body)
		}
		w.start(telemetry(mapping("m", "root = this.n.string()")))
		defer w.stop()
		w.until("it waits", func() bool {
			return w.status().State == resource.BridgeWaiting && w.status().Step == bridge.AtDeadLetters
		})
		if s := w.status(); !strings.Contains(s.Why, "delete some") || s.Partitions != nil && s.Partitions[0].Next > 0 {
			t.Errorf("%+v", s.BridgeStatus)
		}
		w.letters.mu.Lock()
		w.letters.full = false
		w.letters.mu.Unlock()
		w.bodiesAre("1", "2")
		if dead := w.letters.list(); len(dead) != 1 || string(dead[0].Event.Body) != "no json" || dead[0].Step != "m" {
			t.Errorf("%+v", dead)
		}
	})
}

// pact is a contract: it lets so many a second and a day cross, without their property "secret".
type pact struct {
	perSecond int
	perDay    int64
	until     time.Time
}

func (p *pact) Apply(e *event.Event) error {
	if strings.Contains(string(e.Body), "forbidden") {
		return fault.New("pact", fault.Denied, "forbidden is not agreed")
	}
	if strings.Contains(string(e.Body), "bug") {
		panic("in the check")
	}
	e.Properties = event.Remove(e.Properties, "secret")
	return nil
}

func (p *pact) Take(today checkpoint.Day, now time.Time, events int, _ int64) (time.Duration, string) {
	switch {
	case p.perDay > 0 && today.Events+int64(events) > p.perDay:
		return now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now), "the day's volume is used up"
	case now.Before(p.until):
		return p.until.Sub(now), "so many a second are agreed"
	}
	if p.perSecond > 0 {
		p.until = now.Add(time.Duration(events) * time.Second / time.Duration(p.perSecond))
	}
	return 0, ""
}

func TestTheContractIsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.cfg.Contract = func(*plan.Contract) (bridge.Contract, error) { return &pact{perDay: 5}, nil }
		for _, body := range []string{"1", "forbidden", "2", "bug", "3", "4", "5", "6", "7"} {
			w.hub.add(0, body, event.Property{Name: "secret", Value: "s"}, event.Property{Name: "open", Value: "o"})
		}
		p := telemetry(resource.BridgeStep{Name: "all", Filter: "true"})
		p.Contract = &plan.Contract{Name: "ot/telemetry", Version: 3}
		begin := time.Now()
		w.start(p)
		defer w.stop()
		w.bodiesAre("1", "2", "3", "4", "5")
		w.until("it waits for tomorrow", func() bool { return w.status().State == resource.BridgeWaiting })
		if s := w.status(); s.Step != bridge.AtContract || s.Why != "the day's volume is used up" || s.EventsToday != 5 || s.Sent != 5 || s.VolumeToday == 0 || s.Contract != 3 {
			t.Errorf("%+v", s.BridgeStatus)
		}
		for _, e := range w.lake.events() {
			if len(e.Properties) != 1 || e.Properties[0].Name != "open" {
				t.Errorf("%+v crossed", e.Properties)
			}
		}
		pass(24 * time.Hour)
		w.bodiesAre("1", "2", "3", "4", "5", "6", "7")
		dead := w.letters.list()
		if len(dead) != 2 || dead[0].Step != bridge.AtContract || dead[0].Reason != "forbidden is not agreed" || len(dead[0].Event.Properties) != 2 {
			t.Errorf("%+v", dead)
		}
		if today := begin.UTC().Truncate(24 * time.Hour); !time.Now().UTC().Truncate(24 * time.Hour).After(today) {
			t.Error("they crossed on the same day")
		}
	})
}

func TestTheRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.cfg.Contract = func(*plan.Contract) (bridge.Contract, error) { return &pact{perSecond: 10}, nil }
		for i := range 300 {
			w.hub.add(i%3, fmt.Sprint(i))
		}
		p := telemetry()
		p.Contract, p.Spec.Batch.Events = &plan.Contract{}, 7
		begin := time.Now()
		w.start(p)
		defer w.stop()
		w.until("all crossed", func() bool { return len(w.lake.bodies()) == 300 })
		if d := time.Since(begin); d < 28*time.Second || d > 45*time.Second {
			t.Errorf("300 events at 10 a second took %v", d)
		}
		if r := w.status().EventsPerSec; r < 8 || r > 12 {
			t.Errorf("the rate is said to be %v", r)
		}
	})
}

func TestDeadLettersAreReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		for _, body := range []string{"5", "x", "7", "y"} {
			w.hub.add(1, body)
		}
		p := telemetry(mapping("m", "root = (this + 1).string()"))
		w.start(p)
		defer func() { w.stop() }()
		w.until("they died", func() bool { return w.status().Dead == 2 })
		if err := w.Replay(t.Context(), "nobody", nil); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%v", err)
		}
		p.Spec.Steps = []resource.BridgeStep{mapping("m", `root = if content() == "x" { "mended" } else { throw("never") }`)}
		w.Set([]plan.Bridge{p})
		w.until("it runs", func() bool { return w.status().State == resource.BridgeRunning })
		var list []*event.Event
		for _, d := range w.letters.list() {
			list = append(list, d.Event)
		}
		if err := w.Replay(t.Context(), "b1", list); err != nil {
			t.Fatal(err)
		}
		last := w.lake.events()[len(w.lake.events())-1]
		if got := w.lake.bodies(); got[len(got)-1] != "mended" || len(got) != 3 || !last.Repeat || w.lake.ids()[2] != "b1/replay/1/1/0" {
			t.Errorf("%q %+v %q", got, last, w.lake.ids())
		}
		if dead := w.letters.list(); len(dead) != 3 || string(dead[2].Event.Body) != "y" || dead[2].Event.Origin.Name != "" || dead[2].Event.Origin.Sequence != 3 {
			t.Errorf("%+v", dead)
		}
		p.Spec.Paused = true
		w.Set([]plan.Bridge{p})
		if err := w.Replay(t.Context(), "b1", list); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%v", err)
		}
		if l, ok := w.Letters("b1"); !ok || l.Kept() != 3 {
			t.Error("the letters of a bridge that is paused")
		}
	})
}
