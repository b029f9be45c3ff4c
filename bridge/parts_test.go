package bridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// shelf is a destination that takes in, and counts when it is flushed.
type shelf struct {
	mu      sync.Mutex
	held    map[string][]*event.Event
	since   map[string]time.Time
	done    []string
	flushes int
	fail    bool
}

func (f *shelf) Close() error { return nil }

func (f *shelf) Write(_ context.Context, lane string, batch []*event.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &event.Refused{At: map[int]error{}}
	for i, e := range batch {
		if strings.Contains(string(e.Body), "refused") {
			r.At[i] = fault.New("", fault.Invalid, "no row")
			continue
		}
		if len(f.held[lane]) == 0 {
			f.since[lane] = time.Now()
		}
		f.held[lane] = append(f.held[lane], e)
	}
	if len(r.At) > 0 {
		return r
	}
	return nil
}

func (f *shelf) Due(lane string) (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.held[lane]) >= 50 {
		return time.Time{}, true
	}
	return f.since[lane].Add(time.Minute), len(f.held[lane]) > 0
}

func (f *shelf) Flush(_ context.Context, lane string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail {
		return errAway
	}
	for _, e := range f.held[lane] {
		f.done = append(f.done, string(e.Body))
	}
	f.flushes++
	delete(f.held, lane)
	return nil
}

func (f *shelf) Drop(lane string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.held, lane)
}

// What was taken in and not flushed is not done with: a process that ends before reads it again.
func TestOnlyWhatIsFlushedCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		f := &shelf{held: map[string][]*event.Event{}, since: map[string]time.Time{}}
		w.cfg.Destination = func(context.Context, bridge.DestinationArgs) (bridge.Destination, error) { return f, nil }
		for i := range 70 {
			w.hub.add(0, fmt.Sprint(i))
		}
		w.hub.add(0, "refused")
		p := telemetry()
		p.Spec.Batch.Events = 20
		w.start(p)
		w.until("the first file is there", func() bool { return w.status().Sent == 60 })
		if s := w.status(); s.Partitions[0].Next != 60 || s.Dead != 0 {
			t.Errorf("%+v", s.BridgeStatus)
		}
		pass(30 * time.Second)
		w.stop()
		f.fail = true
		w.start(p)
		w.until("it waits", func() bool { return w.status().Step == bridge.AtDestination })
		if s := w.status(); s.Partitions[0].Next != 60 || len(f.done) != 60 {
			t.Errorf("%+v", s.BridgeStatus)
		}
		f.mu.Lock()
		f.fail = false
		f.mu.Unlock()
		w.until("the second one is there", func() bool { return w.status().Partitions[0].Next == 71 })
		w.stop()
		want := make([]string, 70)
		for i := range want {
			want[i] = fmt.Sprint(i)
		}
		if !slices.Equal(f.done, want) || f.flushes != 2 || w.letters.Kept() < 1 {
			t.Errorf("%d files with %q, %d letters", f.flushes, f.done, w.letters.Kept())
		}
	})
}

// counter is a window that closes each group of ten numbers once all partitions have passed it, and gives their count.
type counter struct {
	state counterState
}

type counterState struct {
	At     map[string]int `json:"at"`
	Groups map[int]int    `json:"groups"`
	Rows   []string       `json:"rows"`
	N      int64          `json:"n"`
}

func (c *counter) Add(lane string, batch []*event.Event) error {
	r := &event.Refused{At: map[int]error{}}
	for i, e := range batch {
		var body struct{ N int }
		if err := json.Unmarshal(e.Body, &body); err != nil {
			r.At[i] = fault.New("", fault.Invalid, "no number")
			continue
		}
		c.state.Groups[body.N/10]++
		c.state.At[lane] = max(c.state.At[lane], body.N)
	}
	least := 1 << 30
	for _, n := range c.state.At {
		least = min(least, n)
	}
	for g := 0; g < least/10; g++ {
		if n, ok := c.state.Groups[g]; ok {
			// Chance stands for what decides about a row and is not the same after a crash.
			c.state.Rows = append(c.state.Rows, fmt.Sprintf("%d: %d by %d", g, n, rand.Int()))
			c.state.N++
			delete(c.state.Groups, g)
		}
	}
	if len(r.At) > 0 {
		return r
	}
	return nil
}

func (c *counter) Idle(string, time.Time) {}
func (c *counter) Close() error           { return nil }
func (c *counter) Forget(n int)           { c.state.Rows = c.state.Rows[n:] }

func (c *counter) Closed(skip, limit int) (out []*event.Event) {
	for i := skip; i < min(len(c.state.Rows), skip+limit); i++ {
		g, _, _ := strings.Cut(c.state.Rows[i], ":")
		out = append(out, &event.Event{Origin: event.Origin{Name: "window/" + g + "/x/y"}, Body: []byte(c.state.Rows[i])})
	}
	return out
}

func (c *counter) Snapshot() ([]byte, error) { return json.Marshal(c.state) }

func (c *counter) Counts() bridge.WindowCounts {
	return bridge.WindowCounts{Open: int64(len(c.state.Groups)), Closed: c.state.N}
}

// Each row is exact and the same however often it is sent, whatever happens to the process meanwhile.
func TestRowsAreExact(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 3))
			w := newWorld(t, 2)
			w.cfg.Window = func(_ context.Context, args bridge.WindowArgs) (bridge.Window, error) {
				c := &counter{counterState{At: map[string]int{}, Groups: map[int]int{}}}
				for _, l := range args.Lanes {
					c.state.At[l] = 0
				}
				if args.State == nil {
					return c, nil
				}
				return c, json.Unmarshal(args.State, &c.state)
			}
			w.lake.write = func(_ context.Context, batch []*event.Event) (int, error) {
				file, err := os.ReadFile(filepath.Join(w.cfg.Dir, "bridges", "b1", "checkpoint"))
				for _, e := range batch { // what is sent stays as it is, since it is on the disk
					if row := strings.TrimPrefix(string(e.Body), "row "); err != nil || !strings.Contains(string(file), row) {
						t.Errorf("seed %d: %s is sent and not written down, %v", seed, row, err)
					}
				}
				if rand.IntN(3) == 0 {
					return rand.IntN(len(batch) + 1), errAway
				}
				return len(batch), nil
			}
			p := telemetry(
				resource.BridgeStep{Name: "even", Filter: "this.n % 2 == 0"},
				resource.BridgeStep{Name: "count", Window: &resource.Window{SizeSeconds: 60}},
				mapping("row", `root = "row " + content().string()`),
			)
			p.Spec.Batch.Events = 7
			w.start(p)
			next := 0
			for range 8 {
				for range 40 {
					w.hub.add(0, fmt.Sprintf(`{"n":%d}`, next))
					w.hub.add(1, fmt.Sprintf(`{"n":%d}`, next))
					next++
				}
				w.hub.add(0, `{"n":"x"}`)
				pass(time.Duration(dice.IntN(3000)) * time.Millisecond)
				if dice.IntN(2) == 0 {
					w.kill()
					w.start(p)
				}
			}
			last := fmt.Sprintf("row %d: 10 ", next/10-2)
			w.until(last, func() bool {
				return slices.ContainsFunc(w.lake.bodies(), func(b string) bool { return strings.HasPrefix(b, last) })
			})
			w.until("all is read", func() bool { s := w.status(); return len(s.Partitions) == 2 && s.Lag == 0 && s.OpenWindows == 1 })
			if s := w.status(); s.OpenWindows != 1 || s.ClosedWindows != int64(next/10-1) || s.Dead < 8 {
				t.Errorf("seed %d: %+v", seed, s.BridgeStatus)
			}
			w.stop()
			seen := map[string]string{}
			for i, e := range w.lake.got {
				id := w.lake.names[i]
				if before, again := seen[id]; again && (before != string(e.Body) || !e.Repeat) {
					t.Errorf("seed %d: %s was %q and is %q, marked %v", seed, id, before, e.Body, e.Repeat)
				}
				seen[id] = string(e.Body)
			}
			for g := range next/10 - 1 {
				if got := seen[fmt.Sprintf("b1/window/%d/x/y", g)]; !strings.HasPrefix(got, fmt.Sprintf("row %d: 10 ", g)) {
					t.Errorf("seed %d: group %d is %q", seed, g, got)
				}
			}
		})
	}
}
