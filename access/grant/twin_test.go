package grant

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/resource"
)

// twin is the life of a grant in its most obvious form: everything that anybody did to it, gone through from the start each time.
type twin struct {
	policy *resource.AccessPolicySpec
	person string
	kind   Kind
	asked  time.Time
	from   time.Time
	long   time.Duration
	done   []deed
}

type deed struct {
	at   time.Time
	by   Person
	what string
	more time.Duration
}

// standing is where the grant stands at a moment.
type standing struct {
	state     State
	from      time.Time
	until     time.Time
	approvers []string
	more      time.Duration // that is waited for
	agreed    []string      // to more
}

func (w twin) at(now time.Time) standing {
	s := standing{state: Requested, from: w.from}
	needed := w.policy.ApprovalsNeeded()
	begin := func(at time.Time) {
		s.state = Approved
		if s.from.Before(at) {
			s.from = at
		}
		s.until = s.from.Add(w.long)
	}
	if w.kind == BreakGlass {
		needed = 0
	}
	if needed == 0 {
		begin(w.asked)
	}
	pass := func(at time.Time) {
		switch {
		case s.state == Requested && !at.Before(w.asked.Add(w.policy.Wait())):
			s.state = Lapsed
		case s.state == Approved && !at.Before(s.until):
			s.state = Expired
		}
	}
	longer := func() {
		want := w.policy.ApprovalsNeeded()
		if w.kind == BreakGlass && want == 0 {
			want = 1
		}
		if len(s.agreed) >= want {
			s.until, s.more, s.agreed = s.until.Add(s.more), 0, nil
		}
	}
	for _, d := range w.done {
		pass(d.at)
		switch d.what {
		case "approve":
			if s.state == Requested {
				if s.approvers = append(s.approvers, d.by.ID); len(s.approvers) == needed {
					begin(d.at)
				}
			} else {
				s.agreed = append(s.agreed, d.by.ID)
				if want := max(w.policy.ApprovalsNeeded(), 1); len(s.agreed) >= want {
					s.until, s.more, s.agreed = s.until.Add(s.more), 0, nil
				}
			}
		case "deny":
			if s.state == Requested {
				s.state = Denied
			} else {
				s.more, s.agreed = 0, nil
			}
		case "revoke":
			switch {
			case s.state == Approved:
				s.state = Revoked
			case d.by.ID == w.person:
				s.state = Withdrawn
			default:
				s.state = Denied
			}
		case "extend":
			s.more, s.agreed = d.more, nil
			if decides(d.by) && (d.by.ID != w.person || w.policy.SelfApproval) {
				s.agreed = []string{d.by.ID}
			}
			longer()
		}
	}
	pass(now)
	if s.state != Approved && s.state != Requested {
		s.more, s.agreed = 0, nil
	}
	return s
}

func decides(p Person) bool {
	return p.Tenant == "ot" && (slices.Contains(p.Roles, resource.RoleApprover) || slices.Contains(p.Roles, resource.RoleOwner))
}

// may tells whether a deed is allowed where the grant stands.
func (w twin) may(d deed) bool {
	s := w.at(d.at)
	own := d.by.ID == w.person
	switch d.what {
	case "approve":
		waits, already := s.state == Requested, s.approvers
		if s.state == Approved && s.more > 0 {
			waits, already = true, s.agreed
		}
		return waits && decides(d.by) && (!own || w.policy.SelfApproval) && !slices.Contains(already, d.by.ID)
	case "deny":
		return decides(d.by) && (s.state == Requested || s.state == Approved && s.more > 0)
	case "revoke":
		return (own || decides(d.by)) && (s.state == Requested || s.state == Approved)
	}
	most := w.policy.Longest()
	if w.kind == BreakGlass {
		most = w.policy.Emergency()
	}
	return (own || decides(d.by)) && s.state == Approved && s.more == 0 && d.more >= shortest && s.until.Add(d.more).Sub(s.from) <= most
}

func TestAgainstTheWholeHistory(t *testing.T) {
	people := []Person{alice, boss, carl, odin, audit, maker}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 2).Draw(t, "approvals")
		p := &resource.AccessPolicySpec{
			Approvals: &n, SelfApproval: rapid.Bool().Draw(t, "self"), MaxMinutes: 240, WaitMinutes: 60, BreakGlass: true, BreakGlassMinutes: 120,
		}
		by := rapid.SampledFrom([]Person{alice, boss, odin}).Draw(t, "who")
		r := Request{Reason: "spindle", For: time.Duration(rapid.IntRange(1, 120).Draw(t, "for")) * time.Minute}
		if rapid.Bool().Draw(t, "emergency") {
			r.Kind = BreakGlass
		} else if rapid.Bool().Draw(t, "later") {
			r.From = t0.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "from")) * time.Minute)
		}
		g, err := New(r, by, "ot", p, t0)
		if err != nil {
			t.Fatal(err)
		}
		w := twin{policy: p, person: by.ID, kind: g.Kind, asked: t0, from: r.From, long: r.For}
		now := t0
		final := State("")
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "pass")) * time.Minute)
			d := deed{
				at: now, by: rapid.SampledFrom(people).Draw(t, "by"), what: rapid.SampledFrom([]string{"approve", "approve", "deny", "revoke", "extend", "extend", "wait"}).Draw(t, "what"),
				more: time.Duration(rapid.IntRange(0, 200).Draw(t, "more")) * time.Minute,
			}
			if d.what == "wait" {
				if next, changed := g.Age(now); changed {
					g = next
				}
			} else {
				next, err := take(g, d, p)
				if want := w.may(d); (err == nil) != want {
					t.Fatalf("%s by %s of %+v: %v, the history says %v", d.what, d.by.Name, g, err, want)
				}
				if err == nil {
					g = next
					w.done = append(w.done, d)
				}
			}
			compare(t, g, w, now)
			if final != "" && g.State != final {
				t.Fatalf("%s became %s", final, g.State)
			}
			if g.State.Final() {
				final = g.State
			}
		}
	})
}

func take(g Grant, d deed, p *resource.AccessPolicySpec) (Grant, error) {
	switch d.what {
	case "approve":
		return g.Approve(d.by, "", p, d.at)
	case "deny":
		return g.Deny(d.by, "", d.at)
	case "revoke":
		return g.Revoke(d.by, "", d.at)
	}
	return g.Extend(d.by, d.more, "spindle", p, d.at)
}

func compare(t *rapid.T, g Grant, w twin, now time.Time) {
	aged, _ := g.Age(now)
	s := w.at(now)
	if aged.State != s.state {
		t.Fatalf("the grant is %s, its history %s", aged.State, s.state)
	}
	if aged.Live(now) != (s.state == Approved) {
		t.Fatalf("it is live: %v, in a grant that is %s", aged.Live(now), s.state)
	}
	if s.until.IsZero() != g.Until.IsZero() || !s.until.IsZero() && (!g.Until.Equal(s.until) || !g.From.Equal(s.from)) {
		t.Fatalf("it is from %s to %s, its history from %s to %s", g.From, g.Until, s.from, s.until)
	}
	if g.Until.Sub(g.From) > 4*time.Hour && !g.Until.IsZero() {
		t.Fatalf("it lasts %s", g.Until.Sub(g.From))
	}
	if len(g.Approvals) != len(s.approvers) {
		t.Fatalf("%d approvals, %d in its history", len(g.Approvals), len(s.approvers))
	}
	more := time.Duration(0)
	if aged.Extension != nil {
		more = aged.Extension.For
	}
	if more != s.more {
		t.Fatalf("%s more are waited for, in its history %s", more, s.more)
	}
}
