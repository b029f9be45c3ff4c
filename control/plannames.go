package control

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// names is what every resolver of a network knows.
type names struct {
	names     []plan.Name
	zones     []string
	redirect  []string
	forward   []plan.Forward
	upstreams []netip.AddrPort
	clients   []netip.Prefix
}

// lazyNames keeps a network's names between two changes, so that a thousand agents of one network compile them once. It is
// filled under Control.mu held for reading, by whoever comes first; two at once come to the same.
type lazyNames struct{ p atomic.Pointer[names] }

func (l *lazyNames) forget() { l.p.Store(nil) }

func (l *lazyNames) get(compile func() names) names {
	if n := l.p.Load(); n != nil {
		return *n
	}
	n := compile()
	l.p.Store(&n)
	return n
}

// compileNames gives the names of approved endpoints, the oldest endpoint first, and then the record sets of linked zones. Who
// comes first keeps a name: an endpoint's record is never hidden by a manifest's, nor by a younger endpoint's.
func compileNames(w *world, here placeKey) names {
	var out names
	seen := map[string]bool{}
	add := func(n plan.Name) {
		if !seen[n.Name] {
			seen[n.Name] = true
			out.names = append(out.names, n)
		}
	}
	p := w.at(here)
	for _, e := range p.endpoints {
		for _, pn := range w.endpointNames(e) {
			if seen[pn.Public] {
				continue // both halves of a name come from one endpoint
			}
			from := e.Key().String()
			if pn.Zone != "" {
				add(plan.Name{Name: pn.Public, TTL: resource.EndpointTTL, CNAME: pn.Private, Source: from})
			}
			add(plan.Name{Name: pn.Private, TTL: resource.EndpointTTL, A: []netip.Addr{e.Status.Address}, Source: from})
		}
	}
	for key, z := range w.zones {
		if key.Tenant != here.tenant || z.noun == nil {
			continue
		}
		link, linked := z.noun.LinkTo(here.network)
		if !linked {
			continue
		}
		out.zones = append(out.zones, key.Name)
		if link.ResolutionPolicy == resource.NxDomainRedirect {
			out.redirect = append(out.redirect, key.Name)
		}
		for _, r := range z.records {
			add(plan.NameOf(r))
		}
	}
	slices.Sort(out.zones)
	slices.Sort(out.redirect)
	slices.SortFunc(out.names, func(a, b plan.Name) int { return strings.Compare(a.Name, b.Name) })
	if p.ruleset != nil {
		out.forward = plan.ForwardsOf(p.ruleset)
	}
	if p.network != nil {
		out.clients = p.network.Spec.DNS.Clients
		out.upstreams = upstreams(p.network)
	}
	return out
}

// endpointNames are the names an endpoint answers for: none unless its connection is approved.
func (w *world) endpointNames(e *resource.PrivateEndpoint) []resource.PrivateName {
	s := w.services[w.targets[e.Metadata.UID]]
	if s == nil || !e.Status.Connection.Open() || e.Spec.WithoutNames {
		return nil
	}
	return s.PrivateNames()
}

// endpointRecords are the record sets which the endpoints of a tenant make: one A record for each private name, in each network
// that has it. They are computed, not kept, so they come and go with the connection.
func (w *world) endpointRecords(tenant string) []*resource.RecordSet {
	var out []*resource.RecordSet
	for here, p := range w.places {
		if here.tenant != tenant {
			continue
		}
		seen := map[string]bool{}
		for _, e := range p.endpoints {
			for _, pn := range w.endpointNames(e) {
				if seen[pn.Private] {
					continue
				}
				seen[pn.Private] = true
				out = append(out, endpointRecord(e, pn))
			}
		}
	}
	slices.SortFunc(out, func(a, b *resource.RecordSet) int {
		if c := strings.Compare(a.Key().Path(), b.Key().Path()); c != 0 {
			return c
		}
		return older(a, b)
	})
	return out
}

func endpointRecord(e *resource.PrivateEndpoint, pn resource.PrivateName) *resource.RecordSet {
	o, _ := resource.New(resource.KindRecordSet)
	r := o.(*resource.RecordSet)
	r.Metadata = resource.Meta{
		Tenant: e.Metadata.Tenant, UID: e.Metadata.UID, Generation: 1, CreatedAt: e.Metadata.CreatedAt, UpdatedAt: e.Status.Connection.DecidedAt,
	}
	if zone := pn.Zone; zone != "" {
		r.Metadata.Zone, r.Metadata.Name = zone, strings.TrimSuffix(pn.Private, "."+zone)
	} else if label, rest, ok := strings.Cut(pn.Private, "."); ok {
		r.Metadata.Zone, r.Metadata.Name = rest, label
	} else {
		r.Metadata.Zone, r.Metadata.Name = pn.Private, "@"
	}
	r.Spec = resource.RecordSetSpec{TTL: resource.EndpointTTL, A: []netip.Addr{e.Status.Address}}
	r.Status = resource.RecordSetStatus{Endpoint: e.Key().Path(), Network: e.Metadata.Network}
	return r
}
