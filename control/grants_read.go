package control

import (
	"context"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/streamkey"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// maySeeAccess tells whether the principal sees everybody's grants and sessions of a tenant's targets.
func (p Principal) maySeeAccess(tenant string) bool {
	if p.Person == "" {
		return p.sees(tenant) && p.Role != RoleNetworkAdmin
	}
	return p.Tenant == tenant && p.has(resource.RoleOwner, resource.RoleApprover, resource.RoleAuditor)
}

// maySee tells whether the principal may know of a grant: his own, or one for a target of his tenant when his role is about others' access.
func (p Principal) maySee(g grant.Grant) bool {
	return p.isSideOf(g) || p.maySeeAccess(g.Tenant)
}

func (p Principal) isSideOf(g grant.Grant) bool {
	return p.Person != "" && (g.Person.ID == p.Person || g.RequestedBy.ID == p.Person)
}

// Grants lists grants, those requested last first: a person's own; with the role owner, approver or auditor all of the tenant's targets.
func (c *Control) Grants(ctx context.Context, p Principal, f GrantFilter) ([]GrantView, error) {
	op := "control.Grants"
	if f.Limit < 0 || f.Limit > 1000 {
		return nil, fault.Newf(op, fault.Invalid, "%d grants were asked for", f.Limit).Advise("ask for at most 1000, and for those before the last one's requestedAt")
	}
	if err := checkText(op, "the filter", f.Tenant+f.Target+f.Person+string(f.State)); err != nil {
		return nil, err
	}
	sf := store.GrantFilter{Tenant: f.Tenant, State: f.State, Open: f.Open, Before: f.Before, Limit: f.Limit, Target: f.Target, PersonName: f.Person, Unreviewed: f.Unreviewed}
	switch {
	case f.Mine && p.Person == "":
		return nil, nil
	case f.Mine:
		sf.Side = p.Person
	case p.whole():
	case p.maySeeAccess(p.Tenant):
		sf.Side, sf.OrTenant = p.Person, p.Tenant
	case p.Person != "":
		sf.Side = p.Person
	default:
		return nil, nil
	}
	var list []grant.Grant
	var people map[string][]store.Person
	var open map[string]int
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		if list, err = tx.Grants(sf); err != nil {
			return err
		}
		if people, err = approversOf(tx, p, list); err != nil {
			return err
		}
		open, _, err = tx.OpenSessions()
		return err
	})
	out := make([]GrantView, 0, len(list))
	for _, g := range list {
		out = append(out, c.viewOf(p, g, people[g.Tenant], open[g.ID]))
	}
	return out, err
}

// approversOf reads who may approve where something waits that the principal's own tenant decides.
func approversOf(tx *store.Tx, p Principal, list []grant.Grant) (map[string][]store.Person, error) {
	out := map[string][]store.Person{}
	for _, g := range list {
		if _, known := out[g.Tenant]; known || !g.Waits() || !p.sees(g.Tenant) {
			continue
		}
		people, err := tx.People(g.Tenant)
		if err != nil {
			return nil, err
		}
		out[g.Tenant] = slices.DeleteFunc(people, func(p store.Person) bool { return !mayApprove(p) })
	}
	return out, nil
}

// Grant returns one grant. NotFound for one the principal may not see.
func (c *Control) Grant(ctx context.Context, p Principal, id string) (GrantView, error) {
	op := "control.Grant"
	var g grant.Grant
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		var ok bool
		if g, ok, err = tx.Grant(id); err == nil && (!ok || !p.maySee(g)) {
			err = noSuchGrant(op, printable(id))
		}
		return err
	})
	if err != nil {
		return GrantView{}, err
	}
	return c.grantView(ctx, p, g)
}

// WaitGrant is Grant, answered as soon as nothing of the grant waits for a decision any more, and after d at the latest. Changes of other
// servers on the same database are seen within a second or so.
func (c *Control) WaitGrant(ctx context.Context, p Principal, id string, d time.Duration) (GrantView, error) {
	over, stop := c.clock.After(d)
	defer stop()
	for {
		changed, leave := c.stirs.listen(id)
		v, err := c.Grant(ctx, p, id)
		if err != nil || !v.Waits() {
			leave()
			return v, err
		}
		select { // without a channel, as when too many wait, until it is over
		case <-changed:
			leave()
		case <-over:
			leave()
			return v, nil
		case <-ctx.Done():
			leave()
			return v, nil
		}
	}
}

// grantView reads what a view needs beside the grant.
func (c *Control) grantView(ctx context.Context, p Principal, g grant.Grant) (v GrantView, err error) {
	err = c.store.View(ctx, func(tx *store.Tx) error {
		people, err := approversOf(tx, p, []grant.Grant{g})
		if err != nil {
			return err
		}
		open, _, err := tx.OpenSessions()
		v = c.viewOf(p, g, people[g.Tenant], open[g.ID])
		return err
	})
	return v, err
}

// viewOf shows a grant to a principal who may see it. approvers are those of its tenant.
func (c *Control) viewOf(p Principal, g grant.Grant, approvers []store.Person, open int) GrantView {
	c.mu.RLock()
	defer c.mu.RUnlock()
	now := c.clock.Now()
	if aged, changed := g.Age(now); changed { // nobody has to wait for the record of it
		g = aged
	}
	v := GrantView{Grant: g, Unreviewed: g.Unreviewed(), Sessions: open}
	t := c.world.owned[g.TargetUID]
	if t == nil {
		return v
	}
	policy := c.world.policy(t)
	v.Recorded = recorded(t, policy)
	if g.Waits() {
		for _, a := range approvers {
			by := grant.Person{ID: a.UID, Name: a.Name, Tenant: a.Tenant, Roles: a.Roles}
			if _, err := g.Approve(by, "", policy, now); err == nil {
				v.Approvers = append(v.Approvers, a.Name)
			}
		}
		if by, err := p.asPerson(""); err == nil {
			_, err = g.Approve(by, "", policy, now)
			v.MayDecide = err == nil
		}
	}
	if g.Live(now) && g.Person.ID == p.Person && p.Person != "" && !v.Recorded {
		v.ConnectionString = c.world.streamKey(t, g)
	}
	return v
}

func recorded(t *resource.Target, policy *resource.AccessPolicySpec) bool {
	return policy.Recording == resource.RecordingRequired && t.Protocol() == resource.ProtocolSSH
}

// streamKey is the connection string of a grant for a device's stream; empty for other targets.
func (w *world) streamKey(t *resource.Target, g grant.Grant) string {
	d := t.Spec.Device
	if d == nil {
		return ""
	}
	for _, s := range w.at(placeOf(t)).services {
		if names := s.HostNames(); s.Metadata.Name == d.Service && s.Spec.ServedBy != "" && len(names) > 0 {
			return streamkey.ConnectionString(names[0], w.keys[s.Metadata.UID], g.ID)
		}
	}
	return ""
}
