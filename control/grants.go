package control

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const maxGrantsOfTarget = 100_000

// kindGrant is how grants stand in audit records, beside the nouns.
const kindGrant resource.Kind = "Grant"

// keyOfGrant names a grant in the chain of the target's tenant.
func keyOfGrant(g grant.Grant) resource.Key {
	return resource.Key{Kind: kindGrant, Tenant: g.Tenant, Name: g.ID}
}

// grantPortrait is what an audit record shows of a grant.
type grantPortrait struct {
	Target     string                 `json:"target"`
	Person     string                 `json:"person"`
	Kind       grant.Kind             `json:"kind"`
	State      grant.State            `json:"state"`
	Reason     string                 `json:"reason"`
	From       time.Time              `json:"from,omitzero"`
	Until      time.Time              `json:"until,omitzero"`
	For        string                 `json:"for"`
	Hours      *resource.WorkingHours `json:"hours,omitempty"`
	Needed     int                    `json:"needed"`
	ApprovedBy []string               `json:"approvedBy,omitempty"`
	Extension  string                 `json:"extension,omitempty"`
}

func portrayGrant(g grant.Grant) *grantPortrait {
	p := &grantPortrait{
		Target: g.Target, Person: g.Person.Who(), Kind: g.Kind, State: g.State, Reason: g.Reason, From: g.From, Until: g.Until, For: g.For.String(),
		Hours: g.Hours, Needed: g.Needed, ApprovedBy: g.ApprovedBy(),
	}
	if g.Extension != nil {
		p.Extension = g.Extension.For.String()
	}
	return p
}

// recordGrant writes a step into the chains of the target's tenant and of the person's, and tells the webhooks of it. before is the zero
// value for a new grant.
func (w *work) recordGrant(step string, before, after grant.Grant) error {
	var was any
	if before.ID != "" {
		was = portrayGrant(before)
	}
	if err := w.recordBoth(step, keyOfGrant(after), after.Tenant, after.Person.Tenant, was, portrayGrant(after)); err != nil {
		return err
	}
	return w.tellOfGrant(step, after)
}

func noSuchGrant(op, id string) error {
	return fault.Newf(op, fault.NotFound, "there is no grant %q", id).Advise("list them with: isthmus access list")
}

// DecideGrant takes a step with a grant: what package grant allows this person. more is for ExtendGrant. A program may revoke, with the role
// owner or admin, and nothing else. NotFound for a grant the principal may not see. What is Denied is recorded.
func (c *Control) DecideGrant(ctx context.Context, p Principal, id string, d GrantDecision, why string, more time.Duration) (GrantView, error) {
	op := "control.DecideGrant"
	if err := checkReason(op, why); err != nil {
		return GrantView{}, err
	}
	var g grant.Grant
	err := c.update(ctx, p.Who(), why, func(w *work) (err error) {
		g, err = w.decideGrant(op, p, id, d, why, more)
		return err
	})
	if err != nil {
		c.recordDenied(ctx, p, resource.Key{Kind: kindGrant, Tenant: p.Tenant, Name: printable(id)}, string(d), why, err)
		return GrantView{}, err
	}
	c.metrics.grants.WithLabelValues(string(d)).Inc()
	c.log.Info("control: a grant was decided", "grant", g.ID, "decision", string(d), "who", p.Who(), "state", string(g.State), "target", g.Target, "person", g.Person.Who())
	return c.grantView(ctx, p, g)
}

func (w *work) decideGrant(op string, p Principal, id string, d GrantDecision, why string, more time.Duration) (grant.Grant, error) {
	before, ok, err := w.Grant(id)
	if err != nil {
		return before, err
	}
	if !ok || !p.maySee(before) {
		return before, noSuchGrant(op, printable(id))
	}
	if aged, changed := before.Age(w.now); changed { // its moment has come, and nobody has said so yet
		if err := w.ageGrant(before, aged); err != nil {
			return before, err
		}
		before = aged
	}
	after, err := w.step(op, p, before, d, why, more)
	if err != nil {
		return before, err
	}
	if err := w.putGrant(after); err != nil {
		return before, err
	}
	step := string(d)
	if len(after.Steps) > len(before.Steps) {
		step = after.Steps[len(after.Steps)-1].What
	}
	return after, w.recordGrant(step, before, after)
}

func (w *work) step(op string, p Principal, g grant.Grant, d GrantDecision, why string, more time.Duration) (grant.Grant, error) {
	if p.Person == "" && d == RevokeGrant && p.mayOwn(op) == nil && p.sees(g.Tenant) {
		next, err := g.Revoke(grant.Person{Name: p.Name, Tenant: g.Tenant, Roles: []resource.TenantRole{resource.RoleOwner}}, why, w.now)
		if err == nil {
			next.EndedBy = p.Who()
		}
		return next, err
	}
	by, err := p.asPerson(op)
	if err != nil {
		return g, err
	}
	policy := &resource.AccessPolicySpec{}
	if t := w.world().owned[g.TargetUID]; t != nil {
		policy = w.world().policy(t)
	}
	switch d {
	case ApproveGrant:
		return g.Approve(by, why, policy, w.now)
	case DenyGrant:
		return g.Deny(by, why, w.now)
	case RevokeGrant:
		return g.Revoke(by, why, w.now)
	case ExtendGrant:
		return g.Extend(by, more, why, policy, w.now)
	case ReviewGrant:
		return g.Review(by, why, w.now)
	}
	return g, fault.Newf(op, fault.Invalid, "%q is no decision", d).Advise("decide approve, deny, revoke, extend or review")
}
