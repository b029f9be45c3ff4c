package control

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// loadAccess reads what is not a noun and stands in plans all the same.
func (w *world) loadAccess(tx *store.Tx) error {
	grants, err := tx.OpenGrants()
	if err != nil {
		return err
	}
	keys, err := tx.PublicKeys()
	if err != nil {
		return err
	}
	for _, k := range keys {
		w.setPublic(k)
	}
	for _, g := range grants {
		w.setGrant(g)
	}
	return nil
}

func (w *world) setPublic(k store.PublicKey) {
	if w.publics[k.Tenant] == nil {
		w.publics[k.Tenant] = map[store.KeyPurpose]string{}
	}
	w.publics[k.Tenant][k.Purpose] = k.Public
}

// setGrant keeps a grant that lets somebody in, now or later, and drops any other.
func (w *world) setGrant(g grant.Grant) {
	of := w.grants[g.TargetUID]
	if g.State != grant.Approved {
		delete(of, g.ID)
		if len(of) == 0 {
			delete(w.grants, g.TargetUID)
		}
		return
	}
	if of == nil {
		of = map[string]*grant.Grant{}
		w.grants[g.TargetUID] = of
	}
	of[g.ID] = &g
}

// applyAccess applies a change that is not of a noun.
func (w *world) applyAccess(ch change, d *dirty) {
	if ch.public != nil {
		w.setPublic(*ch.public)
		return // nobody's plan has had a use for it yet
	}
	w.setGrant(*ch.grant)
	d.grants = append(d.grants, ch.grant.ID)
	if t := w.owned[ch.grant.TargetUID]; t != nil {
		d.add(placeOf(t))
	}
}

// putGrant keeps a grant, new or changed.
func (w *work) putGrant(g grant.Grant) error {
	if err := w.PutGrant(g); err != nil {
		return err
	}
	w.changes = append(w.changes, change{grant: &g})
	return nil
}

func (w *world) policyKey(t *resource.Target) resource.Key {
	return resource.Key{Kind: resource.KindAccessPolicy, Tenant: t.Metadata.Tenant, Name: cmp.Or(t.Spec.Policy, resource.DefaultPolicy)}
}

// policy is what holds for a target. The zero value holds where there is none.
func (w *world) policy(t *resource.Target) *resource.AccessPolicySpec {
	if p := w.policies[w.policyKey(t)]; p != nil {
		return &p.Spec
	}
	return &resource.AccessPolicySpec{}
}

func (w *world) targetsOf(p *resource.AccessPolicy) int {
	n := 0
	for _, t := range w.owned {
		if w.policyKey(t) == p.Key() {
			n++
		}
	}
	return n
}

func (w *world) liveGrants(t *resource.Target, now time.Time) int {
	n := 0
	for _, g := range w.grants[t.Metadata.UID] {
		if g.Live(now) {
			n++
		}
	}
	return n
}

// targetFromOutside is what another tenant's people need for asking, and no more: no address, no agent.
func targetFromOutside(t *resource.Target) *resource.Target {
	m := t.Metadata
	out := &resource.Target{Header: t.Header}
	out.Metadata = resource.Meta{Tenant: m.Tenant, Network: m.Network, Name: m.Name, UID: m.UID, CreatedAt: m.CreatedAt}
	out.Spec = resource.TargetSpec{Protocol: t.Spec.Protocol, State: t.Spec.State, Description: t.Spec.Description}
	if t.Spec.SSH != nil {
		out.Spec.SSH = &resource.TargetSSH{Logins: t.Spec.SSH.Logins}
	}
	return out
}

// checkTarget wants an agent or a served hub that is there, and a policy where one is named.
func (w *work) checkTarget(t *resource.Target) (warnings []string, err error) {
	op := "control.checkTarget"
	m := t.Metadata
	if err := w.mustExist(op, networkKey(m.Tenant, m.Network)); err != nil {
		return nil, err
	}
	if err := w.ensureKeys(m.Tenant); err != nil {
		return nil, err
	}
	if t.Spec.Policy != "" {
		if err := w.mustExist(op, resource.Key{Kind: resource.KindAccessPolicy, Tenant: m.Tenant, Name: t.Spec.Policy}); err != nil {
			return nil, err
		}
	}
	if t.Spec.Device == nil {
		a, err := w.get(resource.Key{Kind: resource.KindAgent, Tenant: m.Tenant, Scope: m.Network, Name: t.Spec.Agent})
		switch {
		case err != nil:
			return nil, err
		case a == nil:
			return []string{"the agent " + t.Spec.Agent + " has not joined the network " + m.Network + " yet: nobody gets in until it has"}, nil
		case a.(*resource.Agent).Spec.Role != resource.RoleAgent:
			return nil, fault.Newf(op, fault.Invalid, "%s is a %s, and only agents lead to addresses", t.Spec.Agent, a.(*resource.Agent).Spec.Role).
				Advise("name an agent, or a device of a hub")
		}
		return nil, nil
	}
	key := resource.Key{Kind: resource.KindService, Tenant: m.Tenant, Scope: m.Network, Name: t.Spec.Device.Service}
	o, err := w.get(key)
	switch {
	case err != nil:
		return nil, err
	case o == nil:
		return nil, noSuch(op, key)
	}
	if s := o.(*resource.Service); s.Spec.Type != resource.TypeIoTHub || s.Spec.ServedBy == "" {
		return nil, fault.Newf(op, fault.Invalid, "%s is no hub that Isthmus serves, so its devices cannot be asked for streams", key.Path()).
			Advise("name a service of type iothub with spec.servedBy")
	}
	return nil, nil
}

// leaveTarget ends the grants of a target that goes.
func (w *work) leaveTarget(t *resource.Target) error {
	if err := w.noteLeaders(t); err != nil {
		return err
	}
	open, err := w.Grants(store.GrantFilter{TargetUID: t.Metadata.UID, Open: true, Limit: maxGrantsOfTarget})
	if err != nil {
		return err
	}
	for _, g := range open {
		if err := w.cancelGrant(g, "the target was deleted"); err != nil {
			return err
		}
	}
	return nil
}

// cancelGrant ends a grant because what it is for is gone.
func (w *work) cancelGrant(g grant.Grant, why string) error {
	next := g.Cancel(w.who, why, w.now)
	if err := w.putGrant(next); err != nil {
		return err
	}
	return w.recordGrant("revoke", g, next)
}

// leavePolicy refuses while a target names it.
func (w *work) leavePolicy(p *resource.AccessPolicy) error {
	list, err := w.List(resource.KindTarget, storeFilter(p.Metadata.Tenant, ""))
	if err != nil {
		return err
	}
	for _, o := range list {
		if o.(*resource.Target).Spec.Policy == p.Metadata.Name {
			return fault.Newf("control.Delete", fault.Conflict, "%s names it", o.Head().Key()).Advise("give the target another spec.policy first")
		}
	}
	return nil
}

// targets compiles the ways into machines that a process leads to. Those into which nobody may come now or later are left out.
func (c compiler) targets(w *world, p *place, a *resource.Agent) []plan.Target {
	var out []plan.Target
	for _, t := range p.targets {
		of := w.grants[t.Metadata.UID]
		if len(of) == 0 || !t.Enabled() {
			continue
		}
		pt, leads := c.target(w, p, t, a)
		if !leads {
			continue
		}
		for _, g := range of {
			pt.Grants = append(pt.Grants, plan.Grant{
				ID: g.ID, Person: identity.PersonPrefix(c.trustDomain, g.Person.Tenant, g.Person.ID), Name: g.Person.Who(),
				From: g.From, Until: g.Until, Hours: g.Hours,
			})
		}
		slices.SortFunc(pt.Grants, func(a, b plan.Grant) int { return strings.Compare(a.ID, b.ID) })
		out = append(out, pt)
	}
	return out
}

// target compiles one; leads is false when another process leads there.
func (c compiler) target(w *world, p *place, t *resource.Target, a *resource.Agent) (pt plan.Target, leads bool) {
	policy := w.policy(t)
	pt = plan.Target{ID: t.Metadata.UID, Name: t.Key().Path(), Protocol: t.Protocol(), Limits: policy.Sessions}
	switch d := t.Spec.Device; {
	case d == nil && a.Spec.Role == resource.RoleAgent && t.Spec.Agent == a.Metadata.Name:
		pt.Address = t.Spec.Address
	case d != nil && a.Spec.Role == resource.RoleHub:
		i := slices.IndexFunc(p.services, func(s *resource.Service) bool {
			return s.Metadata.Name == d.Service && s.Spec.ServedBy == a.Metadata.Name
		})
		if i < 0 {
			return plan.Target{}, false
		}
		pt.Device = &plan.TargetDevice{Hub: p.services[i].Metadata.UID, Device: d.Device, Module: d.Module, Stream: d.Stream}
	default:
		return plan.Target{}, false
	}
	if policy.Recording == resource.RecordingRequired && pt.Protocol == resource.ProtocolSSH {
		keys := w.publics[t.Metadata.Tenant]
		pt.Record = &plan.Recording{UserCA: keys[store.KeySSHUsers], Recipients: policy.RecordingRecipients}
		if len(pt.Record.Recipients) == 0 {
			pt.Record.Recipients = []string{keys[store.KeyRecordings]}
		}
		if s := t.Spec.SSH; s != nil {
			pt.Record.Logins, pt.Record.HostKeys, pt.Record.Forwarding = s.Logins, s.HostKeys, s.PortForwarding
		}
	}
	return pt, true
}

// leaders are the processes that lead to a target: what a pass tells a person's program to dial.
func (w *world) leaders(t *resource.Target) []plan.Peer {
	p := w.at(placeOf(t))
	var out []plan.Peer
	for _, a := range p.agents {
		if _, leads := (compiler{}).target(w, p, t, a); leads {
			out = append(out, plan.Peer{ID: a.Status.SPIFFEID, Direct: a.Status.DirectAddress})
		}
	}
	return out
}
