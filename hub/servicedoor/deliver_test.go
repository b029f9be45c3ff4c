package servicedoor_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/servicedoor"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

const (
	feedbackLink = "/messages/serviceBound/feedback"
	filesLink    = "/messages/serviceBound/filenotifications"
)

func records(t *testing.T, m *amqp.Message) []hub.Feedback {
	t.Helper()
	var out []hub.Feedback
	must(t, json.Unmarshal(m.Data[0], &out))
	return out
}

// until waits for something that a goroutine of the door is about to do; what it asks is the store's answer, not the clock's.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: it does not come to pass", what)
		}
		<-time.After(time.Millisecond)
	}
}

func TestFeedback(t *testing.T) {
	w := start(t, servicedoor.Config{})
	w.settings(func(s *hub.CommandSettings) { s.FeedbackDelay = 0 })
	r := w.receiver(feedbackLink, 0, nil)
	w.feedback("a")
	r.Grant(1, false)
	d, m := w.next(r)
	list := records(t, m)
	if m.Properties.ContentType != "application/vnd.microsoft.iothub.feedback.json" || string(m.Properties.UserID) != hubtest.Contoso || len(list) != 1 ||
		list[0].OriginalMessageID != "a" || list[0].Status != "Success" || list[0].Device != "d" || m.MessageAnnotations.Get("iothub-deliverycount") != uint8(0) ||
		m.MessageAnnotations.Get("iothub-enqueuedtime") != amqp.Timestamp(list[0].Enqueued.UnixMilli()) || len(d.Tag) != 16 || d.Settled {
		t.Errorf("%+v %v %v", m.Properties, list, m.MessageAnnotations)
	}
	w.feedback("b") // no credit: it waits
	d.Settle(amqp.Released{})
	r.Grant(1, false)
	d, m = w.next(r)
	if list = records(t, m); len(list) == 0 || m.MessageAnnotations.Get("iothub-deliverycount") != uint8(1) && len(list) != 1 {
		t.Errorf("%v %v", list, m.MessageAnnotations)
	}
	seen := len(list)
	d.Settle(amqp.Accepted{})
	if seen == 1 {
		r.Grant(1, false)
		d, m = w.next(r)
		if list = records(t, m); len(list) != 1 {
			t.Errorf("%v", list)
		}
		d.Settle(amqp.Modified{DeliveryFailed: true})
		r.Grant(1, false)
		d, m = w.next(r)
		if again := records(t, m); len(again) != 1 || again[0] != list[0] {
			t.Errorf("%v", again)
		}
		d.Settle(amqp.Rejected{})
	}
	until(t, "nothing is left", func() bool {
		n, _, err := w.Server.Store().FeedbackFree(t.Context(), w.hub.ID(), w.clock.Now().Add(time.Hour), 1)
		must(t, err)
		return n == 0
	})
	// What a link has when it ends comes again.
	w.feedback("c")
	r.Grant(1, false)
	_, m = w.next(r)
	if list = records(t, m); len(list) != 1 || list[0].OriginalMessageID != "c" {
		t.Errorf("%v", list)
	}
	must(t, r.Detach(w.context()))
	settled := w.receiver(feedbackLink, 5, func(a *amqp.Attach) { a.SndSettleMode = amqp.Some(amqp.SenderSettled) })
	d, m = w.next(settled)
	if list = records(t, m); !d.Settled || len(list) != 1 || list[0].OriginalMessageID != "c" || m.MessageAnnotations.Get("iothub-deliverycount") != uint8(1) {
		t.Errorf("%v %v %v", d.Settled, list, m.MessageAnnotations)
	}
	w.feedback("d")
	_, m = w.next(settled)
	if list = records(t, m); len(list) != 1 || list[0].OriginalMessageID != "d" {
		t.Errorf("what was settled comes again: %v", list)
	}
}

func TestFeedbackWaitsAndIsShared(t *testing.T) {
	w := start(t, servicedoor.Config{})
	first, second := w.receiver(feedbackLink, 10, nil), w.receiver(feedbackLink, 10, nil)
	timers := w.clock.Timers()
	w.feedback("early")
	until(t, "both wait for it to be old enough", func() bool { return w.clock.Timers() >= timers+2 })
	w.clock.Advance(15 * time.Second)
	got := make(chan hub.Feedback, 200)
	for _, r := range []*amqptest.Receiver{first, second} {
		go func() {
			for {
				d, err := r.Next(t.Context())
				if err != nil {
					return
				}
				m, err := d.Decode()
				if err != nil {
					t.Error(err)
					return
				}
				d.Settle(amqp.Accepted{})
				for _, f := range records(t, m) {
					got <- f
				}
			}
		}()
	}
	if f := <-got; f.OriginalMessageID != "early" {
		t.Errorf("%+v", f)
	}
	for range 64 { // which are given at once
		w.feedback("x")
	}
	for range 64 {
		if f := <-got; f.OriginalMessageID != "x" {
			t.Errorf("%+v", f)
		}
	}
	select {
	case f := <-got:
		t.Errorf("two have %+v", f)
	default:
	}
}

func TestDrainedCreditGoesBack(t *testing.T) {
	w := start(t, servicedoor.Config{})
	w.settings(func(s *hub.CommandSettings) { s.FeedbackDelay = 0 })
	r := w.receiver(feedbackLink, 0, nil)
	r.Grant(5, true)
	until(t, "the credit comes back", func() bool { return r.Credit() == 0 })
	w.feedback("a")
	r.Grant(1, false)
	if _, m := w.next(r); len(records(t, m)) != 1 {
		t.Error("nothing came afterwards")
	}
}

func TestFileNotifications(t *testing.T) {
	w := start(t, servicedoor.Config{})
	r := w.receiver(filesLink, 10, nil)
	w.upload("a.txt")
	d, m := w.next(r)
	var n struct{ DeviceID, BlobName string }
	must(t, json.Unmarshal(m.Data[0], &n))
	if m.Properties.ContentType != "application/vnd.microsoft.iothub.filenotification.json" || n.DeviceID != "d" || n.BlobName != "d/a.txt" ||
		m.MessageAnnotations.Get("iothub-deliverycount") != uint8(0) || m.MessageAnnotations.Get("x-opt-sequence-number") != uint64(1) {
		t.Errorf("%+v %+v %v", m.Properties, n, m.MessageAnnotations)
	}
	d.Settle(amqp.Released{})
	d, m = w.next(r)
	if m.MessageAnnotations.Get("iothub-deliverycount") != uint8(1) {
		t.Errorf("%v", m.MessageAnnotations)
	}
	d.Settle(amqp.Accepted{})
	until(t, "nothing is left", func() bool {
		left, err := w.files.Waiting(t.Context(), w.hub)
		must(t, err)
		return left == 0
	})
	w.upload("b.txt")
	_, m = w.next(r)
	must(t, json.Unmarshal(m.Data[0], &n))
	if n.BlobName != "d/b.txt" {
		t.Errorf("%+v", n)
	}
}

func TestWhatALinkStandsOn(t *testing.T) {
	w := start(t, servicedoor.Config{MaxLinks: 4})
	s, _ := w.session(hubtest.Contoso)
	ctx := w.context()
	for address, receives := range map[string]bool{"/messages/devicebound": true, feedbackLink: false, filesLink: false} {
		var err error
		if receives {
			_, err = s.Receiver(ctx, address, 1, nil)
		} else {
			_, err = s.Sender(ctx, address, nil)
		}
		if amqp.ConditionOf(err) != amqp.ConditionNotAllowed {
			t.Errorf("the wrong way on %s: %v", address, err)
		}
	}
	w.claims.put(w.prove(hub.PolicyDevice))
	if _, err := s.Sender(ctx, "/messages/devicebound", nil); amqp.ConditionOf(err) != amqp.ConditionUnauthorizedAccess {
		t.Errorf("without the right: %v", err)
	}
	w.mu.Lock()
	refused := len(w.refused)
	w.mu.Unlock()
	if refused != 4 {
		t.Errorf("the log has %d refusals", refused)
	}
	w.claims.put(w.prove(hub.PolicyService))
	var links []interface{ Err() error }
	for range 2 {
		r, err := s.Receiver(ctx, feedbackLink, 1, nil)
		must(t, err)
		o, err := s.Sender(ctx, "/messages/devicebound", nil)
		must(t, err)
		links = append(links, r, o)
	}
	if _, err := s.Receiver(ctx, filesLink, 1, nil); amqp.ConditionOf(err) != amqp.ConditionResourceLimitExceeded {
		t.Errorf("one link too many: %v", err)
	}
	standing := func() (n int) {
		for _, l := range links {
			if l.Err() == nil {
				n++
			}
		}
		return n
	}
	// Put again in time, the links stay.
	w.clock.Advance(50 * time.Minute)
	w.claims.put(w.proveUntil(hub.PolicyService, time.Hour))
	w.clock.Advance(20 * time.Minute)
	_, err := w.hub.RenewPolicyKey(t.Context(), hub.PolicyService, hub.Secondary, "test")
	must(t, err)
	if standing() != 4 {
		t.Errorf("%d of 4 links stand", standing())
	}
	_, err = w.hub.RenewPolicyKey(t.Context(), hub.PolicyService, hub.Primary, "test")
	must(t, err)
	until(t, "the key was renewed", func() bool { return standing() == 0 })
	for _, l := range links {
		if no, ok := errors.AsType[*amqp.Error](l.Err()); !ok || no.Condition != amqp.ConditionUnauthorizedAccess {
			t.Errorf("%v", l.Err())
		}
	}
	w.claims.put(w.proveUntil(hub.PolicyService, time.Hour))
	o, err := s.Sender(ctx, "/messages/devicebound", nil)
	must(t, err)
	timers := 0
	until(t, "the claim is watched", func() bool { timers = w.clock.Timers(); return timers > 0 })
	w.clock.Advance(time.Hour)
	if err := o.WaitEnd(ctx); amqp.ConditionOf(err) != amqp.ConditionUnauthorizedAccess {
		t.Errorf("the claim ended: %v", err)
	}
}
