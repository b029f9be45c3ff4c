package hub_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
)

func TestARenewedSessionStandsOnItsNewProof(t *testing.T) {
	w := newWorld(t)
	d, token := w.device("d")
	_, others := w.device("other")
	s, cuts, err := w.connect("d", token, public)
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	renew := func(token string) error {
		_, err := s.Renew(t.Context(), hub.Credentials{Token: token})
		return err
	}
	for name, token := range map[string]string{"another device's": others, "none": "secret", "a policy's that may not": signed(t, keysOf(w, hub.PolicyService)[0], hub.PolicyService)} {
		if err := renew(token); err == nil || !s.Ends().Equal(start.Add(time.Hour)) || cuts.last() != 0 {
			t.Errorf("%s: %v, it ends at %v", name, err, s.Ends())
		}
	}
	later, err := sas.Sign(host+"/devices/d", d.SecondaryKey, "", start.Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	ends, err := s.Renew(t.Context(), hub.Credentials{Token: later})
	if err != nil || !ends.Equal(start.Add(2*time.Hour)) || !s.Ends().Equal(ends) {
		t.Fatalf("it ends at %v, %v", ends, err)
	}
	for _, c := range []struct {
		which hub.Which
		cut   int
	}{{hub.Primary, 0}, {hub.Secondary, 1}} {
		if n, err := w.hub().RenewDeviceKey(t.Context(), "d", c.which, "the test"); err != nil || n != c.cut {
			t.Errorf("without its %s key: %d cut, %v", c.which, n, err)
		}
	}
	if cuts.last() != hub.KeyGone {
		t.Error("its key is gone and it is not")
	}
}

// A session that is renewed while the key of the new proof goes is cut, or is not renewed.
func TestRacingRenewalsOfKeyAndSession(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		id := fmt.Sprint("d", i)
		d, token := w.device(id)
		s, cuts, err := w.connect(id, token, public)
		if err != nil {
			t.Fatal(err)
		}
		second, err := sas.Sign(host+"/devices/"+id, d.SecondaryKey, "", start.Add(2*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var renewed error
		all.Go(func() { _, renewed = s.Renew(t.Context(), hub.Credentials{Token: second}) })
		all.Go(func() {
			if _, err := w.hub().RenewDeviceKey(t.Context(), id, hub.Secondary, "the test"); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		if cut := cuts.last() == hub.KeyGone; renewed == nil && !cut || renewed != nil && fault.KindOf(renewed) != fault.Unauthenticated {
			t.Errorf("%s: renewed with %v, cut %v", id, renewed, cut)
		}
		s.End()
	}
}

func TestWhoMayNotSendYetLearnsForHowLong(t *testing.T) {
	w := newWorld(t)
	h := w.hub()
	if _, err := h.SetLimits(t.Context(), []byte(`{"device":{"messages":{"perSecond":1,"burst":2}}}`), "the test"); err != nil {
		t.Fatal(err)
	}
	_, token := w.device("d")
	s, _, err := w.connect("d", token, public)
	if err != nil {
		t.Fatal(err)
	}
	defer s.End()
	sent := 0
	send := func(size int) time.Duration {
		return s.TrySubmit(make([]byte, size), s.Plain(), func(eventlog.Position, error) { sent++ })
	}
	if wait := send(4097); wait != 0 || sent != 1 { // two units
		t.Errorf("wait %v, %d sent", wait, sent)
	}
	if wait := send(1); wait != time.Second || sent != 1 {
		t.Errorf("wait %v, %d sent", wait, sent)
	}
	w.clock.Advance(time.Second)
	if wait := send(1); wait != 0 || sent != 2 {
		t.Errorf("wait %v, %d sent", wait, sent)
	}
}
