package contract

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge/checkpoint"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func limited(t *testing.T, l resource.ContractLimits, until time.Time) *Enforcer {
	t.Helper()
	x, err := Compile(&plan.Contract{Name: "a/b", HashKey: testKey, Spec: resource.ContractSpec{
		Until: until, Limits: l, Messages: []resource.ContractMessage{{Name: "m", WholeBody: true}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestRates(t *testing.T) {
	x := limited(t, resource.ContractLimits{EventsPerSecond: 100}, time.Time{})
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	take := func(after time.Duration, events int, want time.Duration) {
		t.Helper()
		now = now.Add(after)
		wait, why := x.Take(checkpoint.Day{}, now, events, 1)
		if wait != want || (why == "") != (wait == 0) {
			t.Errorf("waits %s, want %s: %s", wait, want, why)
		}
	}
	take(0, 100, 0)
	take(0, 1, 10*time.Millisecond)
	take(10*time.Millisecond, 1, 0)
	take(time.Hour, 1000, 0) // larger than a second's worth: it goes, and pays
	take(0, 1, 9010*time.Millisecond)
	take(9*time.Second, 1, 10*time.Millisecond)
	take(-time.Hour, 1, 10*time.Millisecond) // the clock jumped back
	take(10*time.Millisecond, 1, 0)
}

func TestDays(t *testing.T) {
	x := limited(t, resource.ContractLimits{EventsPerDay: 10, BytesPerDay: 1000}, time.Time{})
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		today  checkpoint.Day
		now    time.Time
		events int
		bytes  int64
		want   time.Duration
		words  string
	}{
		{events: 10, bytes: 1000, now: noon},
		{events: 11, bytes: 1, now: noon, want: time.Minute, words: "10 events"},
		{today: checkpoint.Day{Events: 9}, events: 1, now: noon},
		{today: checkpoint.Day{Events: 10}, events: 1, now: noon, want: time.Minute, words: "10 have crossed"},
		{today: checkpoint.Day{Bytes: 999}, events: 1, bytes: 2, now: noon, want: time.Minute, words: "1000 bytes"},
		{today: checkpoint.Day{Bytes: 1 << 62}, events: 1, bytes: 1 << 62, now: noon, want: time.Minute, words: "1000 bytes"},
		{today: checkpoint.Day{Events: 10}, events: 1, now: noon.Add(12*time.Hour - 7*time.Second), want: 7 * time.Second, words: "10 events"},
	} {
		if wait, why := x.Take(c.today, c.now, c.events, c.bytes); wait != c.want || !strings.Contains(why, c.words) {
			t.Errorf("%+v: waits %s: %s", c, wait, why)
		}
	}
	if events, bytes := x.Largest(); events != 10 || bytes != 1000 {
		t.Error(events, bytes)
	}
	if events, _ := limited(t, resource.ContractLimits{EventsPerDay: 10, EventsPerSecond: 3}, time.Time{}).Largest(); events != 3 {
		t.Error(events)
	}
}

func TestMaxEventBytes(t *testing.T) {
	x := limited(t, resource.ContractLimits{MaxEventBytes: 10}, time.Time{})
	if err := x.Apply(&event.Event{Body: []byte("0123456789")}); err != nil {
		t.Error(err)
	}
	if err := x.Apply(&event.Event{Body: []byte("0123456789x")}); fault.KindOf(err) != fault.TooLarge || !strings.Contains(fault.Message(err), "10 are agreed") {
		t.Error(err)
	}
}

func TestUntil(t *testing.T) {
	until := time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
	x := limited(t, resource.ContractLimits{}, until)
	if wait, why := x.Take(checkpoint.Day{}, until.Add(-time.Second), 1<<20, 1<<40); wait != 0 {
		t.Error(wait, why)
	}
	if wait, why := x.Take(checkpoint.Day{}, until, 1, 1); wait == 0 || !strings.Contains(why, "ended on 2036-01-01T00:00:00Z") {
		t.Error(wait, why)
	}
}
