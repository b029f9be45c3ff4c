package grant

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func request(t *testing.T, r Request, by Person, p *resource.AccessPolicySpec) Grant {
	t.Helper()
	if r.Reason == "" {
		r.Reason = "spindle 2 trips"
	}
	g, err := New(r, by, "ot", p, t0)
	if err != nil {
		t.Fatal(err)
	}
	g.ID = "g1"
	return g
}

func refused(t *testing.T, before, after Grant, err error, kind fault.Kind, words string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(fault.Message(err), words) {
		t.Errorf("got %v\nwant %s: %s", err, kind, words)
	}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("a step that was refused has changed the grant: %+v", after)
	}
}

func TestNobodyDecidesForHimself(t *testing.T) {
	p := &resource.AccessPolicySpec{}
	g := request(t, Request{}, boss, p)
	after, err := g.Approve(boss, "", p, t0)
	refused(t, g, after, err, fault.Denied, "nobody approves what he asked for himself")
	// Whom it is for has nothing to say either, when an owner asked.
	standing := &resource.AccessPolicySpec{Standing: true}
	g = request(t, Request{Kind: Standing, Whom: &boss}, odin, standing)
	for _, by := range []Person{boss, odin} {
		after, err = g.Approve(by, "", standing, t0)
		refused(t, g, after, err, fault.Denied, "nobody approves what he asked for himself")
	}
	p.SelfApproval = true
	g = request(t, Request{}, boss, p)
	if after, err = g.Approve(boss, "", p, t0); err != nil || after.State != Approved {
		t.Errorf("%+v, %v", after, err)
	}
}

func TestWhoDecides(t *testing.T) {
	p := &resource.AccessPolicySpec{}
	g := request(t, Request{Ask: []string{boss.Name}}, alice, p)
	for by, words := range map[*Person]string{&audit: "is no approver of ot", &alice: "is no approver of ot", &maker: "is no approver of ot", &carl: "was made to"} {
		after, err := g.Approve(*by, "", p, t0)
		refused(t, g, after, err, fault.Denied, words)
	}
	for _, by := range []Person{boss, odin} { // an owner in the place of who was asked
		if after, err := g.Approve(by, "fine", p, t0); err != nil || after.State != Approved || after.Approvals[0].Why != "fine" {
			t.Errorf("%s: %+v, %v", by.Name, after, err)
		}
	}
	for _, by := range []Person{alice, audit, maker} {
		after, err := g.Deny(by, "", t0)
		refused(t, g, after, err, fault.Denied, "is no approver of ot")
	}
	after, err := g.Deny(carl, "not now", t0)
	if err != nil || after.State != Denied || after.EndedBy != "carl@example.net of ot" || after.EndReason != "not now" {
		t.Errorf("%+v, %v", after, err)
	}
}

func TestTwoApprovers(t *testing.T) {
	p := approvals(2)
	g := request(t, Request{For: time.Hour}, alice, p)
	one, err := g.Approve(carl, "", p, t0.Add(time.Minute))
	if err != nil || one.State != Requested || len(one.Approvals) != 1 || len(g.Approvals) != 0 {
		t.Fatalf("%+v, %v", one, err)
	}
	again, err := one.Approve(carl, "", p, t0.Add(2*time.Minute))
	refused(t, one, again, err, fault.Conflict, "approved already; 1 more are needed")
	two, err := one.Approve(boss, "", p, t0.Add(10*time.Minute))
	if err != nil || two.State != Approved || !two.From.Equal(t0.Add(10*time.Minute)) || !two.Until.Equal(t0.Add(70*time.Minute)) || len(two.ApprovedBy()) != 2 {
		t.Errorf("%+v, %v", two, err)
	}
	more, err := two.Approve(odin, "", p, t0.Add(11*time.Minute))
	refused(t, two, more, err, fault.Conflict, "the grant is Approved")
	// A policy that wants less now does not make less of what was needed when it was asked for.
	one, err = g.Approve(carl, "", approvals(1), t0)
	if err != nil || one.State != Requested {
		t.Errorf("%+v, %v", one, err)
	}
}

func TestTimeEndsIt(t *testing.T) {
	p := &resource.AccessPolicySpec{WaitMinutes: 10}
	g := request(t, Request{For: time.Hour}, alice, p)
	late := t0.Add(10 * time.Minute)
	after, err := g.Approve(boss, "", p, late)
	refused(t, g, after, err, fault.Conflict, "the grant is Lapsed")
	if lapsed, changed := g.Age(late); !changed || lapsed.State != Lapsed || !lapsed.EndedAt.Equal(late) {
		t.Errorf("%+v", lapsed)
	}
	if _, changed := g.Age(late.Add(-1)); changed {
		t.Error("it lapsed early")
	}
	in, err := g.Approve(boss, "", p, t0)
	if err != nil {
		t.Fatal(err)
	}
	if _, changed := in.Age(t0.Add(time.Hour - 1)); changed {
		t.Error("it expired early")
	}
	expired, changed := in.Age(t0.Add(2 * time.Hour))
	if !changed || expired.State != Expired || !expired.EndedAt.Equal(t0.Add(time.Hour)) || !expired.State.Final() {
		t.Errorf("%+v", expired)
	}
	for what, do := range map[string]func(Grant) (Grant, error){
		"approve": func(g Grant) (Grant, error) { return g.Approve(boss, "", p, t0.Add(2*time.Hour)) },
		"deny":    func(g Grant) (Grant, error) { return g.Deny(boss, "", t0.Add(2*time.Hour)) },
		"revoke":  func(g Grant) (Grant, error) { return g.Revoke(alice, "", t0.Add(2*time.Hour)) },
		"extend":  func(g Grant) (Grant, error) { return g.Extend(alice, time.Hour, "more", p, t0.Add(2*time.Hour)) },
	} {
		for _, g := range []Grant{in, expired} { // also before anybody has said so
			after, err := do(g)
			refused(t, g, after, err, fault.Conflict, "the grant is Expired")
			if !strings.Contains(fault.Next(err), "isthmus access request") {
				t.Errorf("%s: %s", what, fault.Next(err))
			}
		}
	}
}

func TestRevoke(t *testing.T) {
	p := &resource.AccessPolicySpec{}
	asked := request(t, Request{}, alice, p)
	in, err := asked.Approve(boss, "", p, t0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		g    Grant
		by   Person
		want State
		step string
	}{
		{asked, alice, Withdrawn, "withdraw"}, {asked, boss, Denied, "deny"}, {in, alice, Revoked, "revoke"}, {in, carl, Revoked, "revoke"}, {in, odin, Revoked, "revoke"},
	} {
		after, err := c.g.Revoke(c.by, "enough", t0.Add(time.Minute))
		if err != nil || after.State != c.want || after.Steps[len(after.Steps)-1].What != c.step || after.EndedBy != c.by.Who() || after.EndReason != "enough" {
			t.Errorf("%s of a grant that is %s: %+v, %v", c.by.Name, c.g.State, after, err)
		}
	}
	for _, by := range []Person{audit, maker} {
		after, err := in.Revoke(by, "", t0)
		refused(t, in, after, err, fault.Denied, "is no approver of ot")
	}
	gone := in.Cancel("root of the deployment", "the target was deleted", t0)
	if gone.State != Revoked || gone.EndReason != "the target was deleted" {
		t.Errorf("%+v", gone)
	}
	if gone = asked.Cancel("root of the deployment", "the target was deleted", t0); gone.State != Denied {
		t.Errorf("%+v", gone)
	}
}

func TestMoreTime(t *testing.T) {
	p := &resource.AccessPolicySpec{MaxMinutes: 120}
	g, err := request(t, Request{For: time.Hour}, alice, p).Approve(boss, "", p, t0)
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []time.Duration{61 * time.Minute, time.Second, -time.Hour, math.MaxInt64, math.MaxInt64 - time.Hour, math.MinInt64} {
		after, err := g.Extend(alice, more, "the second drive too", p, t0)
		refused(t, g, after, err, fault.Invalid, "allows 2h in all")
	}
	after, err := g.Extend(alice, time.Hour, "", p, t0)
	refused(t, g, after, err, fault.Invalid, "reason")
	after, err = g.Extend(maker, time.Hour, "the second drive too", p, t0)
	refused(t, g, after, err, fault.Denied, "neither who was let in nor an approver")

	waits, err := g.Extend(alice, time.Hour, "the second drive too", p, t0.Add(time.Minute))
	if err != nil || waits.Extension == nil || !waits.Until.Equal(g.Until) || !waits.Waits() {
		t.Fatalf("%+v, %v", waits, err)
	}
	after, err = waits.Extend(alice, time.Hour, "and the third", p, t0)
	refused(t, waits, after, err, fault.Conflict, "asked for already")
	after, err = waits.Approve(alice, "", p, t0)
	refused(t, waits, after, err, fault.Denied, "is no approver")
	longer, err := waits.Approve(carl, "", p, t0.Add(2*time.Minute))
	if err != nil || !longer.Until.Equal(g.Until.Add(time.Hour)) || longer.For != 2*time.Hour || longer.Extension != nil {
		t.Errorf("%+v, %v", longer, err)
	}
	shorter, err := waits.Deny(carl, "no", t0.Add(2*time.Minute))
	if err != nil || !shorter.Until.Equal(g.Until) || shorter.Extension != nil || shorter.State != Approved {
		t.Errorf("%+v, %v", shorter, err)
	}
	// What an approver asks for another holds at once; what he asks for himself does not.
	if longer, err = g.Extend(carl, time.Hour, "go on", p, t0); err != nil || !longer.Until.Equal(g.Until.Add(time.Hour)) {
		t.Errorf("%+v, %v", longer, err)
	}
	own, err := request(t, Request{For: time.Hour}, boss, p).Approve(carl, "", p, t0)
	if err != nil {
		t.Fatal(err)
	}
	if waits, err = own.Extend(boss, time.Hour, "go on", p, t0); err != nil || waits.Extension == nil {
		t.Errorf("%+v, %v", waits, err)
	}
	if after, err = waits.Approve(boss, "", p, t0); err == nil {
		t.Errorf("he approved it himself: %+v", after)
	}
	// With two approvers one who asks is one of them.
	two := approvals(2)
	two.MaxMinutes = 120
	g2 := request(t, Request{For: time.Hour}, alice, two)
	g2, _ = g2.Approve(carl, "", two, t0)
	g2, _ = g2.Approve(boss, "", two, t0)
	waits, err = g2.Extend(carl, time.Hour, "go on", two, t0)
	if err != nil || waits.Extension == nil {
		t.Fatalf("%+v, %v", waits, err)
	}
	if after, err = waits.Approve(carl, "", two, t0); fault.KindOf(err) != fault.Conflict || err == nil {
		t.Errorf("%+v, %v", after, err)
	}
	if longer, err = waits.Approve(boss, "", two, t0); err != nil || !longer.Until.Equal(g2.Until.Add(time.Hour)) {
		t.Errorf("%+v, %v", longer, err)
	}
	// An emergency gets longer only with somebody's consent, whatever the policy wants for others.
	none := approvals(0)
	none.BreakGlass, none.BreakGlassMinutes = true, 60
	glass := request(t, Request{Kind: BreakGlass, For: 30 * time.Minute}, alice, none)
	if waits, err = glass.Extend(alice, 30*time.Minute, "still burns", none, t0); err != nil || waits.Extension == nil {
		t.Errorf("%+v, %v", waits, err)
	}
}

func TestEmergenciesAreLookedAt(t *testing.T) {
	p := &resource.AccessPolicySpec{BreakGlass: true}
	g := request(t, Request{Kind: BreakGlass}, boss, p)
	for _, by := range []Person{alice, maker} {
		after, err := g.Review(by, "I looked", t0)
		refused(t, g, after, err, fault.Denied, "neither approver nor auditor")
	}
	after, err := g.Review(boss, "I looked", t0)
	refused(t, g, after, err, fault.Denied, "of his own")
	after, err = g.Review(audit, "", t0)
	refused(t, g, after, err, fault.Invalid, "reason")
	over, _ := g.Age(t0.Add(24 * time.Hour))
	seen, err := over.Review(audit, "the recording shows the restart only", t0.Add(25*time.Hour))
	if err != nil || seen.Unreviewed() || seen.State != Expired || !over.Unreviewed() {
		t.Errorf("%+v, %v", seen, err)
	}
	after, err = seen.Review(carl, "me too", t0)
	refused(t, seen, after, err, fault.Conflict, "reviewed already")
	once := request(t, Request{}, alice, p)
	after, err = once.Review(carl, "I looked", t0)
	refused(t, once, after, err, fault.Conflict, "nothing to look at")
}
