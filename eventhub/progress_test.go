package eventhub_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
)

func TestGroups(t *testing.T) {
	w, ctx := start(t), t.Context()
	e := w.Create("telemetry", 1)
	g, err := w.Namespace.CreateGroup(ctx, "Telemetry", "Alerts")
	if err != nil || g.Name != "Alerts" || g.Created.IsZero() {
		t.Fatalf("%+v, %v", g, err)
	}
	for name, want := range map[string]string{"$default": "$Default", "ALERTS": "Alerts"} {
		if got, err := e.Group(ctx, name); err != nil || got != want {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
	_, err = e.Group(ctx, "nobody")
	refused(t, err, fault.NotFound, "a group that is not there")
	for name, kind := range map[string]fault.Kind{"alerts": fault.Conflict, "$DEFAULT": fault.Conflict, "": fault.Invalid, "$other": fault.Invalid, strings.Repeat("x", 51): fault.Invalid} {
		_, err := w.Namespace.CreateGroup(ctx, "telemetry", name)
		refused(t, err, kind, name)
	}
	_, err = w.Namespace.CreateGroup(ctx, "nothing", "x")
	refused(t, err, fault.NotFound, "an event hub that is not there")
	for i := range eventhub.MaxGroups - 1 {
		_, err := w.Namespace.CreateGroup(ctx, "telemetry", fmt.Sprint("g", i))
		must(t, err)
	}
	_, err = w.Namespace.CreateGroup(ctx, "telemetry", "more")
	refused(t, err, fault.Exhausted, "one more")
	if list, err := w.Namespace.Groups("telemetry"); err != nil || len(list) != eventhub.MaxGroups+1 || list[0].Name != "$Default" || list[1].Name != "Alerts" {
		t.Errorf("%v, %v", list, err)
	}
	refused(t, w.Namespace.DeleteGroup(ctx, "telemetry", "$default"), fault.Conflict, "the default group")
	must(t, w.Namespace.DeleteGroup(ctx, "telemetry", "ALERTS"))
	refused(t, w.Namespace.DeleteGroup(ctx, "telemetry", "alerts"), fault.NotFound, "a group that is gone")
}

func TestCheckpoints(t *testing.T) {
	w, ctx := start(t), t.Context()
	e := w.Create("telemetry", 2)
	w.Append(e, 1, "a", "b", "c")
	if list, err := w.Namespace.Checkpoints(ctx, "telemetry", "$default"); err != nil || len(list) != 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	c, err := w.Namespace.SetCheckpoint(ctx, "Telemetry", "$DEFAULT", eventhub.Checkpoint{Partition: 1, Sequence: 1, Owner: "me"}, "")
	if err != nil || c.Waiting != 1 || c.ETag == "" || c.Owner != "me" || c.Updated.IsZero() {
		t.Fatalf("%+v, %v", c, err)
	}
	if seq, err := seekAfter(e, c.Offset); err != nil || seq != 2 {
		t.Errorf("after offset %s comes %d, %v", c.Offset, seq, err)
	}
	list, err := w.Namespace.Checkpoints(ctx, "telemetry", "$Default")
	if err != nil || len(list) != 1 || list[0] != c {
		t.Errorf("%+v, %v", list, err)
	}
	next, err := w.Namespace.SetCheckpoint(ctx, "telemetry", "$Default", eventhub.Checkpoint{Partition: 1, Sequence: 0, Offset: "as it says"}, c.ETag)
	if err != nil || next.Offset != "as it says" || next.ETag == c.ETag || next.Waiting != 2 {
		t.Errorf("%+v, %v", next, err)
	}
	_, err = w.Namespace.SetCheckpoint(ctx, "telemetry", "$Default", eventhub.Checkpoint{Partition: 1, Sequence: 2}, c.ETag)
	refused(t, err, fault.Precondition, "an etag that is gone")
	c, err = w.Namespace.SetCheckpoint(ctx, "telemetry", "$Default", eventhub.Checkpoint{Partition: 1, Sequence: -1}, "")
	if err != nil || c.Offset != "-1" || c.Waiting != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	for what, bad := range map[string]eventhub.Checkpoint{
		"an event that is not there yet": {Partition: 1, Sequence: 3}, "nothing": {Partition: 1, Sequence: -2}, "a long name": {Partition: 1, Owner: strings.Repeat("x", 257)},
	} {
		_, err = w.Namespace.SetCheckpoint(ctx, "telemetry", "$Default", bad, "")
		refused(t, err, fault.Invalid, what)
	}
	_, err = w.Namespace.SetCheckpoint(ctx, "telemetry", "$Default", eventhub.Checkpoint{Partition: 2}, "")
	refused(t, err, fault.NotFound, "a partition that is not there")
	_, err = w.Namespace.SetCheckpoint(ctx, "telemetry", "nobody", eventhub.Checkpoint{}, "")
	refused(t, err, fault.NotFound, "a group that is not there")
}

// seekAfter is what a reader does that begins after an offset.
func seekAfter(e eventhub.Entity, offset string) (int64, error) {
	var n int64
	if _, err := fmt.Sscan(offset, &n); err != nil {
		return 0, err
	}
	return e.SeekOffset(1, n+1)
}

// Whoever begins at the offset of a checkpoint gets the event it says is next, also when the one before has been trimmed.
func TestCheckpointsOfWhatWasTrimmed(t *testing.T) {
	w, ctx := start(t), t.Context()
	e := w.Create("telemetry", 2)
	w.Append(e, 1, "a", "b", "c", "d", "e")
	stream := w.Events.Streams()[0]
	for _, trimmed := range []int64{0, 3, 5} {
		must(t, w.Events.Trim(stream, 1, trimmed))
		for seq := int64(-1); seq < 5; seq++ {
			c, err := w.Namespace.SetCheckpoint(ctx, "telemetry", "$Default", eventhub.Checkpoint{Partition: 1, Sequence: seq}, "")
			must(t, err)
			want := max(seq+1, trimmed)
			if got, err := seekAfter(e, c.Offset); err != nil || got != want || c.Waiting != 5-want {
				t.Errorf("trimmed to %d, checkpoint %d: offset %s leads to %d, want %d; %d wait; %v", trimmed, seq, c.Offset, got, want, c.Waiting, err)
			}
		}
	}
}

func TestOwnerships(t *testing.T) {
	w, ctx := start(t), t.Context()
	w.Create("telemetry", 2)
	o, err := w.Namespace.ClaimOwnership(ctx, "telemetry", "$default", 1, "one", "")
	if err != nil || o.Owner != "one" || o.ETag == "" || o.Partition != 1 || o.Modified.IsZero() {
		t.Fatalf("%+v, %v", o, err)
	}
	_, err = w.Namespace.ClaimOwnership(ctx, "telemetry", "$Default", 1, "two", "")
	refused(t, err, fault.Precondition, "a partition that has an owner")
	_, err = w.Namespace.ClaimOwnership(ctx, "telemetry", "$Default", 1, "two", "else")
	refused(t, err, fault.Precondition, "an etag that is none")
	next, err := w.Namespace.ClaimOwnership(ctx, "telemetry", "$Default", 1, "two", o.ETag)
	if err != nil || next.Owner != "two" || next.ETag == o.ETag {
		t.Errorf("%+v, %v", next, err)
	}
	_, err = w.Namespace.ClaimOwnership(ctx, "telemetry", "$Default", 1, "one", o.ETag)
	refused(t, err, fault.Precondition, "an etag that was")
	if list, err := w.Namespace.Ownerships(ctx, "TELEMETRY", "$DEFAULT"); err != nil || len(list) != 1 || list[0] != next {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = w.Namespace.ClaimOwnership(ctx, "telemetry", "$Default", 2, "one", "")
	refused(t, err, fault.NotFound, "a partition that is not there")
	_, err = w.Namespace.ClaimOwnership(ctx, "telemetry", "$Default", 0, strings.Repeat("x", 257), "")
	refused(t, err, fault.Invalid, "a long name")

	// What a group had goes with it, and so does what an event hub had.
	_, err = w.Namespace.CreateGroup(ctx, "telemetry", "g")
	must(t, err)
	for range 2 {
		_, err = w.Namespace.ClaimOwnership(ctx, "telemetry", "g", 0, "one", "")
		must(t, err)
		_, err = w.Namespace.SetCheckpoint(ctx, "telemetry", "g", eventhub.Checkpoint{Sequence: -1}, "")
		must(t, err)
		must(t, w.Namespace.DeleteGroup(ctx, "telemetry", "g"))
		_, err = w.Namespace.CreateGroup(ctx, "telemetry", "g")
		must(t, err)
		if list, err := w.Namespace.Checkpoints(ctx, "telemetry", "g"); err != nil || len(list) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
	}
	must(t, w.Namespace.DeleteEventHub(ctx, "telemetry"))
	w.Create("telemetry", 2)
	if list, err := w.Namespace.Ownerships(ctx, "telemetry", "$Default"); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// Many claim at once; one gets it.
func TestClaimsRace(t *testing.T) {
	w, ctx := start(t), t.Context()
	w.Create("telemetry", 1)
	etag := ""
	for range 5 {
		var won atomic.Int32
		var next atomic.Value
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				o, err := w.Namespace.ClaimOwnership(ctx, "telemetry", "$Default", 0, fmt.Sprint(i), etag)
				if err == nil {
					won.Add(1)
					next.Store(o.ETag)
				} else if fault.KindOf(err) != fault.Precondition {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d won", won.Load())
		}
		etag, _ = next.Load().(string)
	}
}
