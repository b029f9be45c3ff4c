package membership

import (
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// exchange is one with a server whose clock is ahead by skew: it answers after half of the time that passes until we have the answer.
func exchange(o *offsets, at time.Time, took, skew time.Duration) (received time.Time) {
	received = at.Add(took)
	answered := at.Add(took / 2).Add(skew)
	o.heard(http.Header{"Date": {answered.UTC().Format(http.TimeFormat)}}, at, received)
	return received
}

func TestOffsetOfOneReply(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 250e6, time.UTC)
	for _, skew := range []time.Duration{0, time.Second, -time.Second, 300 * time.Millisecond, 90 * time.Minute, -36 * time.Hour, 20 * 365 * 24 * time.Hour} {
		m := &Member{caller: &caller{}}
		exchange(&m.caller.offsets, at, 40*time.Millisecond, skew)
		if got, most := m.Offset(), 520*time.Millisecond; (got - skew).Abs() > most {
			t.Errorf("%s is taken for %s", skew, got)
		}
	}
}

func TestOffsetIsUnknownAtFirst(t *testing.T) {
	m := &Member{caller: &caller{}}
	if d := m.Offset(); d != 0 {
		t.Errorf("%s", d)
	}
	at := time.Now()
	for _, date := range []string{"", "yesterday", "Sun, 22 Nov 2026"} {
		m.caller.offsets.heard(http.Header{"Date": {date}}, at, at)
	}
	m.caller.offsets.heard(http.Header{"Date": {at.UTC().Format(http.TimeFormat)}}, at, at.Add(-time.Second)) // the clock was set in between
	if d := m.Offset(); d != 0 {
		t.Errorf("%s", d)
	}
}

// The truth is always within the bounds, and many replies leave less open than a second.
func TestOffsetNarrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o offsets
		skew := time.Duration(rapid.Int64Range(-1e13, 1e13).Draw(t, "skew"))
		at := time.Unix(1795000000, rapid.Int64Range(0, 1e9-1).Draw(t, "begin"))
		narrow := time.Duration(1 << 62)
		for range rapid.IntRange(1, 40).Draw(t, "replies") {
			took := time.Duration(rapid.Int64Range(0, 3e9).Draw(t, "took"))
			narrow = min(narrow, took+time.Second)
			at = exchange(&o, at, took, skew)
			if skew < o.low-time.Nanosecond || skew > o.high {
				t.Fatalf("%s is not within %s and %s", skew, o.low, o.high)
			}
			at = at.Add(time.Duration(rapid.Int64Range(0, 5e9).Draw(t, "pause")))
		}
		if slack := o.high - o.low; slack > narrow+200*time.Millisecond { // what drift may have added since
			t.Fatalf("%s are left open, the best reply left %s", slack, narrow)
		}
	})
}

func TestOffsetAfterAClockWasSet(t *testing.T) {
	m := &Member{caller: &caller{}}
	at := time.Unix(1795000000, 0)
	for range 20 {
		at = exchange(&m.caller.offsets, at, 10*time.Millisecond, time.Minute).Add(333 * time.Millisecond)
	}
	exchange(&m.caller.offsets, at, 10*time.Millisecond, 0) // as with a clock that was put right
	if got := m.Offset(); got.Abs() > 510*time.Millisecond {
		t.Errorf("%s", got)
	}
}

func TestOffsetIsTold(t *testing.T) {
	m := &Member{caller: &caller{}}
	var told []time.Duration
	m.OnOffset(func(d time.Duration) { told = append(told, d) })
	at := time.Unix(1795000000, 0)
	for range 50 { // always at the same fraction of a second: no news
		at = exchange(&m.caller.offsets, at, 10*time.Millisecond, time.Minute).Add(990 * time.Millisecond)
	}
	if len(told) != 1 || (told[0]-time.Minute).Abs() > 510*time.Millisecond {
		t.Fatalf("told %v", told)
	}
	exchange(&m.caller.offsets, at, 10*time.Millisecond, time.Hour)
	if len(told) != 2 || told[1] != m.Offset() {
		t.Errorf("told %v", told)
	}
	var late []time.Duration
	m.OnOffset(func(d time.Duration) { late = append(late, d) })
	if len(late) != 1 || late[0] != m.Offset() {
		t.Errorf("who asks later is told %v", late)
	}
}
