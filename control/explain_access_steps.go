package control

import (
	"fmt"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/resource"
)

// explainAccess looks at each condition in the order in which they have to hold. It asks nobody.
func explainAccess(f accessFacts) AccessExplanation {
	x := AccessExplanation{Target: f.path, Person: f.person.Who(), Refused: f.last}
	if f.g != nil {
		x.Grant = f.g.ID
	}
	x.Steps = append(f.aboutTarget(), f.aboutPerson()...)
	x.Steps = append(x.Steps, f.aboutGrant()...)
	x.Steps = append(x.Steps, f.aboutLeader()...)
	x.Open = true
	for _, s := range x.Steps {
		if !s.Holds {
			x.Open, x.Next = false, s.Next
			x.Summary = fmt.Sprintf("%s is not let into %s: it does not hold that %s", x.Person, x.Target, s.What)
			if s.Detail != "" {
				x.Summary += " (" + s.Detail + ")"
			}
			break
		}
	}
	if !x.Open {
		return x
	}
	until, _ := f.until()
	x.Summary = fmt.Sprintf("%s is let into %s until %s", x.Person, x.Target, until.UTC().Format(time.RFC3339))
	if len(f.last) > 0 && f.last[0].Opened.After(f.g.From) {
		x.Summary += "; but the last try was refused: " + refusalWords(f.last[0])
		x.Next = refusalAdvice(f.last[0], f.path)
	}
	return x
}

func holds(what, detail string) AccessCondition {
	return AccessCondition{What: what, Holds: true, Detail: detail}
}

func fails(what, detail, next string) AccessCondition {
	return AccessCondition{What: what, Detail: detail, Next: next}
}

func (f *accessFacts) aboutTarget() []AccessCondition {
	there, on := "the target is visible to "+f.person.Tenant, "the target is enabled"
	switch {
	case f.target == nil:
		return []AccessCondition{fails("the target is there", "it was deleted", "list targets: isthmus get targets")}
	case !f.target.VisibleTo(f.person.Tenant):
		return []AccessCondition{fails(there, "", "an owner of "+f.tenant+" adds it to spec.visibleTo of the target")}
	case !f.target.Enabled():
		return []AccessCondition{holds(there, ""), fails(on, "", "ask its owner to set spec.state to Enabled")}
	}
	return []AccessCondition{holds(there, ""), holds(on, "")}
}

func (f *accessFacts) aboutPerson() []AccessCondition {
	what := "the person may be let into targets"
	var roles []string
	for _, r := range f.person.Roles {
		roles = append(roles, string(r))
	}
	switch {
	case f.gone:
		return []AccessCondition{fails(what, "the person was removed", "an owner of "+f.person.Tenant+" makes the person again, who then asks again")}
	case f.disabled:
		return []AccessCondition{fails(what, "the person is disabled", "ask an owner of "+f.person.Tenant)}
	case !f.person.Has(resource.RoleOperator, resource.RoleOwner, resource.RoleNetworkAdmin):
		return []AccessCondition{fails(what, "roles: "+orNone(strings.Join(roles, ", ")), "ask an owner of "+f.person.Tenant+" for the role operator")}
	}
	return []AccessCondition{holds(what, "roles: "+strings.Join(roles, ", "))}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (f *accessFacts) aboutGrant() []AccessCondition {
	has, approved := "the person has a grant", "the grant is approved"
	ask := "isthmus access request " + f.path + " --reason ..."
	if f.g == nil {
		return []AccessCondition{fails(has, "the policy: "+policyWords(f.policy), ask)}
	}
	g := f.g
	out := []AccessCondition{holds(has, fmt.Sprintf("%s, for %s: %s", g.ID, spoken(g.For), g.Reason))}
	switch {
	case g.State == grant.Requested:
		detail := fmt.Sprintf("it waits until %s, with %d of %d approvals", g.WaitsUntil.UTC().Format(time.RFC3339), len(g.Approvals), g.Needed)
		next := "ask an approver of " + f.tenant + " for: isthmus access approve " + g.ID
		if len(f.others) > 0 {
			next = "ask one of " + strings.Join(f.others, ", ") + " for: isthmus access approve " + g.ID
		}
		return append(out, fails(approved, detail, next))
	case g.State != grant.Approved:
		detail := "it is " + string(g.State)
		if g.EndedBy != "" {
			detail += " by " + g.EndedBy
		}
		if !g.EndedAt.IsZero() {
			detail += " since " + g.EndedAt.UTC().Format(time.RFC3339)
		}
		if g.EndReason != "" {
			detail += ": " + g.EndReason
		}
		return append(out, fails(approved, detail, ask))
	}
	by := strings.Join(g.ApprovedBy(), ", ")
	if by == "" {
		by = "nobody had to"
		if g.Kind == grant.BreakGlass {
			by = "an emergency"
		}
	}
	out = append(out, holds(approved, by))
	return append(out, f.aboutTime(ask)...)
}

func (f *accessFacts) aboutTime(ask string) []AccessCondition {
	g, now := f.g, "the grant is in force now"
	span := g.From.UTC().Format(time.RFC3339) + " to " + g.Until.UTC().Format(time.RFC3339)
	switch {
	case f.now.Before(g.From):
		return []AccessCondition{fails(now, span, "wait until it begins")}
	case !f.now.Before(g.Until):
		return []AccessCondition{fails(now, span, ask)}
	}
	out := []AccessCondition{holds(now, span)}
	if g.Hours == nil {
		return out
	}
	hours := "these are its working hours"
	detail := fmt.Sprintf("%s, %s to %s, %s", strings.Join(g.Hours.Days, " "), g.Hours.From, g.Hours.To, g.Hours.TimeZone)
	if _, ok := g.Hours.Hold(f.now); ok {
		return append(out, holds(hours, detail))
	}
	next := "ask for access for a while: " + ask
	if from, _, ok := g.Hours.At(f.now); ok {
		next = "wait until " + from.Format(time.RFC3339) + ", or " + next
	}
	return append(out, fails(hours, detail, next))
}

// planIsLate is how long a process may take to say that it has a new plan.
const planIsLate = "it has it within a second of being connected, and says so within a minute"

func (f *accessFacts) aboutLeader() []AccessCondition {
	if f.target == nil {
		return nil
	}
	joined, connected, certified, told := f.leader+" has joined", f.leader+" is connected", "its certificate is good", "it knows of the grant"
	l := f.leads
	if l == nil {
		who := "agent"
		if f.target.Spec.Device != nil {
			who = "hub"
		}
		next := "let it join: isthmus token join --for " + who + " --network " + f.target.Metadata.Tenant + "/" + f.target.Metadata.Network
		if a := f.target.Spec.Agent; a != "" {
			next += " --name " + a
		}
		return []AccessCondition{fails(joined, "", next)}
	}
	out := []AccessCondition{holds(joined, "")}
	if !l.certificate.IsZero() && f.now.After(l.certificate) {
		out = append(out, fails(certified, "it lapsed at "+l.certificate.UTC().Format(time.RFC3339), "start it: it renews its certificate, for 30 days after the end; else let it join again"))
		return out
	}
	out = append(out, holds(certified, ""))
	if !l.connected {
		seen := "it was not seen since the server started"
		if !l.seen.IsZero() {
			seen = "it was seen last at " + l.seen.UTC().Format(time.RFC3339)
		}
		return append(out, fails(connected, seen, "check that it runs and reaches the control plane; with its last plan it lets people in all the same, if relays are reached"))
	}
	out = append(out, holds(connected, ""))
	if f.g == nil || f.g.State != grant.Approved {
		return out
	}
	if l.revision != l.wanted {
		return append(out, fails(told, "it has not said yet that it has the last plan", planIsLate))
	}
	return append(out, holds(told, ""))
}

// until is when the grant, or its working hours, end.
func (f *accessFacts) until() (time.Time, bool) {
	if f.g == nil {
		return time.Time{}, false
	}
	until := f.g.Until
	if f.g.Hours != nil {
		if end, ok := f.g.Hours.Hold(f.now); ok && end.Before(until) {
			until = end
		}
	}
	return until, true
}

func policyWords(p *resource.AccessPolicySpec) string {
	words := []string{fmt.Sprintf("%d approvals", p.ApprovalsNeeded()), "at most " + spoken(p.Longest())}
	if p.ApprovalsNeeded() == 1 {
		words[0] = "1 approval"
	}
	for _, w := range []struct {
		on   bool
		word string
	}{
		{p.SelfApproval, "approvers may approve themselves"}, {p.Standing, "standing grants"}, {p.BreakGlass, "emergencies for " + spoken(p.Emergency())},
		{p.Recording == resource.RecordingRequired, "SSH is recorded"}, {p.Socks, "SOCKS"},
	} {
		if w.on {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ", ")
}

func refusalWords(s SessionView) string {
	out := s.Opened.UTC().Format(time.RFC3339) + " " + endWords(s.End)
	if s.Words != "" {
		out += ": " + s.Words
	}
	return out
}

// refusalAdvice is what to do about a refusal where a grant is in force.
func refusalAdvice(s SessionView, path string) string {
	switch s.End {
	case "unreachable":
		return "check that the target's program runs, and spec.address of " + path
	case "not-here":
		return "the machine's owner allows the address in the settings of the agent"
	case "no-recording":
		return "check the problems of the agent: isthmus describe agent"
	case "too-many":
		return "close sessions, or raise spec.sessions.each of the policy"
	case "bad-login":
		return "use an account of spec.ssh.logins of " + path
	case "certificate":
		return "get a new pass: run the command again"
	case "rejected":
		return "check the device's own log"
	}
	return "try again; if it is refused again, look at the log of the agent"
}
