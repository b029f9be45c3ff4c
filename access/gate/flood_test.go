package gate_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// A thousand requests a second for five seconds leave a dozen records, and an hour of it hundreds, with the count of all.
func TestAFloodOfRequestsFillsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{}, nil)
		w.gate.Set([]plan.Target{w.target()})
		for range 5 {
			for range 1000 {
				if reset := w.refused("grant-9"); !strings.Contains(reset.Message, "no grant of yours") {
					t.Fatal(reset)
				}
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := len(w.journal.records()); n != 10 {
			t.Errorf("%d records", n)
		}
		time.Sleep(time.Minute)
		last := w.journal.wait(10)
		if last.Phase != session.Refused || !strings.Contains(last.Words, "4990 more were refused") || last.Check() != nil {
			t.Errorf("%+v", last)
		}
		if n := w.metric("refused_total", "no-grant"); n != 5000 {
			t.Error("counted:", n)
		}
		// What was counted and not told is told when the process stops.
		for range 3 {
			w.refused("grant-9")
		}
		w.stop()
		if last := w.journal.wait(11); !strings.Contains(last.Words, "3 more were refused") {
			t.Errorf("%+v", last)
		}
	})
}

// Sessions that are begun in a hurry are bounded too: each leaves two records.
func TestAFloodOfSessionsIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{}, nil)
		w.gate.Set([]plan.Target{w.target()})
		begun := 0
		for range 1500 {
			s := w.open("grant-1")
			if err := s.WaitAccepted(context.Background()); err == nil {
				begun++
				_ = (<-w.machines).Close()
			}
			s.Reset(tunnel.ResetPeer, "")
			synctest.Wait()
		}
		if begun != 1024 {
			t.Error(begun, "sessions at once")
		}
		if n := w.metric("refused_total", "too-many"); n != 1500-1024 {
			t.Error("refused:", n)
		}
		time.Sleep(time.Second)
		w.enter("grant-1")
	})
}

// Whoever comes while the plan changes is refused or cut: when Set has returned, nobody is in who may not be.
func TestPlansThatChangeWhilePeopleCome(t *testing.T) {
	w := newWorld(t, gate.Config{}, nil)
	p := w.target()
	p.Limits.Each = 100
	p.Grants = nil
	for _, name := range []string{"a", "b", "c", "d"} {
		p.Grants = append(p.Grants, w.grant(name, alice))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			for ctx.Err() == nil {
				s, err := w.near.Open(ctx, tunnel.Flow{Endpoint: name, Port: 1})
				if err != nil {
					return
				}
				_ = s.WaitAccepted(ctx)
				s.Reset(tunnel.ResetPeer, "")
				select {
				case m := <-w.machines:
					_ = m.Close()
				default:
				}
			}
		})
	}
	for range 200 {
		w.gate.Set([]plan.Target{p})
		w.gate.SetOffset(time.Duration(len(w.gate.Sessions())) * time.Second)
		w.gate.Set(nil)
		if in := w.gate.Sessions(); len(in) > 0 {
			t.Fatalf("still in: %+v", in)
		}
	}
	cancel()
	wg.Wait()
}

func TestOnePersonsSessionsDoNotHinderAnothers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{}, nil)
		p := w.target()
		p.Limits.Each = 2
		p.Grants = append(p.Grants, w.grant("grant-2", alice))
		w.gate.Set([]plan.Target{p})
		w.enter("grant-1")
		s, m := w.enter("grant-1")
		if reset := w.refused("grant-1"); !strings.Contains(reset.Message, "close one first") {
			t.Error(reset)
		}
		w.enter("grant-2")
		_ = s.CloseWrite()
		_ = m.Close()
		synctest.Wait()
		w.enter("grant-1") // there is room again
	})
}

func TestAllowedAreThoseWithAGrant(t *testing.T) {
	w := newWorld(t, gate.Config{}, nil)
	if w.gate.Allowed(alice) {
		t.Error("without a plan")
	}
	p := w.target()
	p.Grants[0].From = w.begun.Add(time.Hour) // a tunnel may be there before
	w.gate.Set([]plan.Target{p})
	for id, want := range map[identity.ID]bool{
		alice: true, identity.PersonID(trust, "ot", "alice-uid", "another-pass"): true, bob: false,
		identity.PersonID("else.test", "ot", "alice-uid", "pass-1"): false, identity.PersonID(trust, "it", "alice-uid", "pass-1"): false,
		identity.AgentID(trust, "ot", "n", "a"): false, "": false,
	} {
		if w.gate.Allowed(id) != want {
			t.Error(id)
		}
	}
}
