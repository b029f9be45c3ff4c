package eventhub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	et "github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
)

func ended(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestAnEventHubLives(t *testing.T) {
	w, ctx := start(t), t.Context()
	h, err := w.Namespace.CreateEventHub(ctx, "Telemetry", eventhub.Settings{})
	if err != nil || h.Name != "Telemetry" || h.Partitions != 4 || h.Retention != 24*time.Hour || h.Groups != 1 || h.Disabled || h.Declared || h.Created.IsZero() {
		t.Fatalf("%+v, %v", h, err)
	}
	_, err = w.Namespace.CreateEventHub(ctx, "TELEMETRY", eventhub.Settings{})
	refused(t, err, fault.Conflict, "a name that differs by its case")
	e, err := w.Namespace.Entity(ctx, "telemetrY")
	if err != nil || e.Name() != "Telemetry" || e.Partitions() != 4 || e.Devices() || e.MaxMessage() != 1<<20 || !e.Created().Equal(h.Created) {
		t.Fatalf("%v, %v", e, err)
	}
	at := w.Append(e, 2, "one", "two")
	if at.Partition != 2 || at.Sequence != 0 {
		t.Errorf("%+v", at)
	}
	at = w.Append(e, 2, "three")
	if info, err := e.Info(2); err != nil || info.Next != 3 || info.LastOffset != at.Offset {
		t.Errorf("%+v, %v", info, err)
	}
	var got []string
	must(t, e.Scan(ctx, 2, 1, 0, func(v *eventlog.View) bool {
		got = append(got, string(v.Body))
		return true
	}))
	if fmt.Sprint(got) != "[two three]" {
		t.Errorf("%v", got)
	}
	if seq, err := e.SeekOffset(2, at.Offset); err != nil || seq != 2 {
		t.Errorf("%d, %v", seq, err)
	}
	if seq, err := e.SeekTime(2, time.Now().Add(time.Hour)); err != nil || seq != 3 {
		t.Errorf("%d, %v", seq, err)
	}
	must(t, e.Wait(ctx, 2, 2))
	_, err = e.Info(4)
	refused(t, err, fault.NotFound, "a partition that is not there")

	must(t, w.Namespace.DeleteEventHub(ctx, "telemetry"))
	if !ended(e.Gone()) {
		t.Error("whoever uses it is not told")
	}
	_, err = w.Namespace.Entity(ctx, "Telemetry")
	refused(t, err, fault.NotFound, "a deleted event hub")
	if !strings.Contains(err.Error(), "The messaging entity 'Telemetry' could not be found.") {
		t.Errorf("the words are %v", err)
	}
	_, err = et.Append(e, eventlog.Batch{Partition: -1, Events: []eventlog.Event{{}}})
	refused(t, err, fault.NotFound, "appending to a deleted event hub")
	refused(t, e.Wait(ctx, 0, 0), fault.NotFound, "waiting for events of a deleted event hub")
	again := w.Create("telemetry", 2)
	if info, err := again.Info(0); err != nil || info.Next != 0 || again.Partitions() != 2 {
		t.Errorf("one of the same name begins with %+v, %v", info, err)
	}
	if _, err := et.Append(e, eventlog.Batch{Partition: 0, Events: []eventlog.Event{{}}}); err == nil {
		t.Error("who had the old one appends to the new one")
	}
}

func TestADisabledEventHub(t *testing.T) {
	w, ctx := start(t), t.Context()
	e := w.Create("telemetry", 1)
	w.Append(e, 0, "kept")
	off, on := true, false
	h, err := w.Namespace.ChangeEventHub(ctx, "telemetry", eventhub.Change{Disabled: &off})
	if err != nil || !h.Disabled || !ended(e.Gone()) {
		t.Fatalf("%+v, %v", h, err)
	}
	_, err = w.Namespace.Entity(ctx, "telemetry")
	refused(t, err, fault.Conflict, "a disabled event hub")
	if !errors.Is(err, eventhub.ErrDisabled) {
		t.Error("it cannot be told from other conflicts")
	}
	_, err = et.Append(e, eventlog.Batch{Partition: 0, Events: []eventlog.Event{{}}})
	if !errors.Is(err, eventhub.ErrDisabled) {
		t.Errorf("appending: %v", err)
	}
	_, err = w.Namespace.ChangeEventHub(ctx, "telemetry", eventhub.Change{Disabled: &on})
	must(t, err)
	if e, err = w.Namespace.Entity(ctx, "telemetry"); err != nil || ended(e.Gone()) {
		t.Fatal(err)
	}
	if info, err := e.Info(0); err != nil || info.Next != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestRetention(t *testing.T) {
	w, ctx := start(t), t.Context()
	w.Create("telemetry", 1)
	two, bytes := 48*time.Hour, int64(4<<20)
	h, err := w.Namespace.ChangeEventHub(ctx, "telemetry", eventhub.Change{Retention: &two, RetentionBytes: &bytes})
	if err != nil || h.Retention != two || h.RetentionBytes != bytes {
		t.Errorf("%+v, %v", h, err)
	}
	for _, age := range []time.Duration{0, time.Minute, 91 * 24 * time.Hour} {
		_, err := w.Namespace.ChangeEventHub(ctx, "telemetry", eventhub.Change{Retention: &age})
		refused(t, err, fault.Invalid, age.String())
	}
	few := int64(1000)
	_, err = w.Namespace.ChangeEventHub(ctx, "telemetry", eventhub.Change{RetentionBytes: &few})
	refused(t, err, fault.Invalid, "1000 bytes")
}

func TestWhatCannotBeMade(t *testing.T) {
	w, ctx := start(t), t.Context()
	for _, name := range []string{"", ".a", "a.", "a b", "a/b", "$a", "ä", strings.Repeat("x", 257)} {
		_, err := w.Namespace.CreateEventHub(ctx, name, eventhub.Settings{})
		refused(t, err, fault.Invalid, name)
	}
	for _, s := range []eventhub.Settings{{Partitions: -1}, {Partitions: 1025}, {Retention: time.Minute}, {RetentionBytes: 1}} {
		_, err := w.Namespace.CreateEventHub(ctx, "a", s)
		refused(t, err, fault.Invalid, fmt.Sprint(s))
	}
	if list := w.Namespace.EventHubs(); len(list) != 0 || len(w.Events.Streams()) != 0 {
		t.Errorf("%v", list)
	}
}

// The longest names share their beginning, and not their events.
func TestLongNames(t *testing.T) {
	w := start(t)
	name := strings.Repeat("x", 255)
	a, b := w.Create(name+"a", 1), w.Create(name+"b", 1)
	w.Append(a, 0, "of a")
	if info, err := b.Info(0); err != nil || info.Next != 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

// What a process knew the next one knows: names, keys, groups and events; and what a crash left is swept.
func TestAnotherProcessGoesOn(t *testing.T) {
	w, ctx := start(t), t.Context()
	e := w.Create("Telemetry", 2)
	w.Append(e, 1, "kept")
	_, err := w.Namespace.CreateGroup(ctx, "telemetry", "Alerts")
	must(t, err)
	_, err = w.Namespace.CreatePolicy(ctx, "telemetry", "machines", eventhub.Send)
	must(t, err)
	off := true
	w.Create("off", 1)
	_, err = w.Namespace.ChangeEventHub(ctx, "off", eventhub.Change{Disabled: &off})
	must(t, err)
	root, own := w.Key("", eventhub.PolicyRoot), w.Key("telemetry", "machines")
	must(t, w.Events.CreateStream(ctx, "eventhub/"+et.ID+"/left-behind", eventlog.StreamOptions{Partitions: 1}))
	must(t, w.Events.CreateStream(ctx, "eventhub/another/left-behind", eventlog.StreamOptions{Partitions: 1}))
	w.Stop()
	if !ended(e.Gone()) {
		t.Error("whoever uses it is not told that the process ends")
	}

	w = et.Start(t, et.Options{Dir: w.Dir, Files: w.Files})
	if root != w.Key("", eventhub.PolicyRoot) || own != w.Key("Telemetry", "Machines") {
		t.Error("the keys are others")
	}
	e, err = w.Namespace.Entity(ctx, "telemetry")
	must(t, err)
	if g, err := e.Group(ctx, "alerts"); err != nil || g != "Alerts" || e.Name() != "Telemetry" {
		t.Errorf("%s, %v", g, err)
	}
	if info, err := e.Info(1); err != nil || info.Next != 1 {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := w.Namespace.Entity(ctx, "off"); !errors.Is(err, eventhub.ErrDisabled) {
		t.Errorf("%v", err)
	}
	if n := len(w.Events.Streams()); n != 3 {
		t.Errorf("%d streams: %v", n, w.Events.Streams())
	}
}

func TestANamespaceThatGoesAndComesBack(t *testing.T) {
	w, ctx := start(t), t.Context()
	e := w.Create("telemetry", 1)
	w.Append(e, 0, "kept")
	old := w.Namespace
	must(t, w.Server.SetNamespaces(ctx, nil))
	if _, ok := w.Server.Namespace(et.ID); ok || !ended(e.Gone()) {
		t.Error("it is still there")
	}
	_, err := old.CreateEventHub(ctx, "more", eventhub.Settings{})
	refused(t, err, fault.Unavailable, "a namespace that is not served")
	w.Declare()
	n, ok := w.Server.ByName(strings.ToUpper(et.Host) + ":443")
	if !ok || n == old {
		t.Fatal("it is not back")
	}
	e, err = n.Entity(ctx, "telemetry")
	must(t, err)
	if info, err := e.Info(0); err != nil || info.Next != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

// Events that come while their event hub is being deleted are refused or gone with it; none turns up in the next one of the name.
func TestDeletionUnderLoad(t *testing.T) {
	w, ctx := start(t), t.Context()
	for range 10 {
		e := w.Create("telemetry", 2)
		if info, err := e.Info(0); err != nil || info.Next != 0 {
			t.Fatalf("%+v, %v", info, err)
		}
		over := make(chan struct{})
		first := make(chan struct{}, 1)
		go func() {
			defer close(over)
			for {
				_, err := et.Append(e, eventlog.Batch{Partition: -1, Events: []eventlog.Event{{Body: []byte("x")}}})
				if err != nil {
					return
				}
				select {
				case first <- struct{}{}:
				default:
				}
			}
		}()
		<-first
		must(t, w.Namespace.DeleteEventHub(context.WithoutCancel(ctx), "telemetry"))
		<-over
	}
	if n := w.Events.Streams(); len(n) != 0 {
		t.Errorf("%v", n)
	}
}
