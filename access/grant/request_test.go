package grant

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

var (
	t0    = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) // a Monday
	alice = Person{ID: "a", Name: "alice@example.net", Tenant: "ot", Roles: []resource.TenantRole{resource.RoleOperator}}
	boss  = Person{ID: "b", Name: "boss@example.net", Tenant: "ot", Roles: []resource.TenantRole{resource.RoleOperator, resource.RoleApprover}}
	carl  = Person{ID: "c", Name: "carl@example.net", Tenant: "ot", Roles: []resource.TenantRole{resource.RoleApprover}}
	odin  = Person{ID: "o", Name: "odin@example.net", Tenant: "ot", Roles: []resource.TenantRole{resource.RoleOwner}}
	audit = Person{ID: "u", Name: "ute@example.net", Tenant: "ot", Roles: []resource.TenantRole{resource.RoleAuditor}}
	maker = Person{ID: "m", Name: "mia@example.com", Tenant: "maker", Roles: []resource.TenantRole{resource.RoleOperator, resource.RoleApprover, resource.RoleOwner, resource.RoleAuditor}}
)

func approvals(n int) *resource.AccessPolicySpec { return &resource.AccessPolicySpec{Approvals: &n} }

func TestWhatMayBeAskedFor(t *testing.T) {
	hours := &resource.WorkingHours{Days: []string{"Mon"}, From: "08:00", To: "17:00", TimeZone: "UTC"}
	open := &resource.AccessPolicySpec{Standing: true, BreakGlass: true, BreakGlassMinutes: 30}
	for name, c := range map[string]struct {
		r     Request
		by    Person
		p     *resource.AccessPolicySpec
		kind  fault.Kind // of the refusal
		words string     // of the refusal; empty: it is granted or waits
	}{
		"an hour":                       {Request{Reason: "spindle"}, alice, nil, 0, ""},
		"the policy's longest":          {Request{Reason: "spindle", For: 8 * time.Hour}, alice, nil, 0, ""},
		"more than the policy's":        {Request{Reason: "spindle", For: 8*time.Hour + 1}, alice, nil, fault.Invalid, "the policy of the target allows 5s to 8h"},
		"a week":                        {Request{Reason: "spindle", For: 7 * 24 * time.Hour}, alice, nil, fault.Invalid, "7 days were asked for"},
		"for ever":                      {Request{Reason: "spindle", For: math.MaxInt64}, alice, nil, fault.Invalid, "allows"},
		"less than nothing":             {Request{Reason: "spindle", For: -time.Hour}, alice, nil, fault.Invalid, "allows"},
		"a moment":                      {Request{Reason: "spindle", For: time.Second}, alice, nil, fault.Invalid, "1s were asked for"},
		"no reason":                     {Request{}, alice, nil, fault.Invalid, "reason has 0 bytes"},
		"blanks for a reason":           {Request{Reason: "       "}, alice, nil, fault.Invalid, "reason has 0 bytes"},
		"an escape in the reason":       {Request{Reason: "look \x1b]0;here"}, alice, nil, fault.Invalid, "characters that are no text"},
		"a reason that reads otherwise": {Request{Reason: "ton \u202eereht si"}, alice, nil, fault.Invalid, "characters that are no text"},
		"a C1 control in the reason":    {Request{Reason: "look \u009b31m"}, alice, nil, fault.Invalid, "characters that are no text"},
		"a novel for a reason":          {Request{Reason: strings.Repeat("x", MaxReason+1)}, alice, nil, fault.Invalid, "501 bytes"},
		"tomorrow":                      {Request{Reason: "spindle", From: t0.Add(24 * time.Hour)}, alice, nil, 0, ""},
		"in two weeks":                  {Request{Reason: "spindle", From: t0.Add(14 * 24 * time.Hour)}, alice, nil, fault.Invalid, "in more than 7 days"},
		"yesterday":                     {Request{Reason: "spindle", From: t0.Add(-24 * time.Hour)}, alice, nil, fault.Invalid, "which is over"},
		"a moment ago":                  {Request{Reason: "spindle", From: t0.Add(-30 * time.Second)}, alice, nil, 0, ""},
		"of eleven approvers":           {Request{Reason: "spindle", Ask: make([]string, 11)}, alice, nil, fault.Invalid, "11 people"},
		"by an auditor":                 {Request{Reason: "spindle"}, audit, nil, fault.Denied, "no role that may be let into"},
		"by an approver only":           {Request{Reason: "spindle"}, carl, nil, fault.Denied, "no role that may be let into"},
		"by an owner":                   {Request{Reason: "spindle"}, odin, nil, 0, ""},
		"by another tenant's":           {Request{Reason: "spindle"}, maker, nil, 0, ""},
		"of an unknown kind":            {Request{Reason: "spindle", Kind: "Always"}, alice, nil, fault.Invalid, "no kind of grant"},
		"hours for once":                {Request{Reason: "spindle", Hours: hours}, alice, nil, fault.Invalid, "are for standing grants"},
		"for another, once":             {Request{Reason: "spindle", Whom: &boss}, odin, nil, fault.Invalid, "are for standing grants"},
		"standing, not allowed":         {Request{Reason: "contract", Kind: Standing}, alice, nil, fault.Denied, "no standing grants"},
		"standing":                      {Request{Reason: "contract", Kind: Standing, Hours: hours}, alice, open, 0, ""},
		"standing for another":          {Request{Reason: "contract", Kind: Standing, Whom: &alice}, odin, open, 0, ""},
		"standing for an auditor":       {Request{Reason: "contract", Kind: Standing, Whom: &audit}, odin, open, fault.Denied, "ute@example.net of ot has no role"},
		"standing with impossible days": {Request{Reason: "contract", Kind: Standing, Hours: &resource.WorkingHours{Days: []string{"Moon"}, From: "08:00", To: "09:00", TimeZone: "UTC"}}, alice, open, fault.Invalid, "no day"},
		"standing for two years":        {Request{Reason: "contract", Kind: Standing, For: 2 * 366 * 24 * time.Hour}, alice, open, fault.Invalid, "allows 5s to 90 days"},
		"an emergency, not allowed":     {Request{Reason: "fire!", Kind: BreakGlass}, alice, nil, fault.Denied, "lets nobody break the glass"},
		"an emergency":                  {Request{Reason: "fire!", Kind: BreakGlass}, alice, open, 0, ""},
		"an emergency for a day":        {Request{Reason: "fire!", Kind: BreakGlass, For: 24 * time.Hour}, alice, open, fault.Invalid, "allows 5s to 30m"},
		"an emergency tomorrow":         {Request{Reason: "fire!", Kind: BreakGlass, From: t0.Add(24 * time.Hour)}, alice, open, fault.Invalid, "begins at once"},
		"an emergency of an auditor":    {Request{Reason: "fire!", Kind: BreakGlass}, audit, open, fault.Denied, "no role that may be let into"},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.p
			if p == nil {
				p = &resource.AccessPolicySpec{}
			}
			g, err := New(c.r, c.by, "ot", p, t0)
			if c.words != "" {
				if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) || fault.Next(err) == "" && c.kind != fault.Invalid {
					t.Errorf("got %v, %v", g, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.r.Kind == BreakGlass {
				if g.State != Approved || !g.Until.Equal(t0.Add(30*time.Minute)) || !g.Unreviewed() || g.Needed != 0 {
					t.Errorf("an emergency is %+v", g)
				}
				return
			}
			if g.State != Requested || g.Needed != 1 || !g.Until.IsZero() || g.Live(t0) || !g.WaitsUntil.Equal(t0.Add(24*time.Hour)) {
				t.Errorf("a request is %+v", g)
			}
		})
	}
}

func TestWithoutApprovals(t *testing.T) {
	g, err := New(Request{Reason: "spindle", For: time.Hour}, alice, "ot", approvals(0), t0)
	if err != nil || g.State != Approved || !g.From.Equal(t0) || !g.Until.Equal(t0.Add(time.Hour)) || !g.Live(t0) || g.Live(g.Until) {
		t.Errorf("%+v, %v", g, err)
	}
	later, err := New(Request{Reason: "spindle", For: time.Hour, From: t0.Add(2 * time.Hour)}, alice, "ot", approvals(0), t0)
	if err != nil || !later.From.Equal(t0.Add(2*time.Hour)) || !later.Until.Equal(t0.Add(3*time.Hour)) {
		t.Errorf("%+v, %v", later, err)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 10 * time.Second: "10s", 30 * time.Minute: "30m", 90 * time.Minute: "1h30m", 8 * time.Hour: "8h", 100 * time.Hour: "100h",
		24 * time.Hour: "24h", 48 * time.Hour: "2 days", 90*time.Second + 500*time.Millisecond: "1m30.5s", 10 * time.Minute: "10m", -time.Hour: "-1h",
	} {
		if got := words(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
