package control

import (
	"context"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// accessFacts is all that decides whether somebody is let in, as far as the control plane knows.
type accessFacts struct {
	now      time.Time
	tenant   string // the target's
	path     string
	target   *resource.Target // nil: deleted
	policy   *resource.AccessPolicySpec
	leader   string // agent or hub that the target names
	leads    *leaderFacts
	person   grant.Person
	disabled bool
	gone     bool // the person
	g        *grant.Grant
	others   []string      // who may approve what waits
	last     []SessionView // refusals, the last first
	open     int           // sessions of the grant
}

// leaderFacts is what is known of the process that leads to the target.
type leaderFacts struct {
	connected   bool
	seen        time.Time
	certificate time.Time // its end
	revision    string    // of the plan it says it has
	wanted      string    // of the plan it should have
	problems    []string
}

// ExplainAccess says why a person is let into a target or is not: each condition in order, and what to do. People ask about themselves, or about a grant
// they may see; owners, approvers and auditors about everybody at the targets of their tenant.
func (c *Control) ExplainAccess(ctx context.Context, p Principal, q AccessQuestion) (AccessExplanation, error) {
	var f accessFacts
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		f, err = c.accessFacts(tx, p, q)
		return err
	})
	if err != nil {
		return AccessExplanation{}, err
	}
	return explainAccess(f), nil
}

const (
	refusalsShown = 5
	seenLately    = 2 * time.Minute
)

// accessFacts finds out what is asked about, and whether the principal may know.
func (c *Control) accessFacts(tx *store.Tx, p Principal, q AccessQuestion) (accessFacts, error) {
	op := "control.ExplainAccess"
	f := accessFacts{now: c.clock.Now().UTC()}
	if q.Grant != "" {
		g, ok, err := tx.Grant(q.Grant)
		if err != nil {
			return f, err
		}
		if !ok || !p.maySee(g) {
			return f, noSuchGrant(op, printable(q.Grant))
		}
		f.g, f.person, f.path, f.tenant = &g, g.Person, g.Target, g.Tenant
		if err := f.readPerson(tx, g.Person.Tenant, g.Person.Name, g.Person.ID); err != nil {
			return f, err
		}
		return f, c.fillFacts(tx, p, g.TargetUID, &f)
	}
	key, err := resource.ParseKey(resource.KindTarget, q.Target)
	if err != nil {
		return f, err
	}
	c.mu.RLock()
	t := c.world.targetAt(key)
	c.mu.RUnlock()
	if t == nil || !p.sees(t.Metadata.Tenant) && !t.VisibleTo(p.Tenant) {
		return f, noSuch(op, key)
	}
	f.path, f.tenant = key.Path(), t.Metadata.Tenant
	if err := f.readWho(tx, op, p, q.Person); err != nil {
		return f, err
	}
	list, err := tx.Grants(store.GrantFilter{Person: f.person.ID, TargetUID: t.Metadata.UID})
	if err != nil {
		return f, err
	}
	if len(list) > 0 {
		g := nearest(list, f.now)
		f.g = &g
	}
	return f, c.fillFacts(tx, p, t.Metadata.UID, &f)
}

// readWho finds out who is asked about.
func (f *accessFacts) readWho(tx *store.Tx, op string, p Principal, name string) error {
	if name == "" || p.Person != "" && name == p.Name {
		by, err := p.asPerson(op)
		if err != nil {
			return fault.New(op, fault.Invalid, "a program is let in nowhere, so the question needs a person").Advise("name one: --person NAME")
		}
		return f.readPerson(tx, by.Tenant, by.Name, by.ID)
	}
	if !p.maySeeAccess(f.tenant) {
		return fault.Newf(op, fault.Denied, "%s %s, and asks about himself only", p.Who(), p.roleWords()).Advise("leave the person out, or ask an approver")
	}
	tenant := f.tenant
	if of, rest, ok := strings.Cut(name, "/"); ok {
		tenant, name = of, rest
	}
	if err := f.readPerson(tx, tenant, name, ""); err != nil || p.sees(tenant) {
		return err
	}
	// Of people of other tenants one knows who asked to be let in here, and not who else there is.
	asked, err := tx.Grants(store.GrantFilter{Tenant: f.tenant, Person: f.person.ID, Limit: 1})
	if err == nil && len(asked) == 0 {
		err = noSuchPerson(name, tenant)
	}
	return err
}

func noSuchPerson(name, tenant string) error {
	return fault.Newf("control.ExplainAccess", fault.NotFound, "there is no person %q in %s", printable(name), printable(tenant)).Advise("list people with: isthmus person list")
}

func (f *accessFacts) readPerson(tx *store.Tx, tenant, name, uid string) error {
	person, ok, err := tx.PersonNamed(tenant, name)
	if err != nil {
		return err
	}
	if !ok || uid != "" && person.UID != uid {
		if uid == "" {
			return noSuchPerson(name, tenant)
		}
		f.gone = true
		return nil
	}
	f.person = grant.Person{ID: person.UID, Name: person.Name, Tenant: person.Tenant, Roles: person.Roles}
	f.disabled = !person.Disabled.IsZero()
	return nil
}

// fillFacts reads the rest.
func (c *Control) fillFacts(tx *store.Tx, p Principal, target string, f *accessFacts) error {
	if f.g != nil {
		if aged, changed := f.g.Age(f.now); changed {
			f.g = &aged
		}
		people, err := approversOf(tx, p, []grant.Grant{*f.g})
		if err != nil {
			return err
		}
		byGrant, _, err := tx.OpenSessions()
		if err != nil {
			return err
		}
		v := c.viewOf(p, *f.g, people[f.tenant], byGrant[f.g.ID])
		f.others, f.open = v.Approvers, v.Sessions
	}
	if f.person.ID != "" {
		list, err := tx.Sessions(store.SessionFilter{PersonUID: f.person.ID, TargetUID: target, Refused: true, Limit: refusalsShown})
		if err != nil {
			return err
		}
		for _, s := range list {
			f.last = append(f.last, p.viewSession(s, false))
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	f.policy = &resource.AccessPolicySpec{}
	t := c.world.owned[target]
	if t == nil {
		return nil
	}
	f.target, f.policy, f.leader = t, c.world.policy(t), "the process that leads there"
	if p.sees(t.Metadata.Tenant) { // others are not told where it leads
		f.leader = leaderName(t)
	}
	for _, l := range c.world.leaders(t) {
		a := c.world.agents[identity.ID(l.ID)]
		if a == nil {
			continue
		}
		st := a.Status
		c.presence.overlay(identity.ID(l.ID), &st)
		if c.store.Shared() && f.now.Sub(st.LastSeen) < seenLately { // it may be connected to another server
			st.Connected = true
		}
		f.leads = &leaderFacts{connected: st.Connected, seen: st.LastSeen, certificate: st.CertificateEnd, revision: st.PlanRevision, problems: st.Problems,
			wanted: c.compiler.agent(c.world, a).Revision}
		if f.leads.connected {
			break
		}
	}
	return nil
}

// leaderName is what a target names: an agent, or a hub's service.
func leaderName(t *resource.Target) string {
	if t.Spec.Device != nil {
		return "the process that serves " + t.Spec.Device.Service
	}
	return "the agent " + t.Spec.Agent
}

// targetAt finds a target by its path.
func (w *world) targetAt(k resource.Key) *resource.Target {
	for _, t := range w.at(placeKey{k.Tenant, k.Scope}).targets {
		if t.Metadata.Name == k.Name {
			return t
		}
	}
	return nil
}

// endWords says a session's end as people do.
func endWords(e session.End) string {
	words := map[session.End]string{
		session.NoGrant: "the process knew of no such grant", session.NotYours: "the grant was another person's", session.NotNow: "the grant did not hold at that time",
		session.TooMany: "too many sessions were open", session.Unreachable: "the target did not answer", session.NotRecordable: "it could not be recorded",
		session.NotAllowedHere: "the machine's own settings forbid the address", session.RejectedThere: "the device said no",
		session.BadLogin: "the SSH certificate or login was not good", session.CertificateGone: "the pass was not good",
	}[e]
	if words == "" {
		return string(e)
	}
	return words
}
