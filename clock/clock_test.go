package clock_test

import (
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
)

func TestFakeFiresInsideAdvance(t *testing.T) {
	start := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	c := clock.NewFake(start)
	soon, _ := c.After(time.Second)
	never, stop := c.After(2 * time.Second)
	stop()
	at, _ := c.After(0)
	if len(at) != 1 || len(soon) != 0 {
		t.Fatal("a timer of 0 fires at once, one of 1 s does not")
	}
	c.Advance(3 * time.Second)
	if len(soon) != 1 || len(never) != 0 {
		t.Errorf("after 3 s: soon fired %d times, stopped timer %d times", len(soon), len(never))
	}
	if !c.Now().Equal(start.Add(3 * time.Second)) {
		t.Errorf("Now = %v", c.Now())
	}
}
