package control

import (
	"slices"

	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// loadContractKeys opens the keys that hashed fields are hashed with.
func (c *Control) loadContractKeys(tx *store.Tx, w *world) error {
	sealed, err := tx.ContractKeys()
	if err != nil {
		return err
	}
	for uid, s := range sealed {
		if w.hashKeys[uid], err = c.open(contractKeyPurpose(uid), s); err != nil {
			return err
		}
	}
	return nil
}

// applyBridging puts a bridge, a contract, a role assignment or a service's trust in place of another.
func (w *world) applyBridging(ch change) {
	w.named(ch.before, false)
	w.named(ch.after, true)
	o := ch.after
	if o == nil {
		o = ch.before
	}
	uid := o.Head().Metadata.UID
	switch o := o.(type) {
	case *resource.Bridge:
		p := w.place(placeOf(o))
		p.bridges = replace(p.bridges, uid, asOr[*resource.Bridge](ch.after), older)
		delete(w.bridges, uid)
		if ch.after != nil {
			w.bridges[uid] = o
		}
	case *resource.RoleAssignment:
		p := w.place(placeOf(o))
		p.assignments = replace(p.assignments, uid, asOr[*resource.RoleAssignment](ch.after), older)
	case *resource.Contract:
		if ch.key != nil {
			w.hashKeys[uid] = ch.key
		}
		delete(w.contracts, o.Key())
		if ch.after == nil {
			delete(w.hashKeys, uid)
			return
		}
		w.contracts[o.Key()] = newContract(o)
	}
}

// named keeps which services and assignments name workloads of which network.
func (w *world) named(o resource.Object, there bool) {
	if o == nil {
		return
	}
	uid := o.Head().Metadata.UID
	for _, of := range workloadsOf(o) {
		k, ok := workloadPlace(of)
		if !ok {
			continue
		}
		if there {
			if w.rights[k] == nil {
				w.rights[k] = map[string]resource.Object{}
			}
			w.rights[k][uid] = o
			continue
		}
		delete(w.rights[k], uid)
		if len(w.rights[k]) == 0 {
			delete(w.rights, k)
		}
	}
}

func workloadsOf(o resource.Object) []resource.Workload {
	switch o := o.(type) {
	case *resource.RoleAssignment:
		return []resource.Workload{o.Spec.Workload}
	case *resource.Service:
		return o.Spec.TrustedWorkloads
	}
	return nil
}

func workloadKey(of resource.Workload) (resource.Key, bool) {
	k, err := resource.ParseKey(resource.Kind(of.Kind), of.Name)
	return k, err == nil
}

func workloadPlace(of resource.Workload) (placeKey, bool) {
	k, ok := workloadKey(of)
	return placeKey{k.Tenant, k.Scope}, ok
}

// carrierOf is the process that carries a bridge now, nil when there is none.
func (w *world) carrierOf(b *resource.Bridge) *resource.Agent {
	return w.agentOf(placeOf(b), b.Status.Agent)
}

// carriedBy tells whether a process carries a bridge now.
func (w *world) carriedBy(b *resource.Bridge, a *resource.Agent) bool {
	now := w.carrierOf(b)
	return now != nil && now.Metadata.UID == a.Metadata.UID
}

// carriedTo lists the bridges that a process carries now.
func (w *world) carriedTo(id identity.ID) (out []*resource.Bridge) {
	a := w.agents[id]
	if a == nil {
		return nil
	}
	for _, b := range w.at(placeOf(a)).bridges {
		if w.carriedBy(b, a) {
			out = append(out, b)
		}
	}
	return out
}

func (w *world) agentOf(k placeKey, name string) *resource.Agent {
	if name == "" {
		return nil
	}
	for _, a := range w.at(k).agents {
		if a.Metadata.Name == name {
			return a
		}
	}
	return nil
}

// carrier adds who carries a bridge.
func (w *world) carrier(b *resource.Bridge, d *dirty) {
	if a := w.carrierOf(b); a != nil {
		d.members[identity.ID(a.Status.SPIFFEID)] = struct{}{}
	}
}

// reachRights adds the processes that serve what workloads of a network have rights at.
func (w *world) reachRights(workloads placeKey, d *dirty) {
	for _, o := range w.rights[workloads] {
		w.server(o, d)
	}
}

// server adds the process that serves a service, or the service of an assignment.
func (w *world) server(o resource.Object, d *dirty) {
	here := placeOf(o)
	switch o := o.(type) {
	case *resource.RoleAssignment:
		w.servers(here, o.Spec.Service, d)
	case *resource.Service:
		w.servers(here, o.Metadata.Name, d)
	}
}

func (w *world) servers(k placeKey, service string, d *dirty) {
	for _, s := range w.at(k).services {
		if s.Metadata.Name != service {
			continue
		}
		if a := w.agentOf(k, s.Spec.ServedBy); a != nil {
			d.members[identity.ID(a.Status.SPIFFEID)] = struct{}{}
		}
	}
}

// reachContract adds those who carry bridges under a contract, and those whose services know the other side's workloads by it.
func (w *world) reachContract(n *resource.Contract, d *dirty) {
	path := n.Key().Path()
	for _, b := range w.bridges {
		if b.Spec.Contract == path {
			w.carrier(b, d)
		}
	}
	for k, named := range w.rights {
		for _, o := range named {
			if between(n, k.tenant, o.Head().Metadata.Tenant) {
				w.server(o, d)
			}
		}
	}
}

// bridgesUnder lists the bridges that name a contract.
func (w *world) bridgesUnder(n *resource.Contract) []string {
	var out []string
	for _, b := range w.bridges {
		if b.Spec.Contract == n.Key().Path() {
			out = append(out, b.Key().Path())
		}
	}
	slices.Sort(out)
	return out
}
