package control

import (
	"context"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

var noFilter = store.Filter{}

func storeFilter(tenant, scope string) store.Filter {
	return store.Filter{Tenant: tenant, Scope: scope}
}

// Get returns a noun with its status. NotFound for what is not there and, with the same words, for what the principal may not see.
// Of another tenant's service that is visible only type, names and ports are shown.
func (c *Control) Get(ctx context.Context, p Principal, key resource.Key) (resource.Object, error) {
	op := "control.Get"
	if _, ok := resource.ScopeOf(key.Kind); !ok {
		return nil, fault.Newf(op, fault.Invalid, "%q is not a kind", key.Kind)
	}
	var o resource.Object
	err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		if o, err = tx.Get(key); err != nil || key.Kind != resource.KindTarget {
			return err
		}
		return c.countSessions(tx, []resource.Object{o})
	})
	if fault.KindOf(err) == fault.NotFound {
		if o = c.endpointRecord(p, key); o == nil {
			return nil, noSuch(op, key)
		}
		return o, nil
	}
	if err != nil {
		return nil, err
	}
	if o = c.show(p, o); o == nil {
		return nil, noSuch(op, key)
	}
	return o, nil
}

// List returns the nouns of a kind that the principal may see, by tenant, scope and name. Record sets that endpoints made come
// after the others. A tenant that is not there, or not to be seen, gives an empty list.
func (c *Control) List(ctx context.Context, p Principal, kind resource.Kind, f Filter) ([]resource.Object, error) {
	op := "control.List"
	if _, ok := resource.ScopeOf(kind); !ok {
		return nil, fault.Newf(op, fault.Invalid, "%q is not a kind", kind)
	}
	scope, _ := resource.ScopeOf(kind)
	if scope == resource.ScopeDeployment {
		f = Filter{}
	}
	var all []resource.Object
	if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		if all, err = tx.List(kind, storeFilter(f.Tenant, f.Scope)); err != nil || kind != resource.KindTarget {
			return err
		}
		return c.countSessions(tx, all)
	}); err != nil {
		return nil, err
	}
	out := make([]resource.Object, 0, len(all))
	for _, o := range all {
		if o = c.show(p, o); o != nil {
			out = append(out, o)
		}
	}
	if kind == resource.KindRecordSet {
		for _, r := range c.endpointRecords(p, f) {
			out = append(out, r)
		}
	}
	return out, nil
}

// show returns what the principal may see of a noun, with its status filled in; nil when it may not know of it.
func (c *Control) show(p Principal, o resource.Object) resource.Object {
	owner := ownerOf(o.Head().Key())
	if r, ok := o.(*resource.Relay); ok { // every agent dials them, so they are no secret
		r.Status.LastSeen = later(r.Status.LastSeen, c.presence.lastSeen(identity.ID(r.Status.SPIFFEID)))
		return r
	}
	if p.sees(owner) {
		c.fill(o)
		return o
	}
	if s, ok := o.(*resource.Service); ok && s.VisibleTo(p.Tenant) {
		return fromOutside(s)
	}
	if t, ok := o.(*resource.Target); ok && t.VisibleTo(p.Tenant) {
		return targetFromOutside(t)
	}
	if n, ok := o.(*resource.Contract); ok && p.sees(n.Spec.With) {
		return contractFromOutside(n)
	}
	return nil
}

// fromOutside is what another tenant needs of a service for making an endpoint, and no more.
func fromOutside(s *resource.Service) *resource.Service {
	m := s.Metadata
	out := &resource.Service{Header: s.Header}
	out.Metadata = resource.Meta{Tenant: m.Tenant, Network: m.Network, Name: m.Name, UID: m.UID, CreatedAt: m.CreatedAt}
	out.Spec = resource.ServiceSpec{Type: s.Spec.Type, HostName: s.Spec.HostName, AdditionalHostNames: s.Spec.AdditionalHostNames, PublicSuffix: s.Spec.PublicSuffix}
	for _, port := range s.Spec.Ports {
		out.Spec.Ports = append(out.Spec.Ports, resource.ServicePort{Port: port.Port})
	}
	return out
}

// fill computes the parts of a status that are not kept.
func (c *Control) fill(o resource.Object) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	w := c.world
	switch o := o.(type) {
	case *resource.Network:
		p := w.at(placeKey{o.Metadata.Tenant, o.Metadata.Name})
		o.Status = resource.NetworkStatus{Agents: len(p.agents), Endpoints: len(p.endpoints), Services: len(p.services)}
	case *resource.Zone:
		if z := w.zones[o.Key()]; z != nil {
			o.Status.RecordSets = len(z.records)
		}
		for _, r := range w.endpointRecords(o.Metadata.Tenant) {
			if r.Metadata.Zone == o.Metadata.Name {
				o.Status.RecordSets++
			}
		}
	case *resource.Agent:
		c.presence.overlay(identity.ID(o.Status.SPIFFEID), &o.Status)
	case *resource.Service:
		for _, e := range w.users[o.Metadata.UID] {
			if o.Status.Connections == nil {
				o.Status.Connections = map[string]int{}
			}
			o.Status.Connections[string(e.Status.Connection.State)]++
		}
	case *resource.PrivateEndpoint:
		c.fillEndpoint(w, o)
	case *resource.Ruleset:
		o.Status = resource.RulesetStatus{Rules: len(o.Spec.Rules)}
	case *resource.Gateway:
		o.Status = c.compiler.gatewayStatus(w, o, c.clock.Now())
	case *resource.Allowlist:
		o.Status = resource.AllowlistStatus{Rules: len(o.Spec.Rules), Expired: expired(o.Spec.Rules, c.clock.Now())}
	case *resource.AccessPolicy:
		o.Status = resource.AccessPolicyStatus{Targets: w.targetsOf(o)}
	case *resource.Target:
		o.Status.Grants = w.liveGrants(o, c.clock.Now())
	case *resource.Contract:
		o.Status.Bridges = w.bridgesUnder(o)
	case *resource.Bridge:
		c.fillBridge(w, o)
	case *resource.RoleAssignment:
		o.Status.Known = c.compiler.known(w, o)
	}
}

func (c *Control) fillEndpoint(w *world, e *resource.PrivateEndpoint) {
	e.Status.Agent = e.Spec.Agent
	if a := w.at(placeOf(e)).listener(); e.Status.Agent == "" && a != nil {
		e.Status.Agent = a.Metadata.Name
	}
	s := w.services[w.targets[e.Metadata.UID]]
	if s == nil || !e.Status.Connection.Open() {
		return
	}
	if !e.Spec.WithoutNames {
		e.Status.HostNames = s.HostNames()
	}
	for _, p := range s.Ports() {
		e.Status.Ports = append(e.Status.Ports, p.Port)
	}
}

func (c *Control) endpointRecord(p Principal, key resource.Key) resource.Object {
	if key.Kind != resource.KindRecordSet || !p.sees(key.Tenant) {
		return nil
	}
	for _, r := range c.endpointRecords(p, Filter{Tenant: key.Tenant, Scope: key.Scope}) {
		if r.Metadata.Name == key.Name {
			return r
		}
	}
	return nil
}

func (c *Control) endpointRecords(p Principal, f Filter) []*resource.RecordSet {
	c.mu.RLock()
	defer c.mu.RUnlock()
	tenants := map[string]bool{}
	for k := range c.world.places {
		if p.sees(k.tenant) && (f.Tenant == "" || f.Tenant == k.tenant) {
			tenants[k.tenant] = true
		}
	}
	var out []*resource.RecordSet
	for _, t := range sortedKeys(tenants) {
		for _, r := range c.world.endpointRecords(t) {
			if f.Scope == "" || f.Scope == r.Metadata.Zone {
				out = append(out, r)
			}
		}
	}
	return out
}
