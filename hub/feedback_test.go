package hub_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
)

func (w *world) batch() *hub.FeedbackBatch {
	w.t.Helper()
	b, err := w.hub().ReceiveFeedback(w.t.Context(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// settle sends and completes a message.
func (w *world) settle(n hub.Name, id string) {
	w.t.Helper()
	w.send(n, id)
	if err := w.hub().CompleteCommand(w.t.Context(), n, w.receive(n).Lock); err != nil {
		w.t.Fatal(err)
	}
}

func TestFeedbackComesInBatches(t *testing.T) {
	w := newWorld(t)
	w.identity(module)
	d, err := w.hub().Device(t.Context(), "d")
	if err != nil {
		t.Fatal(err)
	}
	w.settle(device, "a")
	w.clock.Advance(time.Second)
	w.settle(module, "b")
	if w.batch() != nil {
		t.Error("it did not wait for more")
	}
	w.clock.Advance(14*time.Second - 1)
	if w.batch() != nil {
		t.Error("it did not wait for more")
	}
	w.clock.Advance(1)
	b := w.batch()
	if b == nil || len(b.Records) != 2 || b.Lock == "" || b.DeliveryCount != 0 || !b.Until.Equal(start.Add(75*time.Second)) {
		t.Fatalf("%+v", b)
	}
	text, err := json.Marshal(b.Records[0])
	want := fmt.Sprintf(`{"originalMessageId":"a","enqueuedTimeUtc":"2026-11-22T03:00:00Z","statusCode":"Success","description":"the device completed the message","deviceId":"d","deviceGenerationId":%q}`, d.Generation)
	if err != nil || string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
	if w.batch() != nil {
		t.Error("two have it")
	}
	for i := range 65 {
		w.settle(device, fmt.Sprint(i))
	}
	full := w.batch()
	if full == nil || len(full.Records) != 64 || full.Records[0].OriginalMessageID != "0" {
		t.Fatalf("%+v", full)
	}
	if w.batch() != nil {
		t.Error("one alone did not wait")
	}
	if err := w.hub().CompleteFeedback(t.Context(), full.Lock); err != nil {
		t.Error(err)
	}
	for _, f := range []error{w.hub().CompleteFeedback(t.Context(), full.Lock), w.hub().AbandonFeedback(t.Context(), "")} {
		if code.Of(f) != code.MessageLockLost || fault.KindOf(f) != fault.Precondition {
			t.Errorf("a lock that holds nothing: %v", f)
		}
	}
	if err := w.hub().AbandonFeedback(t.Context(), b.Lock); err != nil {
		t.Error(err)
	}
	again := w.batch() // at once, and with what waits meanwhile
	if again == nil || len(again.Records) != 3 || again.DeliveryCount != 1 || again.Records[0].OriginalMessageID != "a" {
		t.Errorf("%+v", again)
	}
}

func TestFeedbackSurvivesAndEnds(t *testing.T) {
	w := newWorld(t)
	w.identity(device)
	s := w.hub().CommandSettings()
	s.FeedbackDelay, s.FeedbackTTL, s.FeedbackDeliveries = 0, 10*time.Minute, 2
	if err := w.hub().SetCommandSettings(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.settle(device, "a")
	b := w.batch()
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	if w.batch() != nil {
		t.Error("a lock ended with the process")
	}
	w.clock.Advance(time.Minute)
	if err := w.hub().CompleteFeedback(t.Context(), b.Lock); code.Of(err) != code.MessageLockLost {
		t.Errorf("after the lock lapsed: %v", err)
	}
	if again := w.batch(); again == nil || again.DeliveryCount != 1 {
		t.Fatalf("%+v", again)
	}
	w.clock.Advance(time.Minute)
	w.sweep()
	if w.batch() != nil {
		t.Error("it came back twice and comes again")
	}
	w.settle(device, "b")
	w.clock.Advance(10 * time.Minute)
	w.sweep()
	if w.batch() != nil {
		t.Error("it is expired")
	}
	for _, lock := range []time.Duration{-1, 301 * time.Second} {
		if _, err := w.hub().ReceiveFeedback(t.Context(), lock); fault.KindOf(err) != fault.Invalid {
			t.Errorf("lock of %v: %v", lock, err)
		}
	}
}
