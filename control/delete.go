package control

import (
	"context"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// Delete removes a noun. What others stand on stays: a tenant with networks, zones or rulesets, a network with anything in it, a zone with
// record sets, a service with connections that are Pending or Approved are Conflict. An endpoint goes in any state, with its
// address and names. An agent or relay that is deleted is revoked at once.
func (c *Control) Delete(ctx context.Context, p Principal, key resource.Key, reason string) error {
	op := "control.Delete"
	if err := p.mayWrite(op); err != nil {
		return err
	}
	if err := checkReason(op, reason); err != nil {
		return err
	}
	owner := ownerOf(key)
	if !p.sees(owner) {
		return noSuch(op, key)
	}
	if key.Kind == resource.KindTenant || key.Kind == resource.KindRelay {
		if err := p.mustBeAdmin(op, "delete a "+string(key.Kind)); err != nil {
			return err
		}
	}
	if key.Kind == resource.KindAccessPolicy || key.Kind == resource.KindIdentityProvider {
		if err := p.mayOwn(op); err != nil {
			return err
		}
	}
	var gone identity.ID
	err := c.update(ctx, p.Who(), reason, func(w *work) error {
		o, err := w.get(key)
		if err != nil {
			return err
		}
		if o == nil {
			if key.Kind == resource.KindRecordSet {
				if err := w.checkRecordSet(key); err != nil {
					return err
				}
			}
			return noSuch(op, key)
		}
		gone, _ = idOf(o) // empty for what has none
		return w.delete(o)
	})
	if err == nil {
		c.presence.forget(gone)
		c.metrics.changes.WithLabelValues("deleted").Inc()
	}
	return about(op, key, err)
}

func (w *work) delete(o resource.Object) error {
	key := o.Head().Key()
	var ch change
	var err error
	switch o := o.(type) {
	case *resource.Tenant:
		err = w.leaveTenant(o)
	case *resource.Network:
		err = w.leaveNetwork(o)
	case *resource.Zone:
		err = w.refuseIfAny(key, resource.KindRecordSet, storeFilter(o.Metadata.Tenant, o.Metadata.Name))
	case *resource.Service:
		err = w.leaveService(o)
	case *resource.PrivateEndpoint:
		err = w.withdraw(o)
	case *resource.AccessPolicy:
		err = w.leavePolicy(o)
	case *resource.IdentityProvider:
		err = w.leaveProvider(o)
	case *resource.Target:
		err = w.leaveTarget(o)
	case *resource.Contract:
		err = w.leaveContract(o)
	case *resource.Agent:
		err = w.changeKeys(o)
		ch.revoked = &store.Revoked{ID: o.Status.SPIFFEID, Tenant: o.Metadata.Tenant, Network: o.Metadata.Network, NotAfter: o.Status.CertificateEnd}
	case *resource.Relay:
		ch.revoked = &store.Revoked{ID: o.Status.SPIFFEID, NotAfter: w.now.Add(w.c.cfg.CertificateTTL)}
	}
	if err != nil {
		return err
	}
	if ch.revoked != nil {
		if err := w.Revoke(*ch.revoked); err != nil {
			return err
		}
	}
	if err := w.remove(o, ch); err != nil {
		return err
	}
	return w.record(ownerOf(key), "delete", key, w.portray(o), nil)
}

// refuseIfAny is Conflict when a place still holds nouns of a kind.
func (w *work) refuseIfAny(place resource.Key, kind resource.Kind, f store.Filter) error {
	list, err := w.List(kind, f)
	if err != nil || len(list) == 0 {
		return err
	}
	return fault.Newf("control.Delete", fault.Conflict, "it still holds %d of kind %s, such as %s", len(list), kind, list[0].Head().Key().Path()).
		Advise("delete them first; list them with: isthmus get %s", plural(kind))
}

// leaveTenant also ends the tenant's tokens, so that they do not open a tenant of the same name made later.
func (w *work) leaveTenant(t *resource.Tenant) error {
	f := storeFilter(t.Metadata.Name, "")
	for _, kind := range []resource.Kind{resource.KindNetwork, resource.KindZone, resource.KindRuleset, resource.KindAccessPolicy, resource.KindIdentityProvider, resource.KindContract} {
		if err := w.refuseIfAny(t.Key(), kind, f); err != nil {
			return err
		}
	}
	if err := w.leaveContractsWith(t.Metadata.Name); err != nil {
		return err
	}
	if err := w.leavePeople(t.Metadata.Name); err != nil {
		return err
	}
	if err := w.leaveWebhooks(t.Metadata.Name); err != nil {
		return err
	}
	tokens, err := w.APITokens(t.Metadata.Name, false)
	if err != nil {
		return err
	}
	for _, tok := range tokens {
		if err := w.revokeToken(tok); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) leaveNetwork(n *resource.Network) error {
	f := storeFilter(n.Metadata.Tenant, n.Metadata.Name)
	for _, kind := range []resource.Kind{resource.KindPrivateEndpoint, resource.KindService, resource.KindAgent, resource.KindGateway, resource.KindAllowlist, resource.KindTarget,
		resource.KindBridge, resource.KindRoleAssignment} {
		if err := w.refuseIfAny(n.Key(), kind, f); err != nil {
			return err
		}
	}
	zones, err := w.List(resource.KindZone, storeFilter(n.Metadata.Tenant, ""))
	if err != nil {
		return err
	}
	for _, o := range zones {
		if _, linked := o.(*resource.Zone).LinkTo(n.Metadata.Name); linked {
			return fault.Newf("control.Delete", fault.Conflict, "%s is linked to it", o.Head().Key()).
				Advise("take %s out of the zone's spec.networks or spec.links first", n.Metadata.Name)
		}
	}
	rulesets, err := w.List(resource.KindRuleset, storeFilter(n.Metadata.Tenant, ""))
	if err != nil {
		return err
	}
	for _, o := range rulesets {
		if slices.Contains(o.(*resource.Ruleset).Spec.Networks, n.Metadata.Name) {
			return fault.Newf("control.Delete", fault.Conflict, "%s is linked to it", o.Head().Key()).
				Advise("take %s out of the ruleset's spec.networks first", n.Metadata.Name)
		}
	}
	return w.DropJoinTokens(n.Metadata.Tenant, n.Metadata.Name)
}

// leaveService refuses while somebody is connected or waits; rejected endpoints learn that it is over for good.
func (w *work) leaveService(s *resource.Service) error {
	if err := w.leaveRights(s); err != nil {
		return err
	}
	users, err := w.Referring(s.Metadata.UID)
	if err != nil {
		return err
	}
	for _, o := range users {
		if e := o.(*resource.PrivateEndpoint); live(e.Status.Connection.State) {
			return fault.Newf("control.Delete", fault.Conflict, "%s is connected to it (%s)", e.Key(), e.Status.Connection.State).
				Advise("end the connection first: isthmus endpoint remove %s --reason ...", e.Key().Path())
		}
	}
	for _, o := range users {
		before := o.(*resource.PrivateEndpoint)
		if before.Status.Connection.State != resource.Rejected {
			continue
		}
		after := resource.Clone(before)
		if after.Status.Connection, err = before.Status.Connection.Apply(resource.Remove, w.who, "the service was deleted", w.now); err != nil {
			return err
		}
		if err := w.put(before, after); err != nil {
			return err
		}
		if err := w.recordBoth(string(resource.Remove), before.Key(), before.Metadata.Tenant, s.Metadata.Tenant, before.Status.Connection, after.Status.Connection); err != nil {
			return err
		}
	}
	return nil
}

// withdraw tells the provider of an endpoint that goes.
func (w *work) withdraw(e *resource.PrivateEndpoint) error {
	s, err := w.serviceOf(e)
	if err != nil || s == nil || s.Metadata.Tenant == e.Metadata.Tenant {
		return err
	}
	return w.record(s.Metadata.Tenant, "withdraw", e.Key(), e.Status.Connection, nil)
}

// serviceOf returns the service an endpoint leads to, nil when it was deleted.
func (w *work) serviceOf(e *resource.PrivateEndpoint) (*resource.Service, error) {
	uid, err := w.Reference(e.Metadata.UID)
	if err != nil {
		return nil, err
	}
	o, err := w.ByUID(uid)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return asOr[*resource.Service](o), err
}

// changeKeys gives new link keys to the services whose keys an agent or hub has in its plan: with the old ones it could still make
// PROXY headers that a hub believes.
func (w *work) changeKeys(a *resource.Agent) error {
	if a.Spec.Role == resource.RoleGateway || a.Spec.Role == resource.RoleBridge { // they are given none
		return nil
	}
	list, err := w.List(resource.KindService, storeFilter(a.Metadata.Tenant, a.Metadata.Network))
	if err != nil {
		return err
	}
	for _, o := range list {
		s := o.(*resource.Service)
		if by := s.Spec.ServedBy; by == "" || a.Spec.Role == resource.RoleHub && by != a.Metadata.Name {
			continue
		}
		if err := w.changeKey(s); err != nil {
			return err
		}
	}
	return nil
}

// changeKey reaches agents and hub with their next plans; what comes with a header in between is refused, and dials again.
func (w *work) changeKey(s *resource.Service) error {
	key := newKey()
	if err := w.SetLinkKey(s.Metadata.UID, key); err != nil {
		return err
	}
	w.changed(change{before: s, after: s, key: key})
	return nil
}
