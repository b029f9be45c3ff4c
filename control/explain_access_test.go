package control

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func (s *site) why(p Principal, q AccessQuestion) AccessExplanation {
	s.t.Helper()
	x, err := s.ExplainAccess(ctx, p, q)
	if err != nil {
		s.t.Fatal(err)
	}
	return x
}

// stuck checks which condition is the first that does not hold.
func stuck(t *testing.T, x AccessExplanation, what, next string) {
	t.Helper()
	for _, st := range x.Steps {
		if st.Holds {
			continue
		}
		if st.What != what || !strings.Contains(st.Next, next) || x.Open || x.Next != st.Next || !strings.Contains(x.Summary, what) {
			t.Errorf("stuck at %+v, want %q, next %q\n%+v", st, what, next, x)
		}
		return
	}
	t.Errorf("nothing is in the way of what should fail at %q: %+v", what, x)
}

func TestWhySomebodyIsNotLetIn(t *testing.T) {
	s := newSite(t)
	q := AccessQuestion{Target: pressSSH}
	stuck(t, s.why(s.alice, q), "the person has a grant", "isthmus access request "+pressSSH)
	g := s.ask(s.alice, pressSSH)
	stuck(t, s.why(s.alice, q), "the grant is approved", "bob@example.net, erin@example.net, odin@example.net for: isthmus access approve "+g.ID)
	s.decide(s.erin, g.ID, ApproveGrant)
	stuck(t, s.why(s.alice, q), "the agent press-4 is connected", "check that it runs")
	plans, stop := s.watch(s.press)
	p := <-plans
	stuck(t, s.why(s.alice, q), "it knows of the grant", "within a second")
	if err := s.Report(ctx, s.press, AgentReport{PlanRevision: p.Revision}); err != nil {
		t.Fatal(err)
	}
	if x := s.why(s.alice, q); !x.Open || !strings.Contains(x.Summary, "is let into "+pressSSH+" until 2026-11-22T") || x.Grant != g.ID {
		t.Errorf("%+v", x)
	}
	refused := s.opens(1, g)
	refused.Phase, refused.End, refused.Words, refused.At = session.Refused, session.Unreachable, "connection refused", s.clk.Now().Add(time.Second)
	s.note(s.press, refused)
	if x := s.why(s.alice, q); !x.Open || !strings.Contains(x.Summary, "the last try was refused") || !strings.Contains(x.Summary, "connection refused") || len(x.Refused) != 1 || x.Next == "" {
		t.Errorf("%+v", x)
	}
	if err := stop(); err == nil {
		t.Error("a watch ended by itself")
	}
	s.apply(otOps, target(pressSSH, "press-4", "127.0.0.1:22", overSSH, func(s *resource.TargetSpec) { s.State, s.VisibleTo = resource.TargetDisabled, []string{"it"} }))
	stuck(t, s.why(s.alice, q), "the target is enabled", "Enabled")
	s.decide(s.alice, g.ID, RevokeGrant)
	stuck(t, s.why(s.alice, AccessQuestion{Grant: g.ID}), "the target is enabled", "Enabled")
	s.apply(otOps, target(pressSSH, "press-4", "127.0.0.1:22", overSSH, func(s *resource.TargetSpec) { s.VisibleTo = []string{"it"} }))
	x := s.why(s.alice, AccessQuestion{Grant: g.ID})
	stuck(t, x, "the grant is approved", "isthmus access request")
	if !strings.Contains(x.Summary, "it is Revoked by alice@example.net of ot since 2026-11-22T") {
		t.Errorf("%s", x.Summary)
	}
	s.apply(otOps, target(pressPLC, "drill-9", "192.168.0.10:502"))
	s.let(s.alice, pressPLC)
	stuck(t, s.why(s.alice, AccessQuestion{Target: pressPLC}), "the agent drill-9 has joined", "isthmus token join --for agent --network ot/plant-7 --name drill-9")
}

func TestWhoMayAskWhy(t *testing.T) {
	s := newSite(t)
	g := s.ask(s.alice, pressSSH)
	for _, p := range []Principal{s.erin, s.ute, s.odin, otOps} {
		if x := s.why(p, AccessQuestion{Target: pressSSH, Person: "alice@example.net"}); x.Person != "alice@example.net of ot" || x.Grant != g.ID {
			t.Errorf("%s: %+v", p.Name, x)
		}
	}
	stuck(t, s.why(s.ute, AccessQuestion{Target: pressSSH}), "the person may be let into targets", "for the role operator")
	s.ask(s.ivy, pressSSH) // so that she is known here
	stuck(t, s.why(s.odin, AccessQuestion{Target: pressPLC, Person: "it/ivy@example.com"}), "the target is visible to it", "spec.visibleTo")
	for name, c := range map[string]struct {
		p     Principal
		q     AccessQuestion
		kind  fault.Kind
		words string
	}{
		"an operator about another":  {s.alice, AccessQuestion{Target: pressSSH, Person: "bob@example.net"}, fault.Denied, "asks about himself only"},
		"a guest about another":      {s.ivy, AccessQuestion{Target: pressSSH, Person: "alice@example.net"}, fault.Denied, "asks about himself only"},
		"a stranger":                 {s.xeno, AccessQuestion{Target: pressSSH}, fault.NotFound, "there is no"},
		"a guest of what she is not": {s.ivy, AccessQuestion{Target: pressPLC}, fault.NotFound, "there is no"},
		"about another's grant":      {s.ivy, AccessQuestion{Grant: g.ID}, fault.NotFound, "there is no grant"},
		"about nobody":               {s.erin, AccessQuestion{Target: pressSSH, Person: "nobody"}, fault.NotFound, "there is no person"},
		"a program about itself":     {otOps, AccessQuestion{Target: pressSSH}, fault.Invalid, "needs a person"},
		"about nothing":              {s.alice, AccessQuestion{}, fault.Invalid, "does not name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.ExplainAccess(ctx, c.p, c.q)
			want(t, err, c.kind, c.words)
		})
	}
}

// The conditions by themselves: one fact is wrong, and the explanation is stuck there.
func TestEachConditionByItself(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	alice := grant.Person{ID: "a", Name: "alice", Tenant: "ot", Roles: roles{operator}}
	good := func() accessFacts {
		tg := target("ot/plant-7/press-ssh", "press-4", "127.0.0.1:22")
		return accessFacts{
			now: now, tenant: "ot", path: "ot/plant-7/press-ssh", target: tg, policy: &resource.AccessPolicySpec{}, leader: "the agent press-4", person: alice,
			leads: &leaderFacts{connected: true, seen: now, certificate: now.Add(time.Hour), revision: "r", wanted: "r"},
			g: &grant.Grant{ID: "g1", Tenant: "ot", State: grant.Approved, Kind: grant.Standing, Person: alice, From: now.Add(-time.Hour), Until: now.Add(time.Hour), Needed: 1,
				Hours: &resource.WorkingHours{Days: []string{"Mon"}, From: "08:00", To: "09:30", TimeZone: "UTC"}},
		}
	}
	if x := explainAccess(good()); !x.Open || !strings.Contains(x.Summary, "until 2026-11-23T09:30:00Z") {
		t.Fatalf("%+v", x)
	}
	for name, c := range map[string]struct {
		wrong      func(*accessFacts)
		what, next string
	}{
		"deleted":     {func(f *accessFacts) { f.target = nil }, "the target is there", "isthmus get targets"},
		"disabled":    {func(f *accessFacts) { f.disabled = true }, "the person may be let into targets", "ask an owner"},
		"gone":        {func(f *accessFacts) { f.gone = true }, "the person may be let into targets", "makes the person again"},
		"no role":     {func(f *accessFacts) { f.person.Roles = roles{auditor} }, "the person may be let into targets", "the role operator"},
		"denied":      {func(f *accessFacts) { f.g.State, f.g.EndedBy = grant.Denied, "erin of ot" }, "the grant is approved", "isthmus access request"},
		"tomorrow":    {func(f *accessFacts) { f.g.From = now.Add(time.Minute) }, "the grant is in force now", "wait until"},
		"over":        {func(f *accessFacts) { f.g.Until = now }, "the grant is in force now", "isthmus access request"},
		"at night":    {func(f *accessFacts) { f.g.Hours.From, f.g.Hours.To = "22:00", "23:00" }, "these are its working hours", "wait until 2026-11-23T22:00:00Z"},
		"no such day": {func(f *accessFacts) { f.g.Hours.TimeZone = "Nowhere" }, "these are its working hours", "ask for access for a while"},
		"lapsed":      {func(f *accessFacts) { f.leads.certificate = now.Add(-time.Hour) }, "its certificate is good", "renews its certificate"},
		"not there":   {func(f *accessFacts) { f.leads.connected = false }, "the agent press-4 is connected", "check that it runs"},
		"late":        {func(f *accessFacts) { f.leads.revision = "q" }, "it knows of the grant", "within a second"},
		"not joined":  {func(f *accessFacts) { f.leads = nil }, "the agent press-4 has joined", "token join"},
	} {
		t.Run(name, func(t *testing.T) {
			f := good()
			c.wrong(&f)
			stuck(t, explainAccess(f), c.what, c.next)
		})
	}
}
