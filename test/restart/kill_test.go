package restart

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// often is n, or more than that where there is time.
func often(n, soaked int) int {
	if soak {
		return soaked
	}
	return n
}

// everything has all that a hub process does go on while it ends and comes back, and then looks at what is left.
func everything(t *testing.T, n int, end func(*world, int)) {
	w := start(t)
	far := w.far()
	var pumps []*pump
	for i := range 4 {
		pumps = append(pumps, w.pump(fmt.Sprintf("pump-%d", i)))
	}
	service, office, archive, factory := w.service(pumps), w.office(pumps), w.archive(), w.factory()
	ctx, stop := context.WithCancel(w.ctx)
	defer stop()
	service.work(ctx)
	office.work(ctx)
	archive.work(ctx)
	factory.work(ctx)
	w.rounds(n, func(round int) { end(w, round) })
	stop()
	service.check()
	far.check(pumps)
	office.check()
	archive.check()
	factory.check()
	w.end()
}

// A process that is killed at any moment has lost nothing that it acknowledged, and repeats nothing without a mark.
func TestKilledUnderLoad(t *testing.T) {
	everything(t, often(6, 150), func(w *world, _ int) { w.Kill() })
}

// A process that is asked to end does so soon, without an error, and has lost nothing either.
func TestTerminatedUnderLoad(t *testing.T) {
	everything(t, often(2, 30), func(w *world, round int) {
		ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
		defer cancel()
		if err := w.Terminate(ctx); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		for l := range strings.Lines(w.Log()) {
			if strings.Contains(l, "level=ERROR") {
				t.Errorf("round %d: ending is no error: %s", round, l)
			}
		}
	})
}
