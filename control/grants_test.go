package control

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

// site is a plant in which people may be let into a press.
type site struct {
	*rig
	press identity.ID

	alice, bob, erin, ute, odin Principal // of ot: operator, operator and approver, approver, auditor, owner
	ivy                         Principal // of it, with every role
	xeno                        Principal // of xx, with every role
}

const pressSSH, pressPLC = "ot/plant-7/press-ssh", "ot/plant-7/press-plc"

func newSite(t testing.TB, rules ...func(*resource.AccessPolicySpec)) *site {
	t.Helper()
	r := plant(t)
	s := &site{rig: r, press: r.join(JoinAgent, "ot/plant-7/press-4")}
	r.apply(otOps, policy("ot/default", rules...))
	r.apply(otOps, target(pressSSH, "press-4", "127.0.0.1:22", overSSH, func(s *resource.TargetSpec) { s.VisibleTo = []string{"it"} }),
		target(pressPLC, "press-4", "192.168.0.10:502"))
	every := roles{owner, networkAdmin, operator, approver, auditor}
	s.alice, s.bob = r.human("ot", "alice@example.net", operator), r.human("ot", "bob@example.net", operator, approver)
	s.erin, s.ute, s.odin = r.human("ot", "erin@example.net", approver), r.human("ot", "ute@example.net", auditor), r.human("ot", "odin@example.net", owner)
	s.ivy, s.xeno = r.human("it", "ivy@example.com", every...), r.human("xx", "xeno@example.org", every...)
	return s
}

// ask must work.
func (s *site) ask(p Principal, path string, with ...func(*GrantRequest)) GrantView {
	s.t.Helper()
	r := GrantRequest{Target: path, Reason: "spindle 2 trips", For: time.Hour}
	for _, f := range with {
		f(&r)
	}
	g, err := s.RequestGrant(ctx, p, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

// decide must work.
func (s *site) decide(p Principal, id string, d GrantDecision, more ...time.Duration) GrantView {
	s.t.Helper()
	g, err := s.DecideGrant(ctx, p, id, d, "decided in a test", append(more, 0)[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

// let is a grant in force.
func (s *site) let(p Principal, path string) GrantView {
	s.t.Helper()
	return s.decide(s.erin, s.ask(p, path).ID, ApproveGrant)
}

// did are the operations of a chain about a kind.
func (s *site) did(tenant string, kind resource.Kind) []string {
	s.t.Helper()
	list, err := s.Audit(ctx, admin, AuditFilter{Tenant: tenant, Kind: string(kind), Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		out = append(out, a.Operation+" by "+a.Who)
	}
	return out
}

func (s *site) ids(p Principal, f GrantFilter) []string {
	s.t.Helper()
	list, err := s.Grants(ctx, p, f)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, g := range list {
		out = append(out, g.ID)
	}
	return out
}

func TestFromAskingToTheEnd(t *testing.T) {
	s := newSite(t)
	g := s.ask(s.alice, pressSSH)
	if g.State != grant.Requested || len(s.targetsOf(s.press)) != 0 || g.MayDecide {
		t.Fatalf("%+v, plan %v", g, s.targetsOf(s.press))
	}
	if want := []string{"bob@example.net", "erin@example.net", "odin@example.net"}; !slices.Equal(g.Approvers, want) {
		t.Errorf("approvers %v, want %v", g.Approvers, want)
	}
	if v, err := s.Grant(ctx, s.erin, g.ID); err != nil || !v.MayDecide {
		t.Errorf("%+v, %v", v, err)
	}
	g = s.decide(s.erin, g.ID, ApproveGrant)
	if got := s.targetsOf(s.press); g.State != grant.Approved || !slices.Equal(got, []string{pressSSH + " for alice@example.net of ot"}) {
		t.Fatalf("%+v, plan %v", g, got)
	}
	if o := s.get(s.alice, resource.KindTarget, pressSSH).(*resource.Target); o.Status.Grants != 1 {
		t.Errorf("the target has %d grants", o.Status.Grants)
	}
	s.decide(s.alice, g.ID, ExtendGrant, 30*time.Minute)
	if g = s.decide(s.bob, g.ID, ApproveGrant); !g.Until.Equal(g.From.Add(90 * time.Minute)) {
		t.Errorf("until %s", g.Until)
	}
	s.decide(s.alice, g.ID, RevokeGrant)
	if got := s.targetsOf(s.press); len(got) != 0 {
		t.Errorf("a revoked grant is in the plan: %v", got)
	}
	want := []string{
		"request by alice@example.net of ot", "approve by erin@example.net of ot", "extend by alice@example.net of ot",
		"approve by bob@example.net of ot", "revoke by alice@example.net of ot",
	}
	if got := s.did("ot", kindGrant); !slices.Equal(got, want) {
		t.Errorf("audit %v", got)
	}
	if err := s.VerifyAudit(ctx, admin); err != nil {
		t.Error(err)
	}
}

func TestWhoSeesWhichGrants(t *testing.T) {
	s := newSite(t)
	a, b, i := s.ask(s.alice, pressSSH).ID, s.ask(s.bob, pressPLC).ID, s.ask(s.ivy, pressSSH).ID
	all := []string{a, b, i}
	for who, want := range map[*Principal][]string{
		&s.alice: {a}, &s.bob: all, &s.erin: all, &s.ute: all, &s.odin: all, &s.ivy: {i}, &s.xeno: nil, &otOps: all, &otRead: all, &itOps: nil, &admin: all,
		{Name: "net", Tenant: "ot", Role: RoleNetworkAdmin}: nil,
	} {
		got := s.ids(*who, GrantFilter{})
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s sees %v, want %v", who.Name, got, want)
		}
		for _, id := range all {
			_, err := s.Grant(ctx, *who, id)
			if sees := slices.Contains(want, id); (err == nil) != sees || err != nil && fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s reads %s: %v", who.Name, id, err)
			}
		}
	}
	// What is not there and what is not for these eyes is the same.
	_, err1 := s.Grant(ctx, s.xeno, a)
	_, err2 := s.Grant(ctx, s.xeno, "nosuchgrant")
	if strings.ReplaceAll(fault.Message(err1), a, "X") != strings.ReplaceAll(fault.Message(err2), "nosuchgrant", "X") {
		t.Errorf("%v, but %v", err1, err2)
	}
	for _, d := range []GrantDecision{ApproveGrant, DenyGrant, RevokeGrant, ExtendGrant, ReviewGrant} {
		_, err := s.DecideGrant(ctx, s.xeno, a, d, "mine now", time.Hour)
		want_(t, err, fault.NotFound, "there is no grant")
	}
	// Of people who may approve another tenant is told nothing.
	if v, err := s.Grant(ctx, s.ivy, i); err != nil || v.Approvers != nil || v.MayDecide {
		t.Errorf("%+v, %v", v, err)
	}
	for name, f := range map[string]struct {
		f    GrantFilter
		want []string
	}{
		"mine": {GrantFilter{Mine: true}, []string{b}}, "of alice": {GrantFilter{Person: "alice@example.net"}, []string{a}}, "a target's": {GrantFilter{Target: pressPLC}, []string{b}},
		"approved": {GrantFilter{State: grant.Approved}, nil}, "open": {GrantFilter{Open: true}, []string{i, b, a}}, "two": {GrantFilter{Limit: 2}, []string{i, b}},
		"another tenant's": {GrantFilter{Tenant: "it"}, nil},
	} {
		got := s.ids(s.bob, f.f)
		slices.Sort(got)
		slices.Sort(f.want)
		if name != "two" && !slices.Equal(got, f.want) || len(got) != len(f.want) {
			t.Errorf("%s: %v, want %v", name, got, f.want)
		}
	}
	if _, err := s.Grants(ctx, s.bob, GrantFilter{Limit: 1001}); fault.KindOf(err) != fault.Invalid || err == nil {
		t.Error(err)
	}
}

// want_ is want for what may come without advice.
func want_(t testing.TB, err error, kind fault.Kind, words string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(fault.Message(err), words) {
		t.Errorf("got %v\nwant %s: %s", err, kind, words)
	}
}

func TestWhatNobodyMayAskFor(t *testing.T) {
	s := newSite(t, func(p *resource.AccessPolicySpec) { p.BreakGlass, p.Standing = true, true })
	off := target("ot/plant-7/off", "press-4", "127.0.0.1:23", func(s *resource.TargetSpec) { s.State = resource.TargetDisabled })
	s.apply(otOps, off)
	for name, c := range map[string]struct {
		p     Principal
		r     GrantRequest
		kind  fault.Kind
		words string
	}{
		"a program":                 {otOps, GrantRequest{Target: pressSSH, Reason: "spindle"}, fault.Denied, "only people are let into machines"},
		"an administrator":          {admin, GrantRequest{Target: pressSSH, Reason: "spindle"}, fault.Denied, "only people are let into machines"},
		"an auditor":                {s.ute, GrantRequest{Target: pressSSH, Reason: "spindle"}, fault.Denied, "no role that may be let into targets"},
		"what is not there":         {s.alice, GrantRequest{Target: "ot/plant-7/nothing", Reason: "spindle"}, fault.NotFound, "there is no"},
		"what is not for her eyes":  {s.ivy, GrantRequest{Target: pressPLC, Reason: "spindle"}, fault.NotFound, "there is no"},
		"a stranger":                {s.xeno, GrantRequest{Target: pressSSH, Reason: "spindle"}, fault.NotFound, "there is no"},
		"what is disabled":          {s.alice, GrantRequest{Target: "ot/plant-7/off", Reason: "spindle"}, fault.Conflict, "is disabled"},
		"no name":                   {s.alice, GrantRequest{Target: "press-ssh", Reason: "spindle"}, fault.Invalid, "does not name a"},
		"an address":                {s.alice, GrantRequest{Target: "10.0.0.1:22", Reason: "spindle"}, fault.Invalid, "does not name a"},
		"a week":                    {s.alice, GrantRequest{Target: pressSSH, Reason: "spindle", For: 7 * 24 * time.Hour}, fault.Invalid, "7 days were asked for"},
		"an approver who is none":   {s.alice, GrantRequest{Target: pressSSH, Reason: "spindle", Ask: []string{"ute@example.net"}}, fault.NotFound, "is no approver of ot"},
		"an approver who is nobody": {s.alice, GrantRequest{Target: pressSSH, Reason: "spindle", Ask: []string{"nobody"}}, fault.NotFound, "is no approver of ot"},
		"an emergency of others":    {s.ivy, GrantRequest{Target: pressSSH, Reason: "fire", Kind: grant.BreakGlass}, fault.Denied, "people of the tenant that owns the target"},
		"for another as operator":   {s.alice, GrantRequest{Target: pressSSH, Reason: "contract", Kind: grant.Standing, Person: "bob@example.net"}, fault.Denied, "only an owner or approver of ot asks for others"},
		"for nobody":                {s.odin, GrantRequest{Target: pressSSH, Reason: "contract", Kind: grant.Standing, Person: "nobody"}, fault.NotFound, "there is no person"},
		"for one who may not know":  {s.odin, GrantRequest{Target: pressSSH, Reason: "contract", Kind: grant.Standing, Person: "xx/xeno@example.org"}, fault.NotFound, "there is no person"},
		"for another from outside":  {s.ivy, GrantRequest{Target: pressSSH, Reason: "contract", Kind: grant.Standing, Person: "ot/alice@example.net"}, fault.Denied, "only an owner or approver of ot"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.RequestGrant(ctx, c.p, c.r)
			want(t, err, c.kind, c.words)
		})
	}
	if got := s.targetsOf(s.press); len(got) != 0 {
		t.Errorf("somebody got in: %v", got)
	}
	if all := s.ids(admin, GrantFilter{}); len(all) != 0 {
		t.Errorf("%d grants were made", len(all))
	}
}

func TestWhoMayNotDecide(t *testing.T) {
	s := newSite(t)
	own := s.ask(s.bob, pressSSH).ID
	_, err := s.DecideGrant(ctx, s.bob, own, ApproveGrant, "why not", 0)
	want(t, err, fault.Denied, "nobody approves what he asked for himself")
	_, err = s.DecideGrant(ctx, s.ute, own, ApproveGrant, "", 0)
	want(t, err, fault.Denied, "is no approver of ot")
	for _, p := range []Principal{otOps, admin, otRead} {
		_, err = s.DecideGrant(ctx, p, own, ApproveGrant, "", 0)
		want(t, err, fault.Denied, "is a program")
	}
	foreign := s.ask(s.ivy, pressSSH).ID
	_, err = s.DecideGrant(ctx, s.ivy, foreign, ApproveGrant, "", 0)
	want(t, err, fault.Denied, "ivy@example.com of it is no approver of ot")
	_, err = s.DecideGrant(ctx, s.erin, own, "eat", "", 0)
	want(t, err, fault.Invalid, "is no decision")
	_, err = s.DecideGrant(ctx, s.erin, own, ApproveGrant, strings.Repeat("x", 501), 0)
	want(t, err, fault.Invalid, "reason has 501 bytes")
	// Programs take away, and give nothing.
	if g := s.decide(otOps, own, RevokeGrant); g.State != grant.Denied || g.EndedBy != "olga of ot" {
		t.Errorf("%+v", g)
	}
	if g := s.decide(admin, foreign, RevokeGrant); g.State != grant.Denied || g.EndedBy != "root of the deployment" {
		t.Errorf("%+v", g)
	}
	denied := 0
	list, err := s.Audit(ctx, admin, AuditFilter{Tenant: "ot", Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.Operation == "denied" && a.Path == "ot/"+own {
			denied++
		}
	}
	if denied < 3 {
		t.Errorf("%d tries that were denied are in the audit log", denied)
	}
}

func TestMuchAskingCostsLittle(t *testing.T) {
	s := newSite(t)
	revision := s.world.revision
	asked, hasty, full := 0, 0, 0
	for i := range 1000 {
		_, err := s.RequestGrant(ctx, s.alice, GrantRequest{Target: pressSSH, Reason: fmt.Sprintf("try %d", i)})
		switch {
		case err == nil:
			asked++
		case strings.Contains(fault.Message(err), "too often"):
			hasty++
			want(t, err, fault.Exhausted, "too often")
		default:
			full++
		}
	}
	if asked != requestBurst || hasty != 1000-requestBurst || s.world.revision > revision+requestBurst {
		t.Errorf("%d requests of 1000 were taken, %d came too often; %d changes were written", asked, hasty, s.world.revision-revision)
	}
	s.clk.Advance(time.Hour)
	_, err := s.RequestGrant(ctx, s.alice, GrantRequest{Target: pressSSH, Reason: "one more"})
	want(t, err, fault.Exhausted, "20 requests of alice@example.net of ot wait for a decision already")
	if _, err = s.RequestGrant(ctx, s.bob, GrantRequest{Target: pressSSH, Reason: "mine"}); err != nil {
		t.Errorf("another person has to wait too: %v", err)
	}
	// An hour of tries that are denied leaves a bounded number of records.
	own := s.ask(s.bob, pressPLC).ID
	records := len(s.did("ot", kindGrant))
	for range 1000 {
		if _, err := s.DecideGrant(ctx, s.bob, own, ApproveGrant, "", 0); err == nil {
			t.Fatal("he approved his own request")
		}
	}
	if more := len(s.did("ot", kindGrant)) - records; more > deniedBurst || more == 0 {
		t.Errorf("1000 denied tries left %d records", more)
	}
}

func TestEmergency(t *testing.T) {
	s := newSite(t, func(p *resource.AccessPolicySpec) { p.BreakGlass = true })
	for range requestBurst { // who has asked for too much may still break the glass
		_, _ = s.RequestGrant(ctx, s.alice, GrantRequest{Target: pressSSH, Reason: "quick"})
	}
	g := s.ask(s.alice, pressSSH, func(r *GrantRequest) { r.Kind, r.Reason, r.For = grant.BreakGlass, "the press does not stop", 0 })
	if got := s.targetsOf(s.press); g.State != grant.Approved || len(got) != 1 || !g.Unreviewed {
		t.Fatalf("%+v, plan %v", g, got)
	}
	if got := s.did("ot", kindGrant); got[len(got)-1] != "break-glass by alice@example.net of ot" {
		t.Errorf("%v", got)
	}
	_, err := s.DecideGrant(ctx, s.alice, g.ID, ReviewGrant, "all well", 0)
	want(t, err, fault.Denied, "neither approver nor auditor")
	s.decide(s.alice, g.ID, RevokeGrant)
	if got := s.ids(s.ute, GrantFilter{Unreviewed: true}); !slices.Equal(got, []string{g.ID}) {
		t.Errorf("unreviewed: %v", got)
	}
	if v := s.decide(s.ute, g.ID, ReviewGrant); v.Unreviewed || v.State != grant.Revoked {
		t.Errorf("%+v", v)
	}
	if got := s.ids(s.ute, GrantFilter{Unreviewed: true}); len(got) != 0 {
		t.Errorf("unreviewed: %v", got)
	}
}

func TestStandingForSomebodyElse(t *testing.T) {
	s := newSite(t, func(p *resource.AccessPolicySpec) { p.Standing = true })
	g := s.ask(s.odin, pressSSH, func(r *GrantRequest) {
		r.Kind, r.For, r.Person, r.Reason = grant.Standing, 0, "it/ivy@example.com", "maintenance contract 12"
		r.Hours = &resource.WorkingHours{Days: []string{"Mon"}, From: "08:00", To: "17:00", TimeZone: "Europe/Berlin"}
	})
	_, err := s.DecideGrant(ctx, s.odin, g.ID, ApproveGrant, "", 0)
	want(t, err, fault.Denied, "nobody approves what he asked for himself")
	g = s.decide(s.erin, g.ID, ApproveGrant)
	p := s.planOf(s.press)
	if len(p.Targets) != 1 || len(p.Targets[0].Grants) != 1 || p.Targets[0].Grants[0].Hours == nil ||
		p.Targets[0].Grants[0].Person != identity.PersonPrefix("isthmus.test", "it", s.ivy.Person) {
		t.Errorf("%+v", p.Targets)
	}
	if got := s.ids(s.ivy, GrantFilter{}); !slices.Equal(got, []string{g.ID}) {
		t.Errorf("who is let in sees %v", got)
	}
	if got := s.did("it", kindGrant); len(got) != 2 { // her own tenant can read it too
		t.Errorf("%v", got)
	}
}

func TestWhatEndsGrants(t *testing.T) {
	s := newSite(t)
	own, foreign, plc := s.let(s.alice, pressSSH), s.let(s.ivy, pressSSH), s.let(s.alice, pressPLC)
	waits := s.ask(s.ivy, pressSSH)
	state := func(id string) grant.Grant {
		t.Helper()
		v, err := s.Grant(ctx, admin, id)
		if err != nil {
			t.Fatal(err)
		}
		return v.Grant
	}
	// Another address: whoever leads there cuts the sessions, the grants stay.
	s.apply(otOps, target(pressPLC, "press-4", "192.168.0.11:502"))
	if g := state(plc.ID); g.State != grant.Approved {
		t.Errorf("%+v", g)
	}
	// Visibility taken away.
	s.apply(otOps, target(pressSSH, "press-4", "127.0.0.1:22", overSSH))
	for _, id := range []string{foreign.ID, waits.ID} {
		if g := state(id); !g.State.Final() || g.EndReason != "the target is not visible to it any more" {
			t.Errorf("%+v", g)
		}
	}
	if g := state(own.ID); g.State != grant.Approved {
		t.Errorf("%+v", g)
	}
	// The person.
	if err := s.update(ctx, "test", "", func(w *work) error { return w.endGrantsOf(s.alice.Person, "the person was disabled") }); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{own.ID, plc.ID} {
		if g := state(id); g.State != grant.Revoked || g.EndReason != "the person was disabled" {
			t.Errorf("%+v", g)
		}
	}
	if got := s.targetsOf(s.press); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestALengthThatOverflowsIsRefused(t *testing.T) {
	s := newSite(t)
	in := s.let(s.alice, pressSSH)
	_, err := s.DecideGrant(ctx, s.alice, in.ID, ExtendGrant, "for ever", math.MaxInt64)
	want(t, err, fault.Invalid, "allows 8h in all")
}
