package eventhubs_test

import (
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
)

// What one bridge writes another one reads: every type, in order, in the partition of its key.
func TestWhatIsWrittenIsRead(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	w.ns.Create("copies", 4)
	d := w.destination("copies")
	at := time.Date(2026, 11, 22, 10, 0, 0, 123e6, time.UTC)
	rich := &event.Event{
		Origin: event.Origin{Partition: "3", Sequence: 41, Index: 1}, Body: []byte(`{"t":21.5}`), Key: "press-4", Repeat: true,
		Properties: []event.Property{
			{Name: "text", Value: "välue"}, {Name: "int", Value: int64(-7)}, {Name: "big", Value: int64(1) << 40}, {Name: "unsigned", Value: uint64(1) << 63},
			{Name: "float", Value: 21.5}, {Name: "yes", Value: true}, {Name: "no", Value: false}, {Name: "bytes", Value: []byte{0, 255}},
			{Name: "time", Value: at}, {Name: "null", Value: nil}, {Name: event.OriginProperty, Value: "another/0/1"},
		},
		System: []event.Property{
			{Name: event.DeviceID, Value: "press-4"}, {Name: event.ContentType, Value: "application/json"}, {Name: event.MessageID, Value: "m-1"},
			{Name: event.UserID, Value: "u"}, {Name: "creation-time", Value: at}, {Name: "iothub-enqueuedtime", Value: at},
			{Name: "x-opt-sequence-number", Value: int64(99)}, {Name: "group-sequence", Value: int64(3)},
		},
	}
	batch := append([]*event.Event{rich}, events(500, func(i int) string { return "device-" + strconv.Itoa(i%7) })...)
	if err := d.Write(t.Context(), "3", batch); err != nil {
		t.Fatal(err)
	}
	got := w.everything("copies", 4, len(batch))
	home := strconv.Itoa(int(eventlog.Lookup3("press-4") % 4))
	var found *event.Event
	for p, list := range got {
		last := map[string]int64{}
		for _, e := range list {
			if want := strconv.Itoa(int(eventlog.Lookup3(e.Key) % 4)); p != want || e.Origin.Partition != p || time.Since(e.Origin.Enqueued) > time.Minute {
				t.Errorf("%s of key %s is in partition %s, want %s", e.Body, e.Key, p, want)
			}
			_, o, ok := event.ParseID(event.Text(e.Properties, event.OriginProperty))
			if !ok {
				t.Fatalf("%s has the properties %v", e.Body, e.Properties)
			}
			if o.Index == 1 {
				found = e
				continue
			}
			if before, ok := last[e.Key]; ok && o.Sequence <= before {
				t.Errorf("event %d of %s comes after event %d", o.Sequence, e.Key, before)
			}
			last[e.Key] = o.Sequence
			if v, ok := event.Get(e.Properties, event.RepeatProperty); ok {
				t.Errorf("%s is marked as repeated: %v", e.Body, v)
			}
		}
	}
	if found == nil || found.Origin.Partition != home || string(found.Body) != string(rich.Body) || found.Key != rich.Key || found.Device() != "press-4" {
		t.Fatalf("%+v", found)
	}
	want := append(rich.Properties[:10:10], event.Property{Name: event.OriginProperty, Value: "b1/3/41/1"}, event.Property{Name: event.RepeatProperty, Value: true})
	if !reflect.DeepEqual(found.Properties, want) {
		t.Errorf("properties\n got %v\nwant %v", found.Properties, want)
	}
	system := map[string]any{}
	for _, p := range found.System {
		system[p.Name] = p.Value
	}
	if want := map[string]any{
		event.DeviceID: "press-4", event.ContentType: "application/json", event.MessageID: "m-1", event.UserID: "u", "creation-time": at,
		"iothub-enqueuedtime": at, "group-sequence": int64(3),
	}; !reflect.DeepEqual(system, want) {
		t.Errorf("system\n got %v\nwant %v", system, want)
	}
}

// Events without a key stay in the order of their lane, and keep having none beside others that have one.
func TestEventsWithoutAKey(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	w.ns.Create("copies", 4)
	d := w.destination("copies")
	if err := d.Write(t.Context(), "6", events(50, func(i int) string {
		if i%10 == 9 {
			return "pk1" // whose hash is 13741, in partition 1
		}
		return ""
	})); err != nil {
		t.Fatal(err)
	}
	got := w.everything("copies", 4, 50)
	if len(got["2"]) != 45 || len(got["1"]) != 5 {
		t.Errorf("%d events are in the lane's partition, %d in the key's", len(got["2"]), len(got["1"]))
	}
	for i, e := range got["2"] {
		if e.Key != "" || i > 0 && string(e.Body) == string(got["2"][i-1].Body) {
			t.Errorf("%s has the key %q", e.Body, e.Key)
		}
	}
	if err := d.Write(t.Context(), "lane", events(1, func(int) string { return "" })); err != nil {
		t.Error(err)
	}
}

func TestPositions(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	e := w.ns.Create("telemetry", 2)
	w.ns.Append(e, 0, "a", "b", "c")
	s := w.source("telemetry")
	list, err := s.Partitions(t.Context())
	if err != nil || !reflect.DeepEqual(list, []string{"0", "1"}) {
		t.Errorf("%v, %v", list, err)
	}
	r := w.read(s, "0", bridge.Earliest(), 1)
	all := w.next(r, 3)
	second := all[1].Origin.Enqueued
	_ = r.Close()
	for name, x := range map[string]struct {
		from  bridge.Position
		first string
	}{
		"earliest": {bridge.Earliest(), "a"},
		"0":        {bridge.At(0), "a"},
		"1":        {bridge.At(1), "b"},
		"2":        {bridge.At(2), "c"},
		"its end":  {bridge.At(3), "d"},
		"a time":   {bridge.Position{Sequence: -1, Time: all[0].Origin.Enqueued.Add(-time.Hour)}, "a"},
		"latest":   {bridge.Position{Sequence: -1, Latest: true}, "d"},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.read(s, "0", x.from, 1)
			defer func() { _ = r.Close() }()
			if next, last := r.End(); next != 3 || last.Before(second) {
				t.Errorf("ends at %d, %v", next, last)
			}
			if x.first == "d" {
				return
			}
			if got := w.next(r, 1)[0]; string(got.Body) != x.first {
				t.Errorf("begins with %s", got.Body)
			}
		})
	}
	empty := w.read(s, "1", bridge.Earliest(), 1)
	if next, last := empty.End(); next != 0 || !last.IsZero() {
		t.Errorf("an empty partition ends at %d, %v", next, last)
	}
	latest := w.read(s, "0", bridge.Position{Sequence: -1, Latest: true}, 1)
	w.ns.Append(e, 0, "d")
	if got := w.next(latest, 1)[0]; string(got.Body) != "d" || got.Origin.Sequence != 3 {
		t.Errorf("%s, %+v", got.Body, got.Origin)
	}
	if next, _ := latest.End(); next != 4 {
		t.Errorf("ends at %d", next)
	}
}
