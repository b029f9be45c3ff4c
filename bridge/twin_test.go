package bridge_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
)

// Whatever happens to the process, its ends and its plan, at whatever moment: no event is lost, those of a partition stay in order, and
// every second copy is marked.
func TestNothingIsLostWhateverHappens(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) { storm(t, seed) })
	}
}

func storm(t *testing.T, seed uint64) {
	const partitions = 3
	dice := rand.New(rand.NewPCG(seed, 7))
	w := newWorld(t, partitions)
	added := make([]int, partitions)
	add := func(n int) {
		for range n {
			p := dice.IntN(partitions)
			kind := "good"
			switch dice.IntN(30) {
			case 0:
				kind = "poison" // for the mapping
			case 1:
				kind = "refused" // by the destination
			case 2:
				kind = "gone" // filtered
			}
			w.hub.add(p, fmt.Sprintf(`{"kind":%q,"p":%d,"n":%d}`, kind, p, added[p]))
			added[p]++
		}
	}
	var calm atomic.Bool
	w.lake.write = func(_ context.Context, batch []*event.Event) (int, error) {
		r := &event.Refused{At: map[int]error{}}
		for i, e := range batch {
			if strings.Contains(string(e.Body), "refused") {
				r.At[i] = fault.New("fake", fault.Invalid, "I do not like it")
			}
		}
		if len(r.At) > 0 {
			return len(batch), r
		}
		if calm.Load() {
			return len(batch), nil
		}
		switch rand.IntN(4) {
		case 0:
			return rand.IntN(len(batch) + 1), errAway
		case 1:
			pass(time.Duration(rand.IntN(300)) * time.Millisecond)
		}
		return len(batch), nil
	}
	p := telemetry(mapping("check", `root = if this.kind == "poison" { throw("it is poison") } else if this.kind == "gone" { deleted() } else { this }`))
	p.Spec.Batch.Events = 1 + dice.IntN(50)
	set := func() { w.Set([]plan.Bridge{p}) }
	w.start(p)
	dirs, at := []string{w.cfg.Dir, t.TempDir()}, 0
	kills := 0
	for range 15 {
		add(dice.IntN(200))
		pass(time.Duration(dice.IntN(400)) * time.Millisecond)
		switch dice.IntN(8) {
		case 0:
			w.kill()
			kills++
			w.start(p)
		case 1:
			w.stop()
			w.start(p)
		case 2: // the approval is withdrawn, and given again
			e := p.Ends["lake"]
			e.Open = false
			p.Ends = map[string]plan.BridgeEnd{"hub": p.Ends["hub"], "lake": e}
			set()
			if n := w.connections(); n != 0 {
				t.Fatalf("seed %d: %d connections after a revocation", seed, n)
			}
			pass(time.Duration(dice.IntN(2000)) * time.Millisecond)
			e.Open = true
			p.Ends = map[string]plan.BridgeEnd{"hub": p.Ends["hub"], "lake": e}
			set()
		case 3:
			p.Spec.Batch.Events = 1 + dice.IntN(50)
			set()
		case 4: // another process takes over, in the middle of whatever this one does
			if st := w.status(); len(st.Partitions) == partitions && dice.IntN(2) == 0 { // or it knows less, or nothing
				p.Known = st.Partitions
			}
			pass(time.Duration(dice.IntN(300)) * time.Millisecond)
			w.kill()
			at = 1 - at
			w.cfg.Dir = dirs[at]
			p.Assignment++
			w.start(p)
		case 5:
			w.letters.mu.Lock()
			w.letters.full = !w.letters.full
			w.letters.mu.Unlock()
		}
	}
	calm.Store(true)
	w.letters.mu.Lock()
	w.letters.full = false
	w.letters.mu.Unlock()
	total := 0
	for _, n := range added {
		total += n
	}
	w.until("all is done", func() bool {
		done := 0
		for _, x := range w.status().Partitions {
			done += int(x.Next)
		}
		return done == total
	})
	w.stop()
	check(t, seed, w, added)
}

func check(t *testing.T, seed uint64, w *world, added []int) {
	t.Helper()
	seen, last, again := map[string]bool{}, map[string]int64{}, 0
	for i, e := range w.lake.got {
		id := w.lake.names[i]
		if seen[id] {
			again++
			if !e.Repeat {
				t.Errorf("seed %d: a second copy of %s is not marked", seed, id)
			}
			continue
		}
		seen[id] = true
		if before, ok := last[e.Origin.Partition]; ok && e.Origin.Sequence <= before {
			t.Errorf("seed %d: %s comes behind %d", seed, id, before)
		}
		last[e.Origin.Partition] = e.Origin.Sequence
	}
	dead := map[string]bool{}
	for _, d := range w.letters.list() {
		dead[string(d.Event.Body)] = true
		if d.Step != "check" && d.Step != "destination" || !strings.Contains(d.Reason, "poison") && !strings.Contains(d.Reason, "not like") {
			t.Errorf("seed %d: %+v", seed, d)
		}
	}
	for p, n := range added {
		for i := range n {
			body := string(w.hub.parts[p][i].Body)
			sent := seen[fmt.Sprintf("b1/%d/%d", p, i)]
			switch {
			case strings.Contains(body, "gone"):
				if sent || dead[body] {
					t.Errorf("seed %d: %s was to be left out", seed, body)
				}
			case strings.Contains(body, "good"):
				if !sent {
					t.Errorf("seed %d: %s is lost", seed, body)
				}
			case !dead[body] || sent:
				t.Errorf("seed %d: %s: dead %v, sent %v", seed, body, dead[body], sent)
			}
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}
