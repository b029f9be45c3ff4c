package control

import (
	"cmp"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// world is the nouns in memory, indexed for compiling plans and for counting. It is what the store holds after some commit. The
// nouns in it are never changed, only replaced. Control.mu guards it.
type world struct {
	revision int64
	places   map[placeKey]*place
	zones    map[resource.Key]*zone // by the zone's key
	relays   []*resource.Relay      // by name
	services map[string]*resource.Service
	targets  map[string]string                      // endpoint uid to service uid
	users    map[string][]*resource.PrivateEndpoint // service uid to endpoints, oldest first
	keys     map[string][]byte                      // service uid to link key
	agents   map[identity.ID]*resource.Agent
	rulesets map[resource.Key]*resource.Ruleset
	revoked  map[placeKey][]string // SPIFFE ids, sorted

	policies map[resource.Key]*resource.AccessPolicy
	owned    map[string]*resource.Target            // by uid
	grants   map[string]map[string]*grant.Grant     // target uid, id: those that let somebody in, now or later
	publics  map[string]map[store.KeyPurpose]string // tenant: public halves of its keys

	bridges   map[string]*resource.Bridge // by uid
	contracts map[resource.Key]*contract
	hashKeys  map[string][]byte                       // contract uid to key
	rights    map[placeKey]map[string]resource.Object // a workload's network: services and role assignments that name it, by uid
}

// placeKey is a network's identity. The empty one stands for what belongs to no network: relays.
type placeKey struct{ tenant, network string }

// place is a network and what is in it, each list oldest first.
type place struct {
	network   *resource.Network
	agents    []*resource.Agent
	services  []*resource.Service
	endpoints []*resource.PrivateEndpoint
	gateways  []*resource.Gateway
	names     lazyNames

	targets    []*resource.Target // oldest first
	allowlists []*allowlist       // by name
	ruleset    *resource.Ruleset  // the one that is linked to the network

	bridges     []*resource.Bridge
	assignments []*resource.RoleAssignment
}

// allowlist is a list of rules and what it is cut into for plans.
type allowlist struct {
	noun  *resource.Allowlist
	parts []*plan.Part
}

// is tells whether the list is what the store holds. a may be nil.
func (a *allowlist) is(v store.Version) bool {
	if a == nil {
		return false
	}
	m := a.noun.Metadata
	return m.UID == v.UID && m.Generation == v.Generation && m.UpdatedAt.Equal(v.UpdatedAt)
}

func (a *allowlist) name() string { return a.noun.Metadata.Name }

type zone struct {
	noun    *resource.Zone
	records map[string]*resource.RecordSet
}

// change is one noun before and after a commit; one of the two may be nil.
type change struct {
	before, after resource.Object
	target        string            // of an endpoint: its service's uid
	service       *resource.Service // of a new endpoint: what it leads to
	key           []byte            // of a new service: its link key; of a new contract: its hash key
	revoked       *store.Revoked    // of a deleted agent
	parts         []*plan.Part      // of an allowlist

	grant  *grant.Grant     // instead of a noun
	public *store.PublicKey // instead of a noun
}

// dirty is whose plans may have changed: those of everybody, of everybody in a place, of single members.
type dirty struct {
	all     bool
	places  map[placeKey]struct{}
	members map[identity.ID]struct{}
	grants  []string // ids
}

func (d *dirty) add(k placeKey) { d.places[k] = struct{}{} }

func newWorld() *world {
	return &world{
		places: map[placeKey]*place{}, zones: map[resource.Key]*zone{}, services: map[string]*resource.Service{},
		targets: map[string]string{}, users: map[string][]*resource.PrivateEndpoint{}, keys: map[string][]byte{},
		agents: map[identity.ID]*resource.Agent{}, rulesets: map[resource.Key]*resource.Ruleset{}, revoked: map[placeKey][]string{},
		policies: map[resource.Key]*resource.AccessPolicy{}, owned: map[string]*resource.Target{},
		grants: map[string]map[string]*grant.Grant{}, publics: map[string]map[store.KeyPurpose]string{},
		bridges: map[string]*resource.Bridge{}, contracts: map[resource.Key]*contract{}, hashKeys: map[string][]byte{},
		rights: map[placeKey]map[string]resource.Object{},
	}
}

// loadWorld reads everything. old may be nil; long lists of rules that are as they were in it are not read again.
func (c *Control) loadWorld(tx *store.Tx) (*world, error) {
	w, now, old := newWorld(), c.clock.Now(), c.world
	all, err := tx.AllBut(resource.KindAllowlist)
	if err != nil {
		return nil, err
	}
	lists, err := tx.Versions(resource.KindAllowlist)
	if err != nil {
		return nil, err
	}
	targets, err := tx.References()
	if err != nil {
		return nil, err
	}
	keys, err := tx.LinkKeys()
	if err != nil {
		return nil, err
	}
	revoked, err := tx.RevokedIDs()
	if err != nil {
		return nil, err
	}
	if w.revision, err = tx.Revision(); err != nil {
		return nil, err
	}
	order := kindOrder()
	slices.SortStableFunc(all, func(a, b resource.Object) int { return cmp.Compare(order[a.Head().Kind], order[b.Head().Kind]) })
	for _, o := range all {
		uid := o.Head().Metadata.UID
		w.apply(change{after: o, target: targets[uid], key: keys[uid]})
	}
	for _, v := range lists {
		if was := old.allowlist(v.Key); was.is(v) {
			w.apply(change{after: was.noun, parts: was.parts})
			continue
		}
		o, err := tx.ByUID(v.UID)
		if err != nil {
			return nil, err
		}
		ch := change{after: o}
		if was := old.allowlist(v.Key); was != nil {
			ch.parts = plan.Cut(o.(*resource.Allowlist).Spec.Rules, was.parts)
		}
		w.apply(ch)
	}
	if err := w.loadAccess(tx); err != nil {
		return nil, err
	}
	if err := c.loadContractKeys(tx, w); err != nil {
		return nil, err
	}
	for _, r := range revoked {
		if r.NotAfter.After(now) {
			w.revoke(r)
		}
	}
	return w, nil
}

func kindOrder() map[resource.Kind]int {
	order := map[resource.Kind]int{}
	for i, k := range resource.Kinds() {
		order[k] = i
	}
	return order
}

// place returns a network's place, which is made when somebody stands in it before it is known.
func (w *world) place(k placeKey) *place {
	p := w.places[k]
	if p == nil {
		p = &place{}
		w.places[k] = p
	}
	return p
}

// at is place for readers: it makes nothing.
func (w *world) at(k placeKey) *place {
	if p := w.places[k]; p != nil {
		return p
	}
	return &place{}
}

func placeOf(o resource.Object) placeKey {
	m := o.Head().Metadata
	return placeKey{m.Tenant, m.Network}
}

// commit applies changes in their order and tells whose plans they may have changed.
func (w *world) commit(changes []change) dirty {
	d := dirty{places: map[placeKey]struct{}{}, members: map[identity.ID]struct{}{}}
	for _, ch := range changes {
		if ch.grant != nil || ch.public != nil {
			w.applyAccess(ch, &d)
			continue
		}
		if ch.before != nil {
			w.reach(ch.before, &d)
		}
		w.apply(ch)
		if ch.after != nil {
			w.reach(ch.after, &d)
		}
		if ch.revoked != nil {
			w.revoke(*ch.revoked)
			d.add(placeKey{}) // the relays refuse it too
		}
	}
	for k := range d.places {
		if p := w.places[k]; p != nil {
			p.names.forget()
		}
	}
	return d
}

// reach adds the networks whose agents' plans a noun has a part in.
func (w *world) reach(o resource.Object, d *dirty) {
	here := placeOf(o)
	switch o := o.(type) {
	case *resource.Tenant:
	case *resource.Network:
		d.add(placeKey{o.Metadata.Tenant, o.Metadata.Name})
	case *resource.Zone:
		for _, l := range o.Linked() {
			d.add(placeKey{o.Metadata.Tenant, l.Network})
		}
	case *resource.Ruleset:
		for _, n := range o.Spec.Networks {
			d.add(placeKey{o.Metadata.Tenant, n})
		}
	case *resource.Gateway:
		w.carriers(o, d)
	case *resource.Allowlist:
		for _, g := range w.at(here).gateways {
			if holdsFor(o, g) {
				w.carriers(g, d)
			}
		}
	case *resource.IdentityProvider:
	case *resource.AccessPolicy:
		for _, t := range w.owned {
			if w.policyKey(t) == o.Key() {
				d.add(placeOf(t))
			}
		}
	case *resource.Target:
		d.add(here)
	case *resource.Bridge:
		w.carrier(o, d)
		w.reachRights(here, d)
	case *resource.Contract:
		w.reachContract(o, d)
	case *resource.RoleAssignment:
		w.servers(here, o.Spec.Service, d)
	case *resource.RecordSet:
		if z := w.zones[zoneKey(o)]; z != nil && z.noun != nil {
			w.reach(z.noun, d)
		}
	case *resource.Relay:
		d.all = true
	case *resource.Agent:
		d.add(here)
		w.reachRights(here, d)
		p := w.place(here)
		for _, s := range p.services { // consumers dial this agent
			for _, e := range w.users[s.Metadata.UID] {
				d.add(placeOf(e))
			}
		}
		for _, e := range p.endpoints { // providers refuse it once it is deleted
			if s := w.services[w.targets[e.Metadata.UID]]; s != nil {
				d.add(placeOf(s))
			}
		}
	case *resource.Service:
		d.add(here)
		for _, e := range w.users[o.Metadata.UID] {
			d.add(placeOf(e))
		}
	case *resource.PrivateEndpoint:
		d.add(here)
		if s := w.services[w.targets[o.Metadata.UID]]; s != nil {
			d.add(placeOf(s))
		}
	}
}

// apply puts one noun in place of another.
func (w *world) apply(ch change) {
	o := ch.after
	if o == nil {
		o = ch.before
	}
	uid, here := o.Head().Metadata.UID, placeOf(o)
	switch o := o.(type) {
	case *resource.Tenant:
	case *resource.Network:
		k := placeKey{o.Metadata.Tenant, o.Metadata.Name}
		if ch.after == nil {
			delete(w.places, k)
			return
		}
		w.place(k).network = o
	case *resource.Zone:
		if ch.after == nil {
			delete(w.zones, o.Key())
			return
		}
		w.zone(o.Key()).noun = o
	case *resource.Ruleset:
		w.link(o.Key(), asOr[*resource.Ruleset](ch.after))
	case *resource.Gateway:
		p := w.place(here)
		p.gateways = replace(p.gateways, uid, asOr[*resource.Gateway](ch.after), older)
	case *resource.Allowlist:
		w.place(here).allow(o, ch)
	case *resource.IdentityProvider:
	case *resource.AccessPolicy:
		delete(w.policies, o.Key())
		if ch.after != nil {
			w.policies[o.Key()] = o
		}
	case *resource.Target:
		p := w.place(here)
		p.targets = replace(p.targets, uid, asOr[*resource.Target](ch.after), older)
		delete(w.owned, uid)
		if ch.after != nil {
			w.owned[uid] = o
		}
	case *resource.Bridge, *resource.Contract, *resource.RoleAssignment:
		w.applyBridging(ch)
	case *resource.RecordSet:
		z := w.zone(zoneKey(o))
		delete(z.records, o.Metadata.Name)
		if ch.after != nil {
			z.records[o.Metadata.Name] = o
		}
	case *resource.Relay:
		w.relays = replace(w.relays, uid, asOr[*resource.Relay](ch.after), func(a, b *resource.Relay) int {
			return strings.Compare(a.Metadata.Name, b.Metadata.Name)
		})
	case *resource.Agent:
		p := w.place(here)
		p.agents = replace(p.agents, uid, asOr[*resource.Agent](ch.after), older)
		delete(w.agents, identity.ID(o.Status.SPIFFEID))
		if ch.after != nil {
			w.agents[identity.ID(o.Status.SPIFFEID)] = o
		}
	case *resource.Service:
		p := w.place(here)
		p.services = replace(p.services, uid, asOr[*resource.Service](ch.after), older)
		delete(w.services, uid)
		w.applyBridging(ch)
		if ch.after == nil {
			delete(w.keys, uid)
			return
		}
		w.services[uid] = o
		if ch.key != nil {
			w.keys[uid] = ch.key
		}
	case *resource.PrivateEndpoint:
		after := asOr[*resource.PrivateEndpoint](ch.after)
		p := w.place(here)
		p.endpoints = replace(p.endpoints, uid, after, older)
		target := w.targets[uid]
		if ch.target != "" {
			target = ch.target
		}
		w.users[target] = replace(w.users[target], uid, after, older)
		if len(w.users[target]) == 0 {
			delete(w.users, target)
		}
		delete(w.targets, uid)
		if after != nil {
			w.targets[uid] = target
		}
	}
}

// link puts a ruleset in the place of what it was before; nil takes it away.
func (w *world) link(k resource.Key, after *resource.Ruleset) {
	if was := w.rulesets[k]; was != nil {
		for _, n := range was.Spec.Networks {
			if p := w.at(placeKey{k.Tenant, n}); p.ruleset == was {
				p.ruleset = nil
			}
		}
	}
	delete(w.rulesets, k)
	if after == nil {
		return
	}
	w.rulesets[k] = after
	for _, n := range after.Spec.Networks {
		w.place(placeKey{k.Tenant, n}).ruleset = after
	}
}

// allow puts an allowlist in the place of what it was before.
func (p *place) allow(o *resource.Allowlist, ch change) {
	i, found := p.findAllowlist(o.Metadata.Name)
	p.allowlists = slices.Clone(p.allowlists)
	if found {
		p.allowlists = slices.Delete(p.allowlists, i, i+1)
	}
	if ch.after == nil {
		return
	}
	next := &allowlist{noun: o, parts: ch.parts}
	if ch.parts == nil {
		next.parts = plan.Cut(o.Spec.Rules, nil)
	}
	p.allowlists = slices.Insert(p.allowlists, i, next)
}

// allowlist returns what is known of an allowlist, nil when there is none or no world.
func (w *world) allowlist(k resource.Key) *allowlist {
	if w == nil {
		return nil
	}
	p := w.at(placeKey{k.Tenant, k.Scope})
	if i, found := p.findAllowlist(k.Name); found {
		return p.allowlists[i]
	}
	return nil
}

func (p *place) findAllowlist(name string) (int, bool) {
	return slices.BinarySearchFunc(p.allowlists, name, func(a *allowlist, name string) int { return strings.Compare(a.name(), name) })
}

func (w *world) zone(k resource.Key) *zone {
	z := w.zones[k]
	if z == nil {
		z = &zone{records: map[string]*resource.RecordSet{}}
		w.zones[k] = z
	}
	return z
}

// revoke remembers an id that agents of the network's partners must refuse.
func (w *world) revoke(r store.Revoked) {
	k := placeKey{r.Tenant, r.Network}
	if i, found := slices.BinarySearch(w.revoked[k], r.ID); !found {
		w.revoked[k] = slices.Insert(slices.Clone(w.revoked[k]), i, r.ID)
	}
}

func zoneKey(r *resource.RecordSet) resource.Key {
	return resource.Key{Kind: resource.KindZone, Tenant: r.Metadata.Tenant, Name: r.Metadata.Zone}
}
