package bridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/contract"
	"github.com/isthmus-io/isthmus/bridge/deadletter"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/files"
	"github.com/isthmus-io/isthmus/bridge/window"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// The parts that processes have, together: events become rows, rows become files, and what cannot be counted is kept and replayed; killed
// in between, nothing is counted twice.
func TestThePartsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		out := t.TempDir()
		w.cfg.Folders = []string{out}
		w.cfg.Window = func(ctx context.Context, a bridge.WindowArgs) (bridge.Window, error) { return window.New(ctx, a) }
		w.cfg.Columns = window.Columns
		w.cfg.Destination = func(ctx context.Context, a bridge.DestinationArgs) (bridge.Destination, error) {
			return files.New(ctx, a)
		}
		w.cfg.Letters = func(a bridge.LettersArgs) (bridge.Letters, error) { return deadletter.Open(a) }
		w.cfg.Contract = func(c *plan.Contract) (bridge.Contract, error) { return contract.Compile(c) }
		p := telemetry(
			mapping("check", `root = if this.t.type() == "number" { this } else { throw("no temperature") }`),
			resource.BridgeStep{Name: "minutes", Window: &resource.Window{
				SizeSeconds: 60, IdleSeconds: 10, GroupBy: []resource.Column{{Name: "device", Value: "@device"}},
				Aggregates: []resource.Aggregate{{Name: "n", Function: resource.AggregateCount}, {Name: "top", Function: resource.AggregateMax, Value: "this.t"}},
			}},
		)
		p.Contract = &plan.Contract{Name: "ot/rows", Version: 1, HashKey: make([]byte, 32), Spec: resource.ContractSpec{
			With: "it", Purpose: "planning", Messages: []resource.ContractMessage{{Name: "row", Fields: []resource.ContractField{
				{Path: "windowStart"}, {Path: "device", Hash: true}, {Path: "n", Type: "number"}, {Path: "top"},
			}}},
		}}
		delete(p.Ends, "lake")
		p.Spec.Destination = resource.BridgeDestination{Disk: &resource.DiskDestination{Folder: out, Files: resource.Files{Path: "{yyyy}/{MM}", MaxSeconds: 5}}}
		w.start(p)
		n := 0
		for minute := range 4 {
			for i := range 30 {
				w.hub.add(i%3, fmt.Sprintf(`{"t":%d}`, i))
				n++
				pass(1800 * time.Millisecond)
				if i == 14 && minute%2 == 1 {
					w.kill()
					w.start(p)
				}
			}
			w.hub.add(0, `{"t":"hot"}`)
			pass(6 * time.Second)
		}
		w.until("all windows are closed", func() bool { return w.status().OpenWindows == 0 && w.status().ClosedWindows >= 12 })
		w.until("all is flushed", func() bool { return w.status().Sent == w.status().ClosedWindows })
		l, ok := w.Letters("b1")
		if !ok || l.Kept() < 4 {
			t.Fatalf("%d letters are kept", l.Kept())
		}
		var replayed int
		_, err := l.(*deadletter.Store).Replay(t.Context(), deadletter.Filter{}, func(ctx context.Context, list []*event.Event) error {
			replayed += len(list)
			return w.Replay(ctx, "b1", list)
		})
		if err != nil || replayed < 4 || l.Kept() == 0 {
			t.Errorf("%d were replayed, %d are kept, %v", replayed, l.Kept(), err)
		}
		w.stop()
		counted, groups := 0, map[string]bool{}
		err = filepath.Walk(out, func(path string, info os.FileInfo, err error) error {
			if err != nil || info.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			for line := range strings.Lines(string(b)) {
				var row map[string]any
				if err := json.Unmarshal([]byte(line), &row); err != nil {
					return fault.Newf("", fault.Invalid, "%s: %q", path, line)
				}
				counted += int(row["n"].(float64))
				groups[fmt.Sprint(row["windowStart"], row["device"])] = true
				if strings.Contains(line, "press") || row["windowEnd"] != nil {
					t.Errorf("%s crossed", line)
				}
			}
			return err
		})
		if err != nil || counted != n || len(groups) < 12 {
			t.Errorf("%d of %d events are counted in %d rows, %v", counted, n, len(groups), err)
		}
	})
}
