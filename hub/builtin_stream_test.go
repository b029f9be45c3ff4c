package hub_test

import (
	"testing"
	"time"
)

func TestAHubKnowsItsAge(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		if at, err := w.hub().Created(t.Context()); err != nil || !at.Equal(start) {
			t.Errorf("%s, %v", at, err)
		}
		w.clock.Advance(time.Hour)
		if err := w.server.Close(); err != nil {
			t.Fatal(err)
		}
		w.open()
	}
}
