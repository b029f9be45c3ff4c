package eventhubs

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestProcessors: two processors of a group share the partitions, and what one has checkpointed the other does not see again.
func TestProcessors(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	blobs := blobs(t)
	kinds := map[string][]m{
		js.name:     {{"kind": "processor"}, {}},
		golang.name: {{"kind": "consumer"}, {"update": 200, "expiration": 5000}},
	}
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			covers(t, "EH27", s.with)
			const partitions = 4
			at := m{"container": container(t, blobs)}
			d := w.user(t, s, partitions)
			// join begins one more processor in a program of its own.
			join := func(name string) *driver {
				p := w.driver(t, s)
				p.must("open", w.by(t, "TLS", p.sdk, d.hub), m{"client": name, "identifier": name}, at, kinds[s.name][0])
				p.must("read", m{"client": name, "reader": name, "position": m{"earliest": true}, "checkpoint": true}, at, kinds[s.name][1])
				return p
			}
			owns := func(p *driver, name string, count int) []string {
				t.Helper()
				var out []string
				list, _ := p.must("claimed", m{"reader": name, "count": count})["partitions"].([]any)
				for _, id := range list {
					out = append(out, fmt.Sprint(id))
				}
				if len(out) != count {
					t.Fatalf("%s has %v, want %d", name, out, count)
				}
				return out
			}
			// gets are the next events; that a partition was taken away is no error of a processor's.
			gets := func(p *driver, name string, count int) []answer {
				t.Helper()
				var got []answer
				for end := time.Now().Add(patience); len(got) < count && time.Now().Before(end); {
					got = append(got, p.must("receive", m{"reader": name, "count": count - len(got), "wait": 1000}).events()...)
				}
				if len(got) != count {
					t.Fatalf("%s has %d events, want %d", name, len(got), count)
				}
				return got
			}
			send := func(round string) {
				for p := range partitions {
					d.must("send", m{"client": "p", "partition": fmt.Sprint(p)}, texts(fmt.Sprint(round, p)))
				}
			}
			first := join("first")
			owns(first, "first", partitions)
			send("one ")
			gets(first, "first", partitions)
			second := join("second")
			mine, his := owns(first, "first", 2), owns(second, "second", 2)
			all := slices.Concat(mine, his)
			slices.Sort(all)
			if !slices.Equal(all, []string{"0", "1", "2", "3"}) {
				t.Fatalf("one has %v, the other %v", mine, his)
			}
			send("two ")
			for _, p := range []struct {
				*driver
				name string
				own  []string
			}{{first, "first", mine}, {second, "second", his}} {
				got := gets(p.driver, p.name, 2)
				slices.SortFunc(got, func(a, b answer) int { return int(a.text("partition")[0]) - int(b.text("partition")[0]) })
				wantBodies(t, got, "two "+p.own[0], "two "+p.own[1])
			}
			first.must("stop", m{"reader": "first"})
			owns(second, "second", partitions)
			send("three ")
			got := gets(second, "second", partitions)
			slices.SortFunc(got, func(a, b answer) int { return int(a.text("partition")[0]) - int(b.text("partition")[0]) })
			wantBodies(t, got, "three 0", "three 1", "three 2", "three 3")
			second.must("stop", m{"reader": "second"})
		})
	}
}
