package eventhubs

import (
	"fmt"
	"testing"
	"time"
)

// TestProperties: what event hubs and partitions say of themselves. The Go SDK takes nothing but Azure's types.
func TestProperties(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			covers(t, "EH11", s.with)
			hub := w.hub(t, 3)
			d := w.driver(t, s)
			for _, kind := range []string{"producer", "consumer"} {
				d.must("open", w.by(t, "TLS", d.sdk, hub), m{"client": kind, "kind": kind})
			}
			for _, c := range []string{"producer", "consumer"} {
				h := d.must("hub", m{"client": c})
				if h.text("name") != hub || fmt.Sprint(h["partitions"]) != "[0 1 2]" || !recent(h.number("created")) || h["replicated"] == true {
					t.Errorf("the event hub is %v", h)
				}
				if p := d.must("partition", m{"client": c, "partition": "2"}); p.text("hub") != hub || p.text("partition") != "2" || p.number("first") != 0 || p.number("last") != -1 ||
					p.text("offset") != "-1" || p.text("offsetType") != "string" || p["empty"] != true || p.number("time") > 0 {
					t.Errorf("an empty partition is %v", p)
				}
			}
			d.must("send", m{"client": "producer", "partition": "2"}, texts("a", "b", "c"))
			d.must("read", m{"client": "consumer", "reader": "r", "partition": "2", "position": m{"earliest": true}})
			last := d.receives("r", "2", 3)[2]
			for _, c := range []string{"producer", "consumer"} {
				if p := d.must("partition", m{"client": c, "partition": "2"}); p.number("first") != 0 || p.number("last") != 2 || p.text("offset") != last.text("offset") || p["empty"] != false ||
					p.number("time") != last.number("time") || !recent(p.number("time")) {
					t.Errorf("a partition with three events is %v, the last event %v", p, last)
				}
				if e := d.fails("partition", m{"client": c, "partition": "9"}); e.text("message") == "" {
					t.Errorf("the error is %v", e)
				}
			}
		})
	}
}

// recent tells whether a time in milliseconds was in the last minutes; on a machine with much to do a test takes some.
func recent(at int64) bool {
	age := time.Since(time.UnixMilli(at))
	return age > -time.Second && age < 10*time.Minute
}
