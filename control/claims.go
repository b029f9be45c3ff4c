package control

import (
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// claims is which endpoint of a network has a name, public or private: from the moment it is made, so that two cannot both wait for it,
// until its connection is Disconnected.
type claims map[string]*resource.PrivateEndpoint

// add gives an endpoint the names of its service. Who came first keeps a name.
func (c claims) add(e *resource.PrivateEndpoint, s *resource.Service) {
	for _, n := range claimedNames(e, s) {
		if c[n] == nil {
			c[n] = e
		}
	}
}

func claimedNames(e *resource.PrivateEndpoint, s *resource.Service) []string {
	if s == nil || e.Spec.WithoutNames || e.Status.Connection.State == resource.Disconnected {
		return nil
	}
	return certifiable(s)
}

// claims are the names of a network's endpoints as this change leaves them so far.
func (w *work) claims(here placeKey) claims {
	if c := w.claimed[here]; c != nil {
		return c
	}
	services, targets := map[string]*resource.Service{}, map[string]string{}
	var changed []*resource.PrivateEndpoint
	gone := map[string]bool{}
	for _, ch := range w.changes {
		if ch.after == nil {
			gone[ch.before.Head().Metadata.UID] = true
			continue
		}
		switch o := ch.after.(type) {
		case *resource.Service:
			services[o.Metadata.UID] = o
		case *resource.PrivateEndpoint:
			if ch.target != "" {
				targets[o.Metadata.UID] = ch.target
			}
			if placeOf(o) == here {
				gone[o.Metadata.UID] = true // as it was
				changed = append(changed, o)
			}
		}
	}
	c, world := claims{}, w.world()
	add := func(e *resource.PrivateEndpoint) {
		target := world.targets[e.Metadata.UID]
		if t := targets[e.Metadata.UID]; t != "" {
			target = t
		}
		s := services[target]
		if s == nil && !gone[target] {
			s = world.services[target]
		}
		c.add(e, s)
	}
	for _, e := range world.at(here).endpoints {
		if !gone[e.Metadata.UID] {
			add(e)
		}
	}
	for i, e := range changed {
		latest := true
		for _, later := range changed[i+1:] {
			latest = latest && later.Metadata.UID != e.Metadata.UID
		}
		if latest {
			add(e)
		}
	}
	if w.claimed == nil {
		w.claimed = map[placeKey]claims{}
	}
	w.claimed[here] = c
	return c
}

// claim keeps w.claimed in step with a change.
func (w *work) claim(ch change) {
	switch o := ch.after.(type) {
	case *resource.PrivateEndpoint:
		if c := w.claimed[placeOf(o)]; c != nil && ch.before == nil && ch.service != nil { // one more is quickly added
			c.add(o, ch.service)
			return
		}
		w.claimed = nil
	case *resource.Service:
		w.claimed = nil
	}
	switch ch.before.(type) {
	case *resource.PrivateEndpoint, *resource.Service:
		w.claimed = nil
	}
}

// checkClaims refuses names for an endpoint which another endpoint of its network has, or for which somebody wrote a record set by hand.
// This is decided when the endpoint is made, and not when the provider approves it: the provider has no part in it.
func (w *work) checkClaims(e *resource.PrivateEndpoint, s *resource.Service) error {
	op := "control.checkClaims"
	names := claimedNames(e, s)
	if len(names) == 0 {
		return nil
	}
	here := placeOf(e)
	claimed := w.claims(here)
	for _, n := range names {
		if other := claimed[n]; other != nil && other.Key() != e.Key() {
			return fault.Newf(op, fault.Conflict, "%s has the name %s in the network %s already, and a name leads to one address", other.Key(), n, here.network).
				Advise("delete one of the two endpoints, or set spec.withoutNames on one, which is then reached by its address only")
		}
		r, err := w.handwritten(here, n)
		if err != nil {
			return err
		}
		if r != nil {
			return fault.Newf(op, fault.Conflict, "%s would answer for %s in the network %s, for which the %s was written by hand", e.Key(), n, here.network, r.Key()).
				Advise("delete the record set (isthmus delete recordset %s --reason ...), or set spec.withoutNames on the endpoint", r.Key().Path())
		}
	}
	return nil
}

// handwritten finds the record set of a manifest for a name in the zones linked to a network; nil when there is none.
func (w *work) handwritten(here placeKey, name string) (*resource.RecordSet, error) {
	zones, err := w.linkedZones(here)
	if err != nil {
		return nil, err
	}
	for _, z := range zones {
		if !under(name, z.Metadata.Name) {
			continue
		}
		o, err := w.get(recordKey(here.tenant, z.Metadata.Name, name))
		if err != nil || o != nil {
			return asOr[*resource.RecordSet](o), err
		}
	}
	return nil, nil
}

// linkedZones are read once for all the endpoints of one change: zones are applied before endpoints.
func (w *work) linkedZones(here placeKey) ([]*resource.Zone, error) {
	if w.zones == nil {
		list, err := w.List(resource.KindZone, noFilter)
		if err != nil {
			return nil, err
		}
		w.zones = map[placeKey][]*resource.Zone{}
		for _, o := range list {
			z := o.(*resource.Zone)
			for _, l := range z.Linked() {
				k := placeKey{z.Metadata.Tenant, l.Network}
				w.zones[k] = append(w.zones[k], z)
			}
		}
	}
	return w.zones[here], nil
}

// recordKey is where a name stands in a zone.
func recordKey(tenant, zone, name string) resource.Key {
	k := resource.Key{Kind: resource.KindRecordSet, Tenant: tenant, Scope: zone, Name: "@"}
	if name != zone {
		k.Name = strings.TrimSuffix(name, "."+zone)
	}
	return k
}

// checkRecordSet refuses to write over what endpoints made, or will make when they are approved.
func (w *work) checkRecordSet(key resource.Key) error {
	made := w.made[key.Tenant]
	if made == nil {
		made = map[resource.Key]*resource.RecordSet{}
		for _, r := range w.world().endpointRecords(key.Tenant) {
			made[r.Key()] = r
		}
		if w.made == nil {
			w.made = map[string]map[resource.Key]*resource.RecordSet{}
		}
		w.made[key.Tenant] = made
	}
	if r := made[key]; r != nil {
		return madeByEndpoint("control.checkRecordSet", r)
	}
	o, err := w.get(resource.Key{Kind: resource.KindZone, Tenant: key.Tenant, Name: key.Scope})
	if err != nil || o == nil {
		return err
	}
	name := key.Scope
	if key.Name != "@" {
		name = key.Name + "." + name
	}
	for _, l := range o.(*resource.Zone).Linked() {
		if e := w.claims(placeKey{key.Tenant, l.Network})[name]; e != nil {
			return fault.Newf("control.checkRecordSet", fault.Conflict, "%s answers for %s in the network %s, or will when it is approved", e.Key(), name, l.Network).
				Advise("a name leads to one place: choose another name, or set spec.withoutNames on the endpoint")
		}
	}
	return nil
}

// checkLinks refuses to link a zone to a network whose endpoints have names for which the zone has a record set written by hand.
func (w *work) checkLinks(before, after *resource.Zone) error {
	if before == nil {
		return nil // it has no record sets yet
	}
	for _, l := range after.Linked() {
		if _, was := before.LinkTo(l.Network); was {
			continue
		}
		for name, e := range w.claims(placeKey{after.Metadata.Tenant, l.Network}) {
			if !under(name, after.Metadata.Name) {
				continue
			}
			o, err := w.get(recordKey(after.Metadata.Tenant, after.Metadata.Name, name))
			if err != nil {
				return err
			}
			if o != nil {
				return fault.Newf("control.checkLinks", fault.Conflict, "%s answers for %s in the network %s, and the %s was written by hand for the same name",
					e.Key(), name, l.Network, o.Head().Key()).
					Advise("delete the record set (isthmus delete recordset %s --reason ...), or set spec.withoutNames on the endpoint", o.Head().Key().Path())
			}
		}
	}
	return nil
}

// checkServiceClaims holds new names of a service against the networks of the endpoints that lead to it.
func (w *work) checkServiceClaims(before, after *resource.Service, users []resource.Object) error {
	had := map[string]bool{}
	for _, n := range certifiable(before) {
		had[n] = true
	}
	fresh := false
	for _, n := range certifiable(after) {
		fresh = fresh || !had[n]
	}
	if !fresh {
		return nil
	}
	for _, o := range users {
		if err := w.checkClaims(o.(*resource.PrivateEndpoint), after); err != nil {
			return err
		}
	}
	return nil
}
