package eventlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

// appendBatch waits for the answer.
func appendBatch(l interface {
	AppendBatch(eventlog.Batch, func(eventlog.Position, error))
}, b eventlog.Batch,
) (pos eventlog.Position, err error) {
	done := make(chan struct{})
	l.AppendBatch(b, func(p eventlog.Position, e error) { pos, err = p, e; close(done) })
	<-done
	return pos, err
}

func bodies(from, n int) []eventlog.Event {
	evs := make([]eventlog.Event, n)
	for i := range evs {
		evs[i] = body(from + i)
	}
	return evs
}

func TestABatchStandsTogether(t *testing.T) {
	l := open(t, eventlog.Config{Partitions: 4, BatchBytes: 100, BatchEvents: 3}, clock.System{}) // batches larger than a commit's bounds
	at := map[int]int64{}
	for i, n := range []int{1, 2, 500, 10_000} {
		for key, want := range map[string]int{"device-1": int(eventlog.FNV("device-1") % 4), "": i} {
			evs := bodies(i, n)
			pos, err := appendBatch(l, eventlog.Batch{Stream: "hub", Partition: -1, Key: key, Events: evs})
			if err != nil || pos.Partition != want || pos.Sequence != at[want] {
				t.Fatalf("batch of %d with key %q: %+v, %v; want %d/%d", n, key, pos, err, want, at[want])
			}
			for j := range evs { // the log must not keep the caller's bytes
				evs[j].Body[0] = 'x'
			}
			got, err := l.Read(t.Context(), "hub", pos.Partition, pos.Sequence, n)
			if err != nil || len(got) != n || got[0].Offset != pos.Offset {
				t.Fatalf("%d events, %v", len(got), err)
			}
			for j, ev := range got {
				if string(ev.Body) != fmt.Sprint(i+j) || ev.Enqueued != pos.Enqueued || ev.PartitionKey != key {
					t.Fatalf("event %d of batch %d: %+v", j, n, ev)
				}
			}
			at[want] += int64(n)
		}
	}
	pos, err := appendBatch(l, eventlog.Batch{Stream: "hub", Partition: 3, Key: "kept", Events: bodies(0, 5)})
	if err != nil || pos.Partition != 3 || pos.Sequence != at[3] {
		t.Errorf("batch for a partition: %+v, %v", pos, err)
	}
}

func TestBatchesOfASenderAreAnsweredInOrder(t *testing.T) {
	l := open(t, eventlog.Config{Partitions: 1, QueueBytes: 2000, BatchEvents: 7}, clock.System{})
	const n = 300
	answered, last := 0, make(chan struct{})
	for i := range n {
		done := func(pos eventlog.Position, err error) {
			if err != nil || pos.Sequence != int64(answered*3) {
				t.Errorf("answer %d: %+v, %v", answered, pos, err)
			}
			if answered++; answered == n {
				close(last)
			}
		}
		l.AppendBatch(eventlog.Batch{Stream: "hub", Partition: -1, Key: "k", Events: bodies(3*i, 3)}, done)
	}
	<-last
}

func TestBatchesAreBounded(t *testing.T) {
	l := open(t, eventlog.Config{MaxEventBytes: 2 << 20}, clock.System{})
	mustAppend(t, l, "hub", "k", body(0))
	large := func(n, size int) []eventlog.Event {
		evs := make([]eventlog.Event, n)
		for i := range evs {
			evs[i].Body = make([]byte, size)
		}
		return evs
	}
	for name, c := range map[string]struct {
		b    eventlog.Batch
		kind fault.Kind
		say  string
	}{
		"none":            {eventlog.Batch{Stream: "hub", Partition: -1}, fault.Invalid, "one event at least"},
		"too many":        {eventlog.Batch{Stream: "hub", Partition: -1, Events: bodies(0, 10_001)}, fault.TooLarge, "at most 10000 events"},
		"too large":       {eventlog.Batch{Stream: "hub", Partition: -1, Events: large(3, 1500<<10)}, fault.TooLarge, "at most 4.0 MiB; 3 of this one's 3"},
		"event too large": {eventlog.Batch{Stream: "hub", Partition: -1, Events: large(1, 2<<20)}, fault.TooLarge, "an event takes at most"},
		"no name":         {eventlog.Batch{Partition: -1, Events: bodies(0, 1)}, fault.Invalid, "name of a stream"},
		"long key":        {eventlog.Batch{Stream: "hub", Partition: -1, Key: strings.Repeat("k", 300), Events: bodies(0, 1)}, fault.Invalid, "partition key"},
		"no partition":    {eventlog.Batch{Stream: "hub", Partition: 4, Events: bodies(0, 1)}, fault.NotFound, "partitions 0 to 3"},
		"no stream":       {eventlog.Batch{Stream: "other", Partition: 0, Events: bodies(0, 1)}, fault.NotFound, `no stream "other"`},
		"existing":        {eventlog.Batch{Stream: "other", Partition: -1, Existing: true, Events: bodies(0, 1)}, fault.NotFound, `no stream "other"`},
	} {
		if _, err := appendBatch(l, c.b); fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if names := l.Streams(); len(names) != 1 {
		t.Errorf("streams %v", names)
	}
	if _, err := appendBatch(l, eventlog.Batch{Stream: "hub", Partition: 0, Events: large(2, 1500<<10)}); err != nil {
		t.Errorf("a large batch: %v", err)
	}
}

func TestAViewShowsWhatReadCopies(t *testing.T) {
	l := open(t, eventlog.Config{Partitions: 1}, clock.System{})
	for i := range 20 {
		ev := eventlog.Event{Body: bytes.Repeat([]byte{byte(i)}, i), Format: uint8(i), System: map[string]string{"message-id": fmt.Sprint(i)}}
		if i%2 == 0 {
			ev.Properties = map[string]string{"level": "high", "": ""}
		}
		mustAppend(t, l, "hub", fmt.Sprint("k", i), ev)
	}
	want, err := l.Read(t.Context(), "hub", 0, 3, 0)
	if err != nil || len(want) != 17 {
		t.Fatal(len(want), err)
	}
	seen := 0
	err = l.Scan(t.Context(), "hub", 0, 3, 0, func(v *eventlog.View) bool {
		w := want[seen]
		names := 0
		for name, value := range v.Properties {
			if w.Properties[string(name)] != string(value) {
				t.Errorf("property %q is %q", name, value)
			}
			names++
		}
		for name, value := range v.System {
			if string(name) != "message-id" || string(value) != w.System["message-id"] {
				t.Errorf("system property %q is %q", name, value)
			}
			break
		}
		if v.Sequence != w.Sequence || v.Offset != w.Offset || v.Enqueued != w.Enqueued || v.Partition != 0 || v.Format != uint8(seen+3) || v.Format != w.Format ||
			string(v.Key) != w.PartitionKey || !bytes.Equal(v.Body, w.Body) || names != len(w.Properties) {
			t.Errorf("saw %+v, want %+v", v, w)
		}
		seen++
		return true
	})
	if err != nil || seen != len(want) {
		t.Errorf("%d of %d seen, %v", seen, len(want), err)
	}
	for name, c := range map[string]struct {
		from         int64
		limit, stop  int
		first, count int64
	}{
		"a limit":        {0, 5, 100, 0, 5},
		"a stop":         {2, 0, 3, 2, 3},
		"before all":     {-7, 2, 100, 0, 2},
		"the last":       {19, 10, 100, 19, 1},
		"the end":        {20, 10, 100, 0, 0},
		"beyond the end": {900, 10, 100, 0, 0},
	} {
		first, n := int64(0), int64(0)
		err := l.Scan(t.Context(), "hub", 0, c.from, c.limit, func(v *eventlog.View) bool {
			if n == 0 {
				first = v.Sequence
			}
			n++
			return n < int64(c.stop)
		})
		if err != nil || first != c.first || n != c.count {
			t.Errorf("%s: %d from %d, %v", name, n, first, err)
		}
	}
	if err := l.Scan(t.Context(), "other", 0, 0, 0, nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a stream that is not there: %v", err)
	}
}

func TestOffsetsCanBeSought(t *testing.T) {
	l := open(t, eventlog.Config{Partitions: 1}, clock.System{})
	for i := range 10 {
		mustAppend(t, l, "hub", "k", eventlog.Event{Body: make([]byte, i*10)})
	}
	if err := l.Trim("hub", 0, 2); err != nil {
		t.Fatal(err)
	}
	events, err := l.Read(t.Context(), "hub", 0, 0, 0)
	if err != nil || len(events) != 8 {
		t.Fatal(len(events), err)
	}
	for _, ev := range events {
		at, err := l.SeekOffset("hub", 0, ev.Offset)
		next, err2 := l.SeekOffset("hub", 0, ev.Offset+1)
		if err := errors.Join(err, err2); err != nil || at != ev.Sequence || next != ev.Sequence+1 {
			t.Errorf("offset %d is event %d, one more is %d, %v; want %d", ev.Offset, at, next, err, ev.Sequence)
		}
	}
	if at, err := l.SeekOffset("hub", 0, -1); err != nil || at != 2 {
		t.Errorf("the beginning is event %d, %v", at, err)
	}
}
