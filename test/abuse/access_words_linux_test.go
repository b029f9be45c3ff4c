package abuse

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// hostile is what a terminal, a chat or a log would take for more than words.
var hostile = []string{ //nolint:gochecknoglobals // a table
	"\x1b]0;owned\x07", "\x1b]52;c;b3duZWQ=\x07", "\x1b[2J\x1b[1;1Hgone", "\x1bPq#0;2;0;0;0\x1b\\", "\u009b2J", "back\rspace\b\b", "nul\x00", "\x7f\x7f\x7f", "bad \xff\xfe utf-8",
}

const describedTarget = `
apiVersion: isthmus/v1
kind: Target
metadata: {tenant: ot, network: plant-7, name: described}
spec: {agent: press-4, address: "127.0.0.1:1", description: %s}
`

// Requests that nobody should be granted are refused in words that say what is wrong, and what somebody wrote into them stays text.
func TestRequestsThatAreNone(t *testing.T) {
	p := startShop(t)
	ctx := t.Context()
	alice, bob := p.person("alice", resource.RoleOperator).login(), p.person("bob", resource.RoleApprover, resource.RoleAuditor).login()
	owner := p.person("olga", resource.RoleOwner).login()
	const neither fault.Kind = 255
	type refusal struct {
		r     client.GrantRequest
		kind  fault.Kind
		words string
	}
	long := strings.Repeat("a reason ", 10<<20/9)
	cases := map[string]refusal{
		"for a week":      {client.GrantRequest{For: 7 * 24 * time.Hour}, fault.Invalid, "the policy of the target allows"},
		"for a second":    {client.GrantRequest{For: time.Second}, fault.Invalid, "the policy of the target allows"},
		"for no time":     {client.GrantRequest{For: -time.Hour}, fault.Invalid, "duration"},
		"in the past":     {client.GrantRequest{From: time.Now().Add(-time.Hour)}, fault.Invalid, "is over"},
		"far ahead":       {client.GrantRequest{From: time.Now().AddDate(1, 0, 0)}, fault.Invalid, "would begin in more than"},
		"without reason":  {client.GrantRequest{Reason: " \n "}, fault.Invalid, "reason"},
		"with 10 MB":      {client.GrantRequest{Reason: long}, fault.TooLarge, ""},
		"of strangers":    {client.GrantRequest{Ask: []string{"\x1b]0;owned\x07"}}, fault.NotFound, "no approver"},
		"of everybody":    {client.GrantRequest{Ask: strings.Split(strings.Repeat("bob,", 1000)+"bob", ",")}, neither, ""},
		"of no kind":      {client.GrantRequest{Kind: grant.Kind("\x1b[2J")}, fault.Invalid, ""},
		"elsewhere":       {client.GrantRequest{Target: "ot/plant-7/../../echo"}, fault.Invalid, ""},
		"with an escape":  {client.GrantRequest{Target: "ot/plant-7/echo\x1b]0;owned\x07"}, fault.Invalid, ""},
		"with a long way": {client.GrantRequest{Target: "ot/plant-7/" + long[:60<<10]}, fault.Invalid, "name"},
		"of all time":     {client.GrantRequest{Kind: grant.Standing, For: 1 << 62}, 0, ""},
	}
	for _, h := range hostile {
		cases[fmt.Sprintf("because %q", h)] = refusal{client.GrantRequest{Reason: "the press squeaks " + h}, fault.Invalid, "the reason has"}
	}
	ask := func(r client.GrantRequest) error {
		if r.Target == "" {
			r.Target = "ot/plant-7/echo"
		}
		if r.Reason == "" {
			r.Reason = because
		}
		_, err := p.fresh().RequestAccess(ctx, r)
		return err
	}
	for name, c := range cases {
		err := ask(c.r)
		if c.kind == neither { // it may be, but not do more than others
			continue
		}
		if err == nil || c.kind != 0 && fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v: %v, wanted %v: %s", name, fault.KindOf(err), err, c.kind, c.words)
		}
		tame(t, "the refusal "+name, fault.Message(err)+fault.Next(err))
		if len(errorText(err)) > 128<<10 {
			t.Errorf("%s: the refusal of what was short has %d bytes", name, len(errorText(err)))
		}
	}
	const strange = "one line\nand another, for 検査 and “quotes”"
	// What passes is text still: lines, and other scripts.
	g := alice.letIn(bob, client.GrantRequest{Reason: strange})
	alice.arrives(g)
	for _, h := range hostile[:len(hostile)-1] { // JSON makes text of the last one
		if _, err := bob.DecideGrant(ctx, g.ID, "revoke", h, 0); err == nil {
			t.Errorf("revoked because %q", h)
		}
		if _, err := alice.DecideGrant(ctx, g.ID, "extend", h, time.Hour); err == nil {
			t.Errorf("extended because %q", h)
		}
		if _, err := alice.RequestAccess(ctx, client.GrantRequest{Kind: grant.BreakGlass, Target: "ot/plant-7/echo", Reason: h}); err == nil {
			t.Errorf("the glass is broken because %q", h)
		}
		if _, err := p.admin.CreatePerson(ctx, client.PersonRequest{Tenant: "ot", Name: "eve" + h}); err == nil {
			t.Errorf("somebody is called %q", h)
		}
		// What may be stored all the same is shown as text, below.
		_, _, _ = p.admin.CreatePersonToken(ctx, bob.uid, "token"+h, 0)
		_, _, _ = owner.CreateWebhook(ctx, client.WebhookRequest{URL: "http://127.0.0.1:1/" + h})
		if _, err := owner.DisablePerson(ctx, alice.uid, h); err == nil {
			t.Errorf("disabled because %q", h)
			_, _ = p.admin.EnablePerson(ctx, alice.uid, "by mistake")
		}
		// Words of requests that name nothing reach the command line's errors, and the log.
		for _, args := range [][]string{
			{"access", "show", "x" + h}, {"access", "why", "ot/plant-7/" + h}, {"access", "why", "--grant", h}, {"access", "list", "--target", h},
			{"access", "request", "ot/plant-7/echo", "--reason", h}, {"access", "approve", h}, {"access", "replay", h}, {"access", "sessions", "--person", h},
			{"access", "list", "--person", h}, {"connect", "ot/plant-7/" + h},
		} {
			if strings.Contains(h, "\x00") { // no program can be given one
				continue
			}
			out, _ := alice.isthmus(args...)
			tame(t, fmt.Sprintf("isthmus %q", args), out)
		}
	}
	g = alice.letIn(bob, client.GrantRequest{Reason: strange})
	alice.arrives(g)
	target, err := json.Marshal(strings.Join(hostile[:len(hostile)-1], ""))
	must(t, err)
	if out, err := p.CLI(ctx, "", fmt.Sprintf(describedTarget, target), "apply", "-f", "-"); err != nil {
		tame(t, "the refusal of a description", err.Error())
	} else {
		tame(t, "what was applied", out)
	}
	for _, args := range [][]string{{"get", "targets"}, {"get", "targets", "-o", "wide"}, {"person", "list"}, {"person", "show", "bob"}, {"access", "webhook", "list"}} {
		out, _ := owner.isthmus(args...)
		tame(t, fmt.Sprintf("isthmus %q", args), out)
	}
	for _, args := range [][]string{
		{"access", "list"}, {"access", "list", "--all", "-o", "wide"}, {"access", "show", g.ID}, {"access", "sessions", "--refused", "-o", "wide"}, {"access", "list", "-o", "json"},
		{"access", "list", "-o", "yaml"}, {"audit", "list", "--all"}, {"access", "why", "ot/plant-7/echo", "--person", "alice"},
	} {
		out := bob.prints(args...)
		if args[0] == "access" && args[1] == "list" && !strings.Contains(out, "検査") {
			t.Errorf("isthmus %q lost the reason: %s", args, out)
		}
	}
	tame(t, "the server's log", p.server.Log())
	tame(t, "the machine's log", p.press.Log())
	if n := len(p.server.Log()); n > 1<<20 {
		t.Errorf("the server's log has %d bytes", n)
	}
	// Refusals for who asks and what there is are recorded; a request that cannot be read is nobody's doing.
	if n := said(p.audited(), `"denied"`); n == 0 || n > 100 {
		t.Errorf("%d denials are recorded", n)
	}
}

// fresh is somebody new, whom no allowance has been used up for.
func (p *shop) fresh() *somebody {
	p.t.Helper()
	p.people++
	return p.person(fmt.Sprintf("somebody-%d", p.people), resource.RoleOperator)
}
