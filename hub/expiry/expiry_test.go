package expiry_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/expiry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTermsEndAtTheirTime(t *testing.T) {
	start := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	clk := clock.NewFake(start)
	e := expiry.New(clk)
	ended := make(chan string, 10)
	add := func(name string, after time.Duration) *expiry.Term {
		return e.Add(start.Add(after), func() { ended <- name })
	}
	late, moved, gone := add("late", time.Hour), add("moved", time.Minute), add("gone", time.Minute)
	soon := add("soon", time.Second)
	e.Remove(gone)
	e.Move(moved, start.Add(30*time.Minute))
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{time.Second, "soon"}, {30 * time.Minute, "moved"}, {time.Hour, "late"}} {
		clk.Advance(start.Add(c.after).Sub(clk.Now()))
		if got := <-ended; got != c.want {
			t.Fatalf("%s ended, not %s", got, c.want)
		}
	}
	e.Move(soon, start.Add(2*time.Hour)) // one that has ended begins anew
	clk.Advance(time.Hour)
	if got := <-ended; got != "soon" {
		t.Fatalf("%s ended", got)
	}
	for _, x := range []*expiry.Term{late, moved, gone, soon} {
		e.Remove(x)
	}
	if len(ended) != 0 {
		t.Errorf("%s ended too", <-ended)
	}
}

func TestNothingEndsAfterRemove(t *testing.T) {
	clk := clock.NewFake(time.Now())
	e := expiry.New(clk)
	for range 200 {
		over, began := false, make(chan struct{})
		x := e.Add(clk.Now().Add(time.Second), func() {
			if over {
				t.Error("it ended after it was removed")
			}
		})
		go func() {
			clk.Advance(time.Second)
			close(began)
		}()
		e.Remove(x)
		over = true
		<-began
	}
}
