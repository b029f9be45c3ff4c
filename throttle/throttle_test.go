package throttle

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/clock"
)

func TestABurstThenOneEverySoOften(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	th := New[string](Config{Burst: 3, Every: time.Second}, clk)
	for i := range 3 {
		if wait := th.Take("a"); wait != 0 {
			t.Fatalf("event %d waits %v", i, wait)
		}
	}
	for range 2 { // what is not allowed is not counted
		if wait := th.Take("a"); wait != time.Second {
			t.Errorf("the fourth waits %v", wait)
		}
	}
	if wait := th.Take("b"); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
	clk.Advance(400 * time.Millisecond)
	if wait := th.Take("a"); wait != 600*time.Millisecond {
		t.Errorf("a little later it waits %v", wait)
	}
	clk.Advance(600 * time.Millisecond)
	if th.Take("a") != 0 || th.Take("a") == 0 {
		t.Error("after a second there is one, and one only")
	}
	clk.Advance(time.Hour)
	for i := range 4 {
		if wait := th.Take("a"); (wait == 0) != (i < 3) {
			t.Errorf("after an hour event %d waits %v", i, wait)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	th := New[int](Config{Burst: 2, Every: time.Second, Keys: 10}, clk)
	allowed := 0
	for k := range 1000 {
		if th.Take(k) == 0 {
			allowed++
		}
		if len(th.until) > 10 {
			t.Fatalf("%d keys are held", len(th.until))
		}
	}
	if allowed != 10+2 { // the first ten, and two for all the others together
		t.Errorf("%d events were allowed", allowed)
	}
	if th.Take(3) != 0 {
		t.Error("a key that is held has lost its allowance to the others")
	}
	clk.Advance(time.Minute)
	if th.Take(5000) != 0 || len(th.until) != 1 {
		t.Errorf("%d keys are held after a minute", len(th.until))
	}
}

// TestAgainstBuckets compares with the obvious form: a level that falls with each event and rises with time.
func TestAgainstBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clk := clock.NewFake(time.Unix(1000, 0))
		burst := rapid.IntRange(1, 5).Draw(t, "burst")
		th := New[int](Config{Burst: burst, Every: time.Second}, clk)
		type bucket struct {
			level time.Duration // a second an event
			last  time.Time
		}
		slow := map[int]*bucket{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			clk.Advance(time.Duration(rapid.IntRange(0, 8).Draw(t, "quarters")) * 250 * time.Millisecond)
			k := rapid.IntRange(0, 2).Draw(t, "key")
			b, now := slow[k], clk.Now()
			if b == nil {
				b = &bucket{time.Duration(burst) * time.Second, now}
				slow[k] = b
			}
			b.level, b.last = min(time.Duration(burst)*time.Second, b.level+now.Sub(b.last)), now
			want := max(0, time.Second-b.level)
			if want == 0 {
				b.level -= time.Second
			}
			if got := th.Take(k); got != want {
				t.Fatalf("key %d waits %v, want %v", k, got, want)
			}
		}
	})
}
