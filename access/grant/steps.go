package grant

import (
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Each step returns the grant after it, or a fault and the grant as it was: Denied when this person may not, Conflict when the grant
// stands elsewhere by now, Invalid for what makes no sense.

// Approve adds an approval, of the request or of the extension that waits.
func (g Grant) Approve(by Person, why string, p *resource.AccessPolicySpec, now time.Time) (Grant, error) {
	op := "grant.Approve"
	next := g.clone()
	waiting, needed := g.State == Requested && now.Before(g.WaitsUntil), g.Needed
	approvals := &next.Approvals
	if g.Live(now) && g.Extension != nil {
		waiting, needed, approvals = true, max(p.ApprovalsNeeded(), 1), &next.Extension.Approvals
	}
	switch {
	case !waiting:
		return g, g.elsewhere(op, now)
	case !by.Has(resource.RoleApprover, resource.RoleOwner) || by.Tenant != g.Tenant:
		return g, fault.Newf(op, fault.Denied, "%s is no approver of %s", by.Who(), g.Tenant).Advise("ask somebody with the role approver or owner")
	case !p.SelfApproval && (by.ID == g.Person.ID || by.ID == g.RequestedBy.ID):
		return g, fault.New(op, fault.Denied, "nobody approves what he asked for himself").Advise("ask another approver; the policy's spec.selfApproval would allow it")
	case len(g.Ask) > 0 && g.Extension == nil && !slices.Contains(g.Ask, by.Name) && !by.Has(resource.RoleOwner):
		return g, fault.Newf(op, fault.Denied, "the request was made to %v", g.Ask).Advise("an owner may approve in their place")
	case slices.ContainsFunc(*approvals, func(s Step) bool { return s.By.ID == by.ID }):
		return g, fault.Newf(op, fault.Conflict, "%s approved already; %d more are needed", by.Who(), needed-len(*approvals)).Advise("ask somebody else to approve too")
	}
	step := Step{By: by, At: now, What: "approve", Why: why}
	*approvals = append(*approvals, step)
	next.Steps = append(next.Steps, step)
	if len(*approvals) < needed {
		return next, nil
	}
	if g.State == Requested {
		next.begin(now)
	} else {
		next.Until, next.For, next.Extension = g.Until.Add(g.Extension.For), g.For+g.Extension.For, nil
	}
	return next, nil
}

// Deny refuses the request, or the extension that waits.
func (g Grant) Deny(by Person, why string, now time.Time) (Grant, error) {
	op := "grant.Deny"
	next := g.clone()
	switch {
	case !by.Has(resource.RoleApprover, resource.RoleOwner) || by.Tenant != g.Tenant:
		return g, fault.Newf(op, fault.Denied, "%s is no approver of %s", by.Who(), g.Tenant).Advise("to withdraw your own request, revoke it")
	case g.Live(now) && g.Extension != nil:
		next.Extension = nil
	case g.State == Requested && now.Before(g.WaitsUntil):
		next.end(Denied, by.Who(), why, now)
	default:
		return g, g.elsewhere(op, now)
	}
	next.Steps = append(next.Steps, Step{By: by, At: now, What: "deny", Why: why})
	return next, nil
}

// Revoke ends a grant at once: its own person's, which withdraws a request, or anybody's by an approver.
func (g Grant) Revoke(by Person, why string, now time.Time) (Grant, error) {
	op := "grant.Revoke"
	own := by.ID == g.Person.ID || by.ID == g.RequestedBy.ID
	if !own && (!by.Has(resource.RoleApprover, resource.RoleOwner) || by.Tenant != g.Tenant) {
		return g, fault.Newf(op, fault.Denied, "%s is no approver of %s", by.Who(), g.Tenant).Advise("ask somebody with the role approver or owner")
	}
	next := g.clone()
	step := Step{By: by, At: now, What: "revoke", Why: why}
	waits := g.State == Requested && now.Before(g.WaitsUntil)
	switch {
	case waits && own:
		step.What = "withdraw"
		next.end(Withdrawn, by.Who(), why, now)
	case waits:
		step.What = "deny"
		next.end(Denied, by.Who(), why, now)
	case g.Live(now):
		next.end(Revoked, by.Who(), why, now)
	default:
		return g, g.elsewhere(op, now)
	}
	next.Steps = append(next.Steps, step)
	return next, nil
}

// Extend asks for more time for a grant in force. What an approver asks for another, and what needs no approval, holds at once; everything
// else waits to be approved as the grant had to be. In all it never lasts longer than the policy lets a grant.
func (g Grant) Extend(by Person, more time.Duration, why string, p *resource.AccessPolicySpec, now time.Time) (Grant, error) {
	op := "grant.Extend"
	own := by.ID == g.Person.ID || by.ID == g.RequestedBy.ID
	approver := by.Has(resource.RoleApprover, resource.RoleOwner) && by.Tenant == g.Tenant
	most := p.Longest()
	switch g.Kind {
	case Standing:
		most = p.LongestStanding()
	case BreakGlass:
		most = p.Emergency()
	case Once:
	}
	if err := checkWords(op, why); err != nil {
		return g, err
	}
	switch {
	case !own && !approver:
		return g, fault.Newf(op, fault.Denied, "%s is neither who was let in nor an approver", by.Who())
	case !g.Live(now):
		return g, g.elsewhere(op, now)
	case more < shortest || more > most-g.For:
		return g, fault.Newf(op, fault.Invalid, "%s more were asked for a grant of %s, and the policy of the target allows %s in all", words(more), words(g.For), words(most)).
			Advise("ask for less, or for a new grant when this one has ended")
	case g.Extension != nil:
		return g, fault.New(op, fault.Conflict, "more time was asked for already and is not approved yet").Advise("wait for it, or revoke the grant and ask anew")
	}
	next := g.clone()
	step := Step{By: by, At: now, What: "extend", Why: why}
	next.Steps = append(next.Steps, step)
	next.Extension = &Extension{For: more, Reason: why, At: now}
	needed := p.ApprovalsNeeded()
	if g.Kind == BreakGlass {
		needed = max(needed, 1)
	}
	if approver && (!own || p.SelfApproval) {
		next.Extension.Approvals = []Step{step}
	}
	if len(next.Extension.Approvals) >= needed {
		next.Until, next.For, next.Extension = g.Until.Add(more), g.For+more, nil
	}
	return next, nil
}

// Review says that somebody has looked at an emergency afterwards: an approver or auditor who was not let in by it. Once is enough.
func (g Grant) Review(by Person, why string, now time.Time) (Grant, error) {
	op := "grant.Review"
	switch {
	case g.Kind != BreakGlass:
		return g, fault.New(op, fault.Conflict, "the grant was approved beforehand, so there is nothing to look at afterwards").Advise("only emergencies are reviewed")
	case !by.Has(resource.RoleApprover, resource.RoleOwner, resource.RoleAuditor) || by.Tenant != g.Tenant:
		return g, fault.Newf(op, fault.Denied, "%s is neither approver nor auditor of %s", by.Who(), g.Tenant).Advise("ask somebody with the role approver, auditor or owner")
	case by.ID == g.Person.ID || by.ID == g.RequestedBy.ID:
		return g, fault.New(op, fault.Denied, "nobody reviews an emergency of his own").Advise("ask another approver or auditor")
	case !g.Unreviewed():
		return g, fault.New(op, fault.Conflict, "the emergency was reviewed already")
	}
	if err := checkWords(op, why); err != nil {
		return g, err
	}
	next := g.clone()
	next.Steps = append(next.Steps, Step{By: by, At: now, What: "review", Why: why})
	return next, nil
}

// Age ends what time has ended; changed is false when the grant stands as it did.
func (g Grant) Age(now time.Time) (next Grant, changed bool) {
	next = g.clone()
	switch {
	case g.State == Requested && !now.Before(g.WaitsUntil):
		next.end(Lapsed, "", "nobody decided in time", now)
	case g.State == Approved && !now.Before(g.Until):
		next.end(Expired, "", "", g.Until)
	default:
		return g, false
	}
	return next, true
}

// Cancel ends a grant whose target or person is gone.
func (g Grant) Cancel(who, why string, now time.Time) Grant {
	next := g.clone()
	if g.State == Requested {
		next.end(Denied, who, why, now)
	} else {
		next.end(Revoked, who, why, now)
	}
	return next
}

func (g *Grant) end(s State, who, why string, at time.Time) {
	g.State, g.EndedAt, g.EndedBy, g.EndReason, g.Extension = s, at, who, why, nil
}

// elsewhere says where a grant stands that somebody wants to move.
func (g *Grant) elsewhere(op string, now time.Time) error {
	later, _ := g.Age(now)
	e := fault.Newf(op, fault.Conflict, "the grant is %s", later.State)
	if later.EndedBy != "" {
		e = fault.Newf(op, fault.Conflict, "the grant is %s, by %s", later.State, later.EndedBy)
	}
	if later.State == Approved {
		return e.Advise("it is in force until %s", later.Until.UTC().Format(time.RFC3339))
	}
	return e.Advise("ask for a new one: isthmus access request")
}

// Without takes back what somebody approved and what waits still: he may not approve any more. What is in force stays.
func (g Grant) Without(person string) (next Grant, changed bool) {
	next = g.clone()
	his := func(s Step) bool { return s.By.ID == person }
	switch {
	case g.State == Requested:
		next.Approvals = slices.DeleteFunc(next.Approvals, his)
		return next, len(next.Approvals) < len(g.Approvals)
	case g.State == Approved && g.Extension != nil:
		next.Extension.Approvals = slices.DeleteFunc(next.Extension.Approvals, his)
		return next, len(next.Extension.Approvals) < len(g.Extension.Approvals)
	}
	return g, false
}
