package intake

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

func TestTurns(t *testing.T) {
	u := NewTurns(3, 2, "of this device")
	take := func(who string, wait <-chan time.Time) (func(), error) { return u.Take(t.Context(), who, wait) }
	over := make(chan time.Time)
	close(over)
	a1, err := take("a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take("a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := take("a", over); fault.KindOf(err) != fault.Exhausted || fault.Next(err) == "" {
		t.Errorf("a third of one: %v", err)
	}
	if _, err := take("b", over); err != nil {
		t.Errorf("another's: %v", err)
	}
	if _, err := take("c", over); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("a fourth of all: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.Take(gone, "c", nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("of one that went: %v", err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := take("c", nil); err != nil {
			t.Error(err)
		}
	})
	a1()
	all.Wait()
}
