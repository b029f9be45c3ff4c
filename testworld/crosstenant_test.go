package testworld_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/testworld"
)

// crossed reads everything that is in the office's event hub.
func crossed(t *testing.T, s *testworld.CrossTenant) []eventlog.Event {
	t.Helper()
	n, ok := s.Store.Namespaces().ByName(testworld.LakeName)
	if !ok {
		return nil
	}
	e, err := n.Entity(t.Context(), "telemetry")
	if err != nil {
		return nil
	}
	var out []eventlog.Event
	for p := range e.Partitions() {
		info, err := e.Info(p)
		if err != nil {
			t.Fatal(err)
		}
		for from := info.First; from < info.Next; {
			err := e.Scan(t.Context(), p, from, 1000, func(v *eventlog.View) bool {
				out = append(out, v.Event())
				from = v.Sequence + 1
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

func until(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func of(p *testworld.Bridge, name string) bridge.Status {
	for _, s := range p.Status() {
		if s.Name == name {
			return s
		}
	}
	return bridge.Status{}
}

// TestCrossTenant is the design of examples/cross-tenant in one process: nothing crosses before both approvals, what crosses is what the
// contract lists, and the aggregates of it are in the blob store.
func TestCrossTenant(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*20*time.Second)
	defer cancel()
	w, err := testworld.Start(ctx, testworld.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := w.CrossTenant(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Device(ctx, "press-4")
	if err != nil {
		t.Fatal(err)
	}
	roots, err := node.TrustFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	d, err := simulate.Dial(ctx, simulate.Config{ConnectionString: text, Roots: roots, Resolver: s.Resolver(s.PlantDNS)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	send := func(from, to int) {
		for i := from; i < to; i++ {
			body := fmt.Sprintf(`{"sensor":"press-4","n":%d,"celsius":%d.25,"at":%q,"operator":"canary"}`, i, 20+i%7, start.Add(time.Duration(i)*time.Second).Format(time.RFC3339))
			if err := d.Send(ctx, []byte(body), map[string]string{"shift": "canary"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(0, 50)
	until(t, "the bridge waits", func() error {
		if st := of(s.OTBridge, testworld.BridgePath); st.State != resource.BridgeWaiting {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	if err := s.Approve(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "it waits for the contract", func() error {
		if st := of(s.OTBridge, testworld.BridgePath); st.State != resource.BridgeWaiting || st.Step != "contract" {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	if n := len(crossed(t, s)); n > 0 {
		t.Fatalf("%d events crossed without a contract", n)
	}
	if err := s.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "all have crossed", func() error {
		if n := len(crossed(t, s)); n < 50 {
			return fmt.Errorf("%d of 50; %+v", n, of(s.OTBridge, testworld.BridgePath))
		}
		return nil
	})
	if err := s.Reject(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "it stops", func() error {
		if st := of(s.OTBridge, testworld.BridgePath); st.State != resource.BridgeWaiting {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	send(50, 100)
	if n := len(crossed(t, s)); n != 50 {
		t.Errorf("%d events are there after the approval was withdrawn", n)
	}
	if err := s.Approve(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "the backlog has crossed", func() error {
		if n := len(crossed(t, s)); n < 100 {
			return fmt.Errorf("%d of 100; %+v", n, of(s.OTBridge, testworld.BridgePath))
		}
		return nil
	})
	origins := map[string]int{}
	for _, e := range crossed(t, s) {
		body, properties, system := amqpevent.Read(e)
		var r map[string]any
		if err := json.Unmarshal(body, &r); err != nil {
			t.Fatal(err)
		}
		if len(r) != 4 || r["machine"] == nil || r["machine"] == "press-4" || strings.Contains(fmt.Sprint(string(e.Body), properties, system, e.PartitionKey), "canary") ||
			strings.Contains(fmt.Sprint(string(e.Body), properties, system, e.PartitionKey), "press-4") {
			t.Fatalf("this has crossed: %s %v %v key %q", body, properties, system, e.PartitionKey)
		}
		origins[properties["isthmus-origin"]]++
		if origins[properties["isthmus-origin"]] > 1 && properties["isthmus-repeat"] != "true" {
			t.Errorf("a second copy of %s is not marked", properties["isthmus-origin"])
		}
	}
	if len(origins) != 100 {
		t.Errorf("%d origins", len(origins))
	}
	until(t, "rows are written", func() error {
		if st := of(s.ITBridge, testworld.AggregatesPath); st.ClosedWindows < 9 {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
}
