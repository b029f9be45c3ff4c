package eventhubs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestBatches: a batch becomes its events.
func TestBatches(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	for _, s := range both {
		for _, size := range []int{1, 2, 500} {
			t.Run(fmt.Sprintf("%s, %d", s.name, size), func(t *testing.T) {
				t.Parallel()
				covers(t, "EH13", s.with)
				d := w.user(t, s, 1)
				want := append(numbered("first ", size), numbered("second ", size)...)
				d.must("send", m{"client": "p", "partition": "0"}, texts(want[:size]...))
				d.must("send", m{"client": "p", "partition": "0"}, texts(want[size:]...))
				d.read("r", "0", m{"position": m{"earliest": true}})
				got := d.receives("r", "0", 2*size)
				wantBodies(t, got, want...)
				for i, e := range got {
					if e.number("sequence") != int64(i) || e.text("offsetType") != "string" || !recent(e.number("time")) {
						t.Fatalf("event %d is %v", i, e)
					}
					if i > 0 && offset(t, e) <= offset(t, got[i-1]) {
						t.Fatalf("offset %s comes after %s", e.text("offset"), got[i-1].text("offset"))
					}
				}
			})
		}
	}
}

// offset is an event's; older SDKs read numbers.
func offset(t *testing.T, e answer) int64 {
	t.Helper()
	n, err := strconv.ParseInt(e.text("offset"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLarge: the largest events pass, in frames of any size, and what is too large is refused.
func TestLarge(t *testing.T) {
	t.Parallel()
	for _, frame := range []uint32{65536, 8192} {
		w := start(t, options{frame: frame})
		for _, s := range both {
			t.Run(fmt.Sprintf("%s, frames of %d", s.name, frame), func(t *testing.T) {
				t.Parallel()
				covers(t, "EH14", s.with)
				d := w.user(t, s, 1)
				body := strings.Repeat("0123456789abcdef", 65000) // 1,040,000 bytes
				d.must("send", m{"client": "p", "partition": "0"}, texts(body))
				d.read("r", "0", m{"position": m{"earliest": true}})
				if got := d.receives("r", "0", 1)[0]; got.text("body") != body {
					t.Errorf("an event of %d bytes came", len(got.text("body")))
				}
				if s.name != js.name { // the Go SDK looks at sizes itself
					return
				}
				e := d.fails("send", m{"client": "p", "partition": "0", "unchecked": true}, texts(body+body))
				if e.text("code") != "MessageTooLargeError" {
					t.Errorf("2 MB: %v", e)
				}
				d.must("send", m{"client": "p", "partition": "0"}, texts("and the link is as good as before"))
				if last := d.must("partition", m{"client": "p", "partition": "0"}).number("last"); last != 1 {
					t.Errorf("the last event is %d", last)
				}
			})
		}
	}
}

// TestKeys: which partition an event comes to. The values of the hash are those the SDK of Node.js publishes.
func TestKeys(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	hashes := map[string]int{"a": -16220, "pk1": 13741, "device-1": 26788, "abcdefghijklm": -31855}
	const partitions = 5
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			covers(t, "EH16", s.with)
			d := w.user(t, s, partitions)
			for key, hash := range hashes {
				at := strconv.Itoa(max(hash, -hash) % partitions)
				before := d.must("partition", m{"client": "p", "partition": at}).number("last")
				d.must("send", m{"client": "p", "key": key}, texts("one", "two"))
				d.read(key, at, m{"position": m{"sequence": before}})
				got := d.receives(key, at, 2)
				wantBodies(t, got, "one", "two")
				for _, e := range got {
					if e["key"] != key {
						t.Errorf("the key that comes back is %v, want %q", e["key"], key)
					}
				}
			}
			used := 0
			before := lasts(d.driver, partitions)
			for range 2 * partitions {
				d.must("send", m{"client": "p"}, texts("anywhere"))
			}
			for i, last := range lasts(d.driver, partitions) {
				if last > before[i] {
					used++
				}
			}
			if used != partitions {
				t.Errorf("%d sends to no partition in particular came to %d of %d", 2*partitions, used, partitions)
			}
			d.read("none", "0", m{"position": m{"sequence": before[0]}})
			if e := d.receives("none", "0", 1)[0]; e["key"] != nil {
				t.Errorf("an event without a key has %v", e["key"])
			}
		})
	}
	t.Run("buffered producer", func(t *testing.T) { // which chooses the partition itself
		t.Parallel()
		covers(t, "EH16", js.with)
		d := w.user(t, js, partitions)
		d.must("open", d.by("TLS"), m{"client": "b", "kind": "buffered"})
		for key := range hashes {
			d.must("enqueue", m{"client": "b", "key": key}, texts(key))
			d.must("send", m{"client": "p", "key": key}, texts(key))
		}
		if a := d.must("flush", m{"client": "b"}); a.number("sent") != int64(len(hashes)) || len(a.errs()) > 0 {
			t.Fatalf("flushed: %v", a)
		}
		for p, last := range lasts(d.driver, partitions) {
			var keys []string // of events as their bodies, as those of the client's choice carry none
			reader := fmt.Sprint("all of ", p)
			d.read(reader, fmt.Sprint(p), m{"position": m{"earliest": true}})
			for _, e := range d.receives(reader, fmt.Sprint(p), int(last)+1) {
				keys = append(keys, e.text("body"))
			}
			slices.Sort(keys)
			for i := 0; i < len(keys); i += 2 { // each key twice, once from each
				if keys[i] != keys[i+1] {
					t.Fatalf("partition %d has %v", p, keys)
				}
			}
		}
	})
}

// lasts are the last sequence numbers of all partitions.
func lasts(d *driver, partitions int) []int64 {
	d.t.Helper()
	var out []int64
	for p := range partitions {
		out = append(out, d.must("partition", m{"client": "p", "partition": fmt.Sprint(p)}).number("last"))
	}
	return out
}

// TestMany: there is always credit for 10,000 sends, some at once.
func TestMany(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	const count = 10000
	for _, s := range both {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			covers(t, "EH12", s.with)
			d := w.user(t, s, 1)
			for range 10 {
				a := d.must("pour", m{"client": "p", "partition": "0", "count": count / 10, "size": 64, "atOnce": 50})
				if a.number("acknowledged") != count/10 {
					t.Errorf("%d were acknowledged", a.number("acknowledged"))
				}
			}
			if last := d.must("partition", m{"client": "p", "partition": "0"}).number("last"); last != count-1 {
				t.Errorf("the last event is %d", last)
			}
			d.read("r", "0", m{"position": m{"earliest": true}, "brief": true})
			for i, e := range d.receives("r", "0", count, m{"brief": true}) {
				if e.number("sequence") != int64(i) {
					t.Fatalf("event %d is %v", i, e)
				}
			}
		})
	}
}

// TestIdempotent: the buffered producer gets its ids, and goes on with its sequence.
func TestIdempotent(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	covers(t, "EH23", js.with)
	d := w.user(t, js, 2)
	d.must("open", d.by("TLS"), m{"client": "b", "kind": "buffered", "idempotent": true})
	const rounds, each = 5, 40
	for i := range rounds {
		d.must("enqueue", m{"client": "b", "partition": "0"}, texts(numbered(fmt.Sprint("round ", i, " "), each)...))
		d.must("flush", m{"client": "b"})
	}
	if a := d.must("flush", m{"client": "b"}); a.number("sent") != rounds*each || len(a.errs()) > 0 {
		t.Fatalf("flushed: %v", a)
	}
	d.read("r", "0", m{"position": m{"earliest": true}})
	var want []string
	for i := range rounds {
		want = append(want, numbered(fmt.Sprint("round ", i, " "), each)...)
	}
	got := d.receives("r", "0", rounds*each)
	wantBodies(t, got, want...)
	for name := range got[0].at("annotations").(m) {
		if strings.HasPrefix(name, "com.microsoft:producer") {
			t.Errorf("a reader sees %s", name)
		}
	}
}
