package control

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// running runs a control plane until the test ends.
func (s *site) running() (stop func()) {
	c, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { _ = s.Run(c) })
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	s.t.(*testing.T).Cleanup(stop)
	return stop
}

// changes runs do and waits until a grant has changed after it.
func (s *site) changes(id string, do func()) {
	s.t.Helper()
	changed, leave := s.stirs.listen(id)
	defer leave()
	do()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		s.t.Fatal("nothing happened to the grant")
	}
}

// timers waits until the control plane has set a number of timers.
func (s *site) timers(n int) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); s.clk.Timers() != n; {
		runtime.Gosched()
		if time.Now().After(end) {
			s.t.Fatalf("%d timers are set, want %d", s.clk.Timers(), n)
		}
	}
}

func TestTimeEndsGrantsToTheMoment(t *testing.T) {
	s := newSite(t, func(p *resource.AccessPolicySpec) { p.WaitMinutes = 90 })
	waits, in := s.ask(s.alice, pressPLC), s.let(s.alice, pressSSH)
	s.running()
	s.changes(in.ID, func() { s.clk.Advance(in.Until.Sub(s.clk.Now())) })
	var kept grant.Grant
	if err := s.st.View(ctx, func(tx *store.Tx) (err error) {
		kept, _, err = tx.Grant(in.ID)
		return err
	}); err != nil || kept.State != grant.Expired || !kept.EndedAt.Equal(in.Until) {
		t.Fatalf("%+v, %v", kept, err)
	}
	if got := s.targetsOf(s.press); len(got) != 0 {
		t.Errorf("an expired grant is in the plan: %v", got)
	}
	s.changes(waits.ID, func() { s.clk.Advance(waits.WaitsUntil.Sub(s.clk.Now())) })
	if v, err := s.Grant(ctx, s.alice, waits.ID); err != nil || v.State != grant.Lapsed {
		t.Errorf("%+v, %v", v, err)
	}
	want := []string{"expire by the control plane", "lapse by the control plane"}
	if got := s.did("ot", kindGrant); !slices.Equal(got[len(got)-2:], want) {
		t.Errorf("%v", got)
	}
	// What is due earlier than all that was waited for is not overslept.
	long := s.let(s.bob, pressSSH)
	short := s.decide(s.erin, s.ask(s.alice, pressSSH, func(r *GrantRequest) { r.For = time.Minute }).ID, ApproveGrant)
	s.changes(short.ID, func() { s.clk.Advance(time.Minute) })
	if v, err := s.Grant(ctx, s.bob, long.ID); err != nil || v.State != grant.Approved {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestTwoServersEndAGrantOnce(t *testing.T) {
	s := newSite(t)
	other := &site{rig: s.second()}
	in := s.let(s.alice, pressSSH)
	other.follow(ctx)
	s.clk.Advance(2 * time.Hour)
	var both sync.WaitGroup
	for _, c := range []*Control{s.Control, other.Control} {
		both.Go(func() {
			if wait, err := c.ageOnce(ctx); err != nil || wait >= 0 {
				t.Errorf("%v, %v", wait, err)
			}
		})
	}
	both.Wait()
	ends := 0
	for _, d := range s.did("ot", kindGrant) {
		if strings.HasPrefix(d, "expire") {
			ends++
		}
	}
	if v, err := other.Grant(ctx, s.alice, in.ID); err != nil || v.State != grant.Expired || ends != 1 {
		t.Errorf("%+v, %v; ended %d times", v, err, ends)
	}
}

func TestWaitingForADecision(t *testing.T) {
	s := newSite(t)
	g := s.ask(s.alice, pressSSH)
	answers := make(chan GrantView, 1)
	go func() {
		v, err := s.WaitGrant(ctx, s.alice, g.ID, time.Hour)
		if err != nil {
			t.Error(err)
		}
		answers <- v
	}()
	s.timers(1)
	s.decide(s.erin, g.ID, ApproveGrant)
	if v := <-answers; v.State != grant.Approved {
		t.Errorf("%+v", v)
	}
	if v, err := s.WaitGrant(ctx, s.alice, g.ID, time.Hour); err != nil || v.State != grant.Approved {
		t.Errorf("what is decided is waited for: %+v, %v", v, err)
	}
	if _, err := s.WaitGrant(ctx, s.xeno, g.ID, time.Hour); fault.KindOf(err) != fault.NotFound || err == nil {
		t.Errorf("%v", err)
	}
	late := s.ask(s.alice, pressPLC)
	go func() {
		v, _ := s.WaitGrant(ctx, s.alice, late.ID, time.Minute)
		answers <- v
	}()
	s.timers(1)
	s.clk.Advance(time.Minute)
	if v := <-answers; v.State != grant.Requested {
		t.Errorf("%+v", v)
	}
	if s.stirs.total != 0 || len(s.stirs.waiting) != 0 {
		t.Errorf("%d still wait", s.stirs.total)
	}
}
