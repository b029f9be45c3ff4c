package restart

import (
	"context"
	"fmt"
	"testing"
)

// rounds is how often the process ends in a test.
func rounds(n, soaked int) int {
	if soak {
		return soaked
	}
	return n
}

func TestKilledUnderLoad(t *testing.T) {
	w := start(t)
	var pumps []*pump
	for i := range 4 {
		pumps = append(pumps, w.pump(fmt.Sprintf("pump-%d", i)))
	}
	s := w.service(pumps)
	ctx, stop := context.WithCancel(w.ctx)
	defer stop()
	s.work(ctx)
	w.rounds(rounds(6, 200), func(int) { w.Kill() })
	stop()
	s.check()
	w.end()
}
