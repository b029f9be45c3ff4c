package bridge_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// No more events are handled together than batch says, and of bodies no more than it says beside the one that reaches it.
func TestBatch(t *testing.T) {
	for _, c := range []struct {
		batch resource.BatchSize
		most  int
	}{
		{resource.BatchSize{}, 100},
		{resource.BatchSize{Events: 7}, 7},
		{resource.BatchSize{Bytes: 40}, 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			for range 100 {
				w.hub.add(0, strings.Repeat("x", 10))
			}
			sizes := make(chan int, 100)
			w.lake.write = func(_ context.Context, batch []*event.Event) (int, error) {
				sizes <- len(batch)
				return len(batch), nil
			}
			p := telemetry()
			p.Spec.Batch = c.batch
			w.start(p)
			defer w.stop()
			w.until("all crossed", func() bool { return len(w.lake.bodies()) == 100 })
			if most := <-sizes; most != c.most {
				t.Errorf("%+v: %d events at once", c.batch, most)
			}
		})
	}
}

// An event that a mapping or a filter cannot deal with is dead-lettered, or holds up what is behind it where the step is to wait.
func TestOnErrorOfExpressions(t *testing.T) {
	for _, step := range []resource.BridgeStep{{Name: "m", Mapping: "root = this.n.number()"}, {Name: "m", Filter: "this.n.number() > 0"}} {
		for _, onError := range []resource.OnError{resource.ErrorDeadLetter, resource.ErrorWait} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				step.OnError = onError
				w.hub.add(0, `{"n":"none"}`)
				w.hub.add(0, `{"n":1}`)
				plans := []plan.Bridge{telemetry(step)}
				w.start(plans...)
				defer w.stop()
				if onError == resource.ErrorDeadLetter {
					w.until("one crosses", func() bool { return len(w.lake.bodies()) == 1 && len(w.letters.list()) == 1 })
					return
				}
				w.until("it waits", func() bool { return w.status().State != resource.BridgeRunning && w.status().Step == "m" })
				pass(time.Hour)
				if len(w.lake.bodies())+len(w.letters.list()) != 0 {
					t.Errorf("meanwhile %q crossed, %v died", w.lake.bodies(), w.letters.list())
				}
			})
		}
	}
}
