package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

func TestAStreamKeepsItsOptions(t *testing.T) {
	cfg := eventlog.Config{Dir: "log", FS: vfs.NewMem(), Partitions: 3}
	l := open(t, cfg, clock.System{})
	want := map[string]eventlog.StreamOptions{
		"plain":  {Partitions: 3, Hash: "fnv"},
		"eh":     {Partitions: 5, Hash: "lookup3", Retention: eventlog.Retention{Age: time.Hour, Bytes: 1 << 30}},
		"forall": {Partitions: 1, Hash: "fnv", Retention: eventlog.Retention{Age: -1}},
		"late":   {Partitions: 2, Hash: "lookup3"},
	}
	for name, o := range want {
		for range 2 {
			if err := l.CreateStream(t.Context(), name, o); err != nil {
				t.Fatal(err)
			}
		}
	}
	late := want["late"]
	late.Retention = eventlog.Retention{Bytes: 77}
	want["late"] = late
	if err := l.SetRetention(t.Context(), "late", late.Retention); err != nil {
		t.Fatal(err)
	}
	if err := l.CreateStream(t.Context(), "late", eventlog.StreamOptions{Partitions: 2, Hash: "lookup3"}); err != nil { // leaves it as it is
		t.Fatal(err)
	}
	for range 2 {
		for name, o := range want {
			if got, err := l.Options(name); err != nil || got != o {
				t.Errorf("%s: %+v, %v, want %+v", name, got, err, o)
			}
		}
		for i := range 50 {
			key := fmt.Sprint("device-", i)
			if pos := mustAppend(t, l, "eh", key, body(i)); pos.Partition != int(eventlog.Lookup3(key)%5) {
				t.Fatalf("%s is in %d", key, pos.Partition)
			}
			if pos := mustAppend(t, l, "plain", key, body(i)); pos.Partition != int(eventlog.FNV(key)%3) {
				t.Fatalf("%s is in %d", key, pos.Partition)
			}
		}
		l.end(t)
		l = open(t, cfg, clock.System{})
	}
	for name, c := range map[string]struct {
		err  error
		kind fault.Kind
		say  string
	}{
		"another hash":      {l.CreateStream(t.Context(), "eh", eventlog.StreamOptions{Partitions: 5}), fault.Conflict, "has the hash lookup3"},
		"other partitions":  {l.CreateStream(t.Context(), "eh", eventlog.StreamOptions{Partitions: 6, Hash: "lookup3"}), fault.Conflict, "has 5 partitions"},
		"unknown hash":      {l.CreateStream(t.Context(), "new", eventlog.StreamOptions{Hash: "md5"}), fault.Invalid, `not "md5"`},
		"no such to keep":   {l.SetRetention(t.Context(), "new", eventlog.Retention{}), fault.NotFound, `"new"`},
		"no such to delete": {l.DeleteStream(t.Context(), "new"), fault.NotFound, `"new"`},
	} {
		if fault.KindOf(c.err) != c.kind || !strings.Contains(fault.Message(c.err), c.say) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if _, err := l.Options("new"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("options of nothing: %v", err)
	}
}

func TestADeletedStreamBeginsAnew(t *testing.T) {
	cfg := eventlog.Config{Dir: "log", FS: vfs.NewMem(), Partitions: 1}
	l := open(t, cfg, clock.System{})
	for _, name := range []string{"before", "hub", "last"} {
		for i := range 10 {
			mustAppend(t, l, name, "k", body(i))
		}
		if err := l.Trim(name, 0, 3); err != nil {
			t.Fatal(err)
		}
	}
	p := register(t, l, 0, eventlog.Producer{})
	waits := make(chan error, 3)
	for range cap(waits) {
		go func() { waits <- l.Wait(context.Background(), "hub", 0, 10) }()
	}
	for _, name := range []string{"hub", "last"} {
		if err := l.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for range cap(waits) {
		if err := <-waits; fault.KindOf(err) != fault.NotFound {
			t.Errorf("who waited: %v", err)
		}
	}
	for round := range 2 {
		_, read := l.Read(t.Context(), "hub", 0, 0, 1)
		_, info := l.Info("hub", 0)
		_, seek := l.SeekOffset("hub", 0, 1)
		_, again := l.RegisterProducer(t.Context(), "hub", 0, p)
		_, to := l.AppendTo(t.Context(), "hub", 0, "", body(1))
		_, batch := appendBatch(l, eventlog.Batch{Stream: "hub", Partition: -1, Existing: true, Events: bodies(0, 1)})
		for i, err := range []error{
			read, info, seek, again, to, batch, l.DeleteStream(t.Context(), "hub"), l.Trim("hub", 0, 1),
			l.Wait(t.Context(), "hub", 0, 0), l.Scan(t.Context(), "hub", 0, 0, 0, nil),
		} {
			if fault.KindOf(err) != fault.NotFound {
				t.Errorf("round %d: answer %d after the deletion is %v", round, i, err)
			}
		}
		if names := l.Streams(); len(names) != 1 || l.Partitions("hub") != 0 {
			t.Errorf("streams %v", names)
		}
		l.end(t)
		l = open(t, cfg, clock.System{})
	}
	if pos := mustAppend(t, l, "hub", "k", body(7)); pos.Sequence != 0 || pos.Offset != 0 {
		t.Errorf("the new stream begins at %+v", pos)
	}
	if _, err := produce(l, 0, p, 0, 1); !errors.Is(err, eventlog.ErrUnknownProducer) {
		t.Errorf("the old stream's producer: %v", err)
	}
	got, err := l.Read(t.Context(), "hub", 0, 0, 0)
	if err != nil || len(got) != 1 || string(got[0].Body) != "7" {
		t.Errorf("%d events, %v", len(got), err)
	}
	if got, err := l.Read(t.Context(), "before", 0, 0, 0); err != nil || len(got) != 7 {
		t.Errorf("the neighbour has %d events, %v", len(got), err)
	}
}

func TestARetentionCanBeChangedWhileTheLogRuns(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	l := open(t, eventlog.Config{Partitions: 1, Retention: eventlog.Retention{Age: 24 * time.Hour}}, clk)
	if err := l.CreateStream(t.Context(), "all", eventlog.StreamOptions{Retention: eventlog.Retention{Age: -1}}); err != nil {
		t.Fatal(err)
	}
	if err := l.CreateStream(t.Context(), "short", eventlog.StreamOptions{Retention: eventlog.Retention{Age: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"all", "short", "hub"} {
		mustAppend(t, l, name, "k", body(0))
	}
	clk.Advance(2 * time.Hour)
	for first := int64(0); first == 0; first, _ = l.Bounds("short", 0) {
		if clk.Timers() > 0 { // it has looked and waits: a minute for each look
			clk.Advance(time.Minute)
		}
		runtime.Gosched()
		if t.Context().Err() != nil {
			t.Fatal("nothing was trimmed")
		}
	}
	if first, _ := l.Bounds("hub", 0); first != 0 {
		t.Error("the log's own retention is a day, not an hour")
	}
	if err := l.SetRetention(t.Context(), "hub", eventlog.Retention{Age: time.Minute}); err != nil {
		t.Fatal(err)
	}
	for first := int64(0); first == 0; first, _ = l.Bounds("hub", 0) { // without the clock moving on
		if t.Context().Err() != nil {
			t.Fatal("nothing was trimmed")
		}
	}
	if first, next := l.Bounds("all", 0); first != 0 || next != 1 {
		t.Errorf("what keeps all has %d to %d", first, next)
	}
}
