package bridge_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEventsCross(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		want := numbered(5000)
		for i, body := range want {
			w.hub.add(i%2, body)
		}
		w.start(telemetry(mapping("same", `root = this.merge({"x":@device}).without("x")`), resource.BridgeStep{Name: "all", Filter: "this.n >= 0"}))
		defer w.stop()
		w.until("all have crossed", func() bool { return len(w.lake.bodies()) == len(want) })
		got := w.lake.bodies()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Error("other events came out than went in")
		}
		w.until("it is counted", func() bool { return w.status().Sent == 5000 && w.status().Lag == 0 })
		s := w.status()
		if s.State != resource.BridgeRunning || s.Repeated != 0 || s.Dead != 0 || len(s.Partitions) != 2 || s.Partitions[1].Next != 2500 || s.EventsToday != 5000 || s.VolumeToday == 0 {
			t.Errorf("%+v", s)
		}
	})
}
