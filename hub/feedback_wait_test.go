package hub_test

import (
	"context"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// waiting begins to wait for feedback and returns once the waiter has looked and sleeps with so many timers.
func (w *world) waiting(timers int) chan error {
	w.t.Helper()
	done := make(chan error, 1)
	go func() { done <- w.hub().WaitFeedback(w.t.Context()) }()
	until(w.t, "it waits", func() bool { return w.clock.Timers() == timers || len(done) > 0 })
	return done
}

func TestFeedbackIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.identity(device)
	none := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { none <- w.hub().WaitFeedback(ctx) }()
	cancel()
	if err := <-none; fault.KindOf(err) != fault.Timeout {
		t.Errorf("nothing ever happened: %v", err)
	}
	w.settle(device, "a")
	done := w.waiting(1)
	w.clock.Advance(15 * time.Second)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b := w.batch()
	if b == nil {
		t.Fatal("what was old enough is not given")
	}
	done = w.waiting(1) // somebody has it: until the lock ends
	w.clock.Advance(time.Minute)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b = w.batch()
	done = w.waiting(1)
	if err := w.hub().AbandonFeedback(t.Context(), b.Lock); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := w.hub().CompleteFeedback(t.Context(), w.batch().Lock); err != nil {
		t.Fatal(err)
	}
	w.settle(device, "b")
	done = w.waiting(1)
	for range 63 {
		w.settle(device, "c")
	}
	if err := <-done; err != nil { // 64 do not wait until they are old
		t.Fatal(err)
	}
	if b = w.batch(); b == nil || len(b.Records) != 64 {
		t.Fatalf("%+v", b)
	}
	if err := w.hub().CompleteFeedback(t.Context(), b.Lock); err != nil {
		t.Fatal(err)
	}
	if _, err := w.hub().SendCommand(t.Context(), device, hub.Command{MessageID: "d", Ack: hub.AckFull}); err != nil {
		t.Fatal(err)
	}
	s := w.hub().CommandSettings()
	s.FeedbackDelay = 0
	if err := w.hub().SetCommandSettings(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	done = make(chan error, 1)
	go func() { done <- w.hub().WaitFeedback(t.Context()) }()
	if err := w.hub().DeleteDevice(t.Context(), "d", "*"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("feedback of a device that was deleted: %v", err)
	}
}
