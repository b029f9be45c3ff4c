package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"
)

// TestFaults kills one process after the other with SIGKILL while devices send. What was acknowledged must be in the log, flows must
// come back by themselves, and without the control plane nothing must stop at all, not even through an agent's restart.
// ISTHMUS_SOAK=30m goes round and round for that long.
func TestFaults(t *testing.T) {
	w := start(t, "isthf")
	limit := 8 * time.Minute
	soak, err := time.ParseDuration(os.Getenv("ISTHMUS_SOAK"))
	if err == nil {
		limit += soak
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	devices := map[string]*sender{}
	for i := range 3 {
		id := fmt.Sprintf("pump-%d", i)
		devices[id] = w.sender("plant7", w.device(ctx, id), id, 0, 20)
	}
	flowing := func(what string) {
		t.Helper()
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, 60*time.Second)
		defer cancel()
		for id, s := range devices {
			if err := s.more(within, 100); err != nil {
				t.Fatalf("%s: %s: %v", what, id, err)
			}
		}
		t.Logf("%s: all devices had 100 more messages acknowledged after %v", what, time.Since(began).Round(time.Millisecond))
	}
	began := time.Now()
	for round := 0; round == 0 || time.Since(began) < soak; round++ {
		flowing("before any fault")
		for _, victim := range []string{"relay", "agent-plant7", "agent-otcloud", "hub"} {
			w.roles[victim].Kill()
			must(t, w.roles[victim].Restart())
			flowing("after kill -9 of " + victim)
		}
		w.roles["server"].Kill()
		flowing("with the control plane dead")
		w.roles["agent-plant7"].Kill()
		must(t, w.roles["agent-plant7"].Restart())
		flowing("with the control plane dead, after kill -9 of agent-plant7")
		w.roles["agent-otcloud"].Kill()
		must(t, w.roles["agent-otcloud"].Restart())
		flowing("with the control plane dead, after kill -9 of agent-otcloud")
		w.roles["hub"].Kill()
		must(t, w.roles["hub"].Restart())
		flowing("with the control plane dead, after kill -9 of the hub")
		w.roles["relay"].Kill()
		must(t, w.roles["relay"].Restart())
		flowing("with the control plane dead, after kill -9 of the relay")
		must(t, w.roles["server"].Restart())
		_, err := w.roles["server"].WaitLog(ctx, "the control plane is ready")
		must(t, err)
		flowing("after the control plane came back")
	}
	acked := map[string]map[string]bool{}
	for id, s := range devices {
		s.stop(ctx, t)
		acked[id] = s.acked
	}
	stored := map[string]map[string]int{}
	for _, e := range w.events(ctx) {
		id := e.System["iothub-connection-device-id"]
		if stored[id] == nil {
			stored[id] = map[string]int{}
		}
		stored[id][checkEvent(t, e, id)]++
	}
	lost, twice, total := 0, 0, 0
	for id, seqs := range acked {
		for seq := range seqs {
			total++
			switch n := stored[id][seq]; {
			case n == 0:
				lost++
				t.Errorf("%s: message %s was acknowledged and is not in the log", id, seq)
			case n > 1:
				twice++
			}
		}
	}
	t.Logf("%d messages acknowledged, %d lost, %d stored twice (sent again because no acknowledgement came)", total, lost, twice)
}

func (s *sender) stop(ctx context.Context, t *testing.T) {
	t.Helper()
	var in io.Closer = s.stdin
	in.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	must(t, s.wait(ctx, func(_ int, ended bool) bool { return ended }))
}
