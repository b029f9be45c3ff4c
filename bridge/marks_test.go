package bridge_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/contract"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// What a bridge before has marked stays marked, whatever steps and the contract leave of the properties.
func TestMarksOfABridgeBeforeStay(t *testing.T) {
	marks := []event.Property{{Name: event.OriginProperty, Value: "u/0/5"}, {Name: event.RepeatProperty, Value: true}}
	for name, c := range map[string]struct {
		steps     []resource.BridgeStep
		otherwise resource.Otherwise
	}{
		"a contract":                     {},
		"a contract that is strict":      {otherwise: resource.OtherwiseDeadLetter},
		"a mapping that leaves nothing":  {steps: []resource.BridgeStep{mapping("bare", "meta = deleted()\nroot = this")}},
		"a mapping that makes it anew":   {steps: []resource.BridgeStep{mapping("anew", "meta = {}\nroot = this")}},
		"a mapping to several":           {steps: []resource.BridgeStep{mapping("two", "meta = deleted()\nroot = [this]")}},
		"both, and the contract refuses": {steps: []resource.BridgeStep{mapping("same", "root = this")}, otherwise: resource.OtherwiseDeadLetter},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				w.cfg.Contract = func(c *plan.Contract) (bridge.Contract, error) { return contract.Compile(c) }
				w.hub.add(0, `{"n":1}`, marks[0])
				w.hub.add(0, `{"n":2}`, event.Property{Name: event.OriginProperty, Value: "u/0/6"}, marks[1])
				p := telemetry(c.steps...)
				p.Contract = &plan.Contract{Name: "ot/telemetry", Version: 1, HashKey: make([]byte, 32), Spec: resource.ContractSpec{
					Messages: []resource.ContractMessage{{Name: "m", Otherwise: c.otherwise, Fields: []resource.ContractField{{Path: "n"}}}},
				}}
				w.start(p)
				defer w.stop()
				w.until("all is done with", func() bool { s := w.status(); return s.Sent+s.Dead == 2 })
				for i, e := range w.lake.events() {
					if e.Repeat != (i == 1) || len(e.Properties) > 0 {
						t.Errorf("event %d: %+v", i, e)
					}
				}
				if got := w.letters.list(); len(got) > 0 {
					t.Errorf("%d dead letters: %s", len(got), got[0].Reason)
				}
			})
		})
	}
}

// Whoever sends to the source can call his events what he likes: what is kept of that is bounded.
func TestIDsOfOthersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		const n = 200
		for i := range n {
			w.hub.add(0, "x", event.Property{Name: event.OriginProperty, Value: strconv.Itoa(i) + strings.Repeat("u", 20_000) + "/0/1"})
		}
		w.start(telemetry())
		w.until("all have crossed", func() bool { return w.status().Sent == n })
		w.stop()
		f, err := os.Stat(filepath.Join(w.cfg.Dir, "bridges", "b1", "checkpoint"))
		if err != nil || f.Size() > 64<<10 {
			t.Errorf("the checkpoint has %d bytes: %v", f.Size(), err)
		}
	})
}

// What a reason quotes of an event is for those who may read the letter.
func TestStatusesQuoteNoEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, text := range []string{"root = this.a.number()", `root = this.a.ts_parse("2006")`, "root.x = this.a.int64()"} {
			w := newWorld(t, 1)
			w.hub.add(0, `{"a":"se\"cr\\et"}`)
			w.start(telemetry(mapping("read", text)))
			w.until("there is a letter", func() bool { return w.status().Dead == 1 })
			if s := w.status().RecentErrors; len(s) != 1 || strings.Contains(s[0].Words, "cr") && strings.Contains(s[0].Words, "et") || !strings.Contains(s[0].Words, "line 1") {
				t.Errorf("%s: %+v", text, s)
			}
			if !strings.Contains(w.letters.list()[0].Reason, "cr") {
				t.Error("the letter says less than is known")
			}
			w.stop()
		}
	})
}
