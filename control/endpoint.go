package control

import (
	"fmt"
	"net/netip"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// autoApproval is who decided a connection that nobody was asked for.
const autoApproval = "auto-approval"

// createEndpoint finds the service, gives the endpoint its address and its connection a link id, and asks the provider.
func (w *work) createEndpoint(e *resource.PrivateEndpoint) (Change, error) {
	op := "control.createEndpoint"
	m := e.Metadata
	o, err := w.get(networkKey(m.Tenant, m.Network))
	if err != nil {
		return Change{}, err
	}
	network := asOr[*resource.Network](o)
	if network == nil {
		return Change{}, noSuch(op, networkKey(m.Tenant, m.Network))
	}
	service, err := w.findService(m.Tenant, e.Spec.Service)
	if err != nil {
		return Change{}, err
	}
	warnings, err := w.checkListener(e)
	if err != nil {
		return Change{}, err
	}
	if e.Status.Address, err = w.chooseAddress(network, e.Spec.Address); err != nil {
		return Change{}, err
	}
	if err := w.checkClaims(e, service); err != nil {
		return Change{}, err
	}
	conn := resource.Connection{State: resource.Pending, LinkID: newLinkID(), RequestedAt: w.now, RequestedBy: w.who}
	auto := service.AutoApproves(m.Tenant)
	if auto {
		if conn, err = conn.Apply(resource.Approve, autoApproval, "tenant "+m.Tenant+" is approved automatically", w.now); err != nil {
			return Change{}, err
		}
	}
	e.Status.Connection = conn
	if err := w.insert(e, change{target: service.Metadata.UID, service: service}); err != nil {
		return Change{}, err
	}
	if err := w.TakeAddress(network.Metadata.UID, e.Status.Address, e.Metadata.UID); err != nil {
		return Change{}, err
	}
	w.taken[network.Metadata.UID][e.Status.Address] = e.Metadata.UID
	for range 8 { // two of the same in four thousand million are rare, eight in a row are a broken source of randomness
		free, err := w.TakeLink(conn.LinkID, e.Metadata.UID)
		if err != nil {
			return Change{}, err
		}
		if free {
			return Change{Action: Created, Warnings: warnings}, w.finishEndpoint(e, service, auto)
		}
		conn.LinkID = newLinkID()
		e.Status.Connection.LinkID = conn.LinkID
		if err := w.Put(e); err != nil {
			return Change{}, err
		}
	}
	return Change{}, fault.New(op, fault.Exhausted, "no link id could be found that is free").Advise("try again")
}

// finishEndpoint writes the records: the consumer's of the endpoint, the provider's of the request, and both of a decision.
func (w *work) finishEndpoint(e *resource.PrivateEndpoint, s *resource.Service, auto bool) error {
	key, consumer, provider := e.Key(), e.Metadata.Tenant, s.Metadata.Tenant
	if err := w.record(consumer, "create", key, nil, w.portray(e)); err != nil {
		return err
	}
	if provider != consumer {
		if err := w.record(provider, "request", key, nil, e.Status.Connection); err != nil {
			return err
		}
	}
	if !auto {
		return nil
	}
	who, why := w.who, w.why
	defer func() { w.who, w.why = who, why }()
	w.who, w.why = autoApproval, e.Status.Connection.Description
	return w.recordBoth(string(resource.Approve), key, consumer, provider, nil, e.Status.Connection)
}

// recordBoth adds to the chains of both sides of a connection, once when they are the same.
func (w *work) recordBoth(operation string, key resource.Key, consumer, provider string, before, after any) error {
	if err := w.record(consumer, operation, key, before, after); err != nil || provider == consumer || provider == "" {
		return err
	}
	return w.record(provider, operation, key, before, after)
}

// chooseAddress honours a fixed address that is free, or takes the lowest.
func (w *work) chooseAddress(n *resource.Network, fixed netip.Addr) (netip.Addr, error) {
	op := "control.chooseAddress"
	used, err := w.addresses(n.Metadata.UID)
	if err != nil {
		return netip.Addr{}, err
	}
	if !fixed.IsValid() {
		a, err := resource.Allocate(n.Spec.AddressRanges, func(a netip.Addr) bool { return used[a] != "" })
		if fault.KindOf(err) == fault.Exhausted && err != nil {
			return a, fault.Newf(op, fault.Exhausted, "every address of the network %s is taken: %d endpoints are in %v", n.Key().Path(), len(used), n.Spec.AddressRanges).
				Advise("add a range to spec.addressRanges of the network, or delete endpoints nobody uses (isthmus get endpoints --tenant %s --network %s)", n.Metadata.Tenant, n.Metadata.Name).Because(err)
		}
		return a, err
	}
	if !resource.Assignable(n.Spec.AddressRanges, fixed) {
		return netip.Addr{}, fault.Newf(op, fault.Invalid, "spec.address %s is none that %s gives out", fixed, n.Key()).
			Advise("choose one inside spec.addressRanges %v; the first four of a range and its last are reserved", n.Spec.AddressRanges)
	}
	if uid := used[fixed]; uid != "" {
		who := "another endpoint"
		if o, err := w.ByUID(uid); err == nil {
			who = o.Head().Key().String()
		}
		return netip.Addr{}, fault.Newf(op, fault.Conflict, "the address %s is taken by %s", fixed, who).
			Advise("choose another, or leave spec.address out and one is chosen")
	}
	return fixed, nil
}

// checkEndpoint refuses what cannot change while an endpoint lives: what it leads to, and its address.
func (w *work) checkEndpoint(before, after *resource.PrivateEndpoint) (warnings []string, err error) {
	op := "control.checkEndpoint"
	if after.Spec.Service != before.Spec.Service {
		target, err := w.Reference(before.Metadata.UID)
		if err != nil {
			return nil, err
		}
		s, err := w.findService(after.Metadata.Tenant, after.Spec.Service)
		if err != nil {
			return nil, err
		}
		if s.Metadata.UID != target {
			return nil, fault.Newf(op, fault.Conflict, "spec.service cannot change: the endpoint leads to %s", before.Spec.Service).
				Advise("make a new endpoint for %s, and delete this one when nobody uses it", after.Spec.Service)
		}
	}
	if a := after.Spec.Address; a.IsValid() && a != before.Status.Address {
		return nil, fault.Newf(op, fault.Conflict, "spec.address cannot change: the endpoint has %s", before.Status.Address).
			Advise("take spec.address out, or make a new endpoint with %s", a)
	}
	if before.Spec.WithoutNames && !after.Spec.WithoutNames {
		s, err := w.serviceOf(before)
		if err != nil {
			return nil, err
		}
		if err := w.checkClaims(after, s); err != nil {
			return nil, err
		}
	}
	return w.checkListener(after)
}

// checkListener warns of an agent that is not there yet.
func (w *work) checkListener(e *resource.PrivateEndpoint) (warnings []string, err error) {
	if e.Spec.Agent == "" {
		return nil, nil
	}
	m := e.Metadata
	o, err := w.get(resource.Key{Kind: resource.KindAgent, Tenant: m.Tenant, Scope: m.Network, Name: e.Spec.Agent})
	if err != nil {
		return nil, err
	}
	a := asOr[*resource.Agent](o)
	switch {
	case a == nil:
		return []string{fmt.Sprintf("no agent %s has joined the network %s yet, so nobody listens on this endpoint", e.Spec.Agent, m.Network)}, nil
	case a.Spec.Role != resource.RoleAgent:
		return nil, fault.Newf("control.checkListener", fault.Invalid, "spec.agent names %s, which joined as %s and cannot listen for endpoints", e.Spec.Agent, a.Spec.Role).
			Advise("name a process that joined with a token for an agent, or leave spec.agent out")
	}
	return nil, nil
}
