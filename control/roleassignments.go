package control

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// checkRoleAssignment wants a service of the network at which the role means something. The workload may come later, and is not asked for: it
// may be another tenant's.
func (w *work) checkRoleAssignment(r *resource.RoleAssignment) (warnings []string, err error) {
	op := "control.checkRoleAssignment"
	m := r.Metadata
	if err := w.mustExist(op, networkKey(m.Tenant, m.Network)); err != nil {
		return nil, err
	}
	key := resource.Key{Kind: resource.KindService, Tenant: m.Tenant, Scope: m.Network, Name: r.Spec.Service}
	o, err := w.get(key)
	if err != nil {
		return nil, err
	}
	s := asOr[*resource.Service](o)
	if s == nil {
		return nil, noSuch(op, key)
	}
	if types := resource.RoleTypes(r.Spec.Role); !slices.Contains(types, s.Spec.Type) {
		var words []string
		for _, t := range types {
			words = append(words, string(t))
		}
		return nil, fault.Newf(op, fault.Invalid, "the role %s means nothing at a service of type %s", r.Spec.Role, s.Spec.Type).Advise("it is for %s", strings.Join(words, " and "))
	}
	if s.Spec.ServedBy == "" {
		warnings = append(warnings, fmt.Sprintf("the service %s is not served by Isthmus, so that nobody asks for this role there", r.Spec.Service))
	}
	return warnings, nil
}

// leaveRights refuses while role assignments are for a service: another one of its name would come with them.
func (w *work) leaveRights(s *resource.Service) error {
	list, err := w.List(resource.KindRoleAssignment, storeFilter(s.Metadata.Tenant, s.Metadata.Network))
	if err != nil {
		return err
	}
	for _, o := range list {
		if r := o.(*resource.RoleAssignment); r.Spec.Service == s.Metadata.Name {
			return fault.Newf("control.Delete", fault.Conflict, "%s is for it", r.Key()).Advise("delete that first: isthmus delete roleassignment %s", r.Key().Path())
		}
	}
	return nil
}

// workload returns who a workload is to the owner of a service, and who may speak for it: nobody when it is not there, or is of a tenant that
// has neither an approved connection from its network to the service nor a contract with the owner.
func (c compiler) workload(w *world, s *resource.Service, of resource.Workload) (id string, holder string) {
	k, ok := workloadKey(of)
	if !ok || !w.meets(s, placeKey{k.Tenant, k.Scope}) {
		return "", ""
	}
	if of.Kind == resource.WorkloadAgent {
		if a := w.agentOf(placeKey{k.Tenant, k.Scope}, k.Name); a != nil {
			return a.Status.SPIFFEID, a.Status.SPIFFEID
		}
		return "", ""
	}
	for _, b := range w.at(placeKey{k.Tenant, k.Scope}).bridges {
		if b.Metadata.Name != k.Name {
			continue
		}
		if a := w.carrierOf(b); a != nil {
			return c.bridgeID(b), a.Status.SPIFFEID
		}
		return c.bridgeID(b), ""
	}
	return "", ""
}

// meets tells whether the owner of a service may know of workloads of a network.
func (w *world) meets(s *resource.Service, k placeKey) bool {
	if k.tenant == s.Metadata.Tenant {
		return true
	}
	for _, e := range w.users[s.Metadata.UID] {
		if e.Status.Connection.Open() && placeOf(e) == k {
			return true
		}
	}
	for _, n := range w.contracts {
		if n.agreed != nil && between(n.noun, k.tenant, s.Metadata.Tenant) {
			return true
		}
	}
	return false
}

// rightsAt compiles who may do what at a served service, the oldest assignment first, and who may come in from the public side.
func (c compiler) rightsAt(w *world, p *place, s *resource.Service) (rights []plan.Assignment, trusted []string) {
	for _, r := range p.assignments {
		if r.Spec.Service != s.Metadata.Name || !slices.Contains(resource.RoleTypes(r.Spec.Role), s.Spec.Type) {
			continue
		}
		if id, holder := c.workload(w, s, r.Spec.Workload); holder != "" {
			rights = append(rights, plan.Assignment{Workload: id, Holders: []string{holder}, Role: r.Spec.Role, Scope: r.Spec.Scope})
		}
	}
	for _, t := range s.Spec.TrustedWorkloads {
		if id, _ := c.workload(w, s, t); id != "" && !slices.Contains(trusted, id) {
			trusted = append(trusted, id)
		}
	}
	return rights, trusted
}

// revokedWorkloads are the deleted agents of the networks whose workloads have rights at what a process serves.
func (c compiler) revokedWorkloads(w *world, p *place, a *resource.Agent) (out []string) {
	for _, s := range p.services {
		if s.Spec.ServedBy != a.Metadata.Name {
			continue
		}
		named := slices.Clone(s.Spec.TrustedWorkloads)
		for _, r := range p.assignments {
			if r.Spec.Service == s.Metadata.Name {
				named = append(named, r.Spec.Workload)
			}
		}
		for _, of := range named {
			if k, ok := workloadPlace(of); ok && w.meets(s, k) {
				out = append(out, w.revoked[k]...)
			}
		}
	}
	return out
}

// known tells whether an assignment's workload is there, as far as its owner may know.
func (c compiler) known(w *world, r *resource.RoleAssignment) bool {
	for _, s := range w.at(placeOf(r)).services {
		if s.Metadata.Name == r.Spec.Service {
			id, _ := c.workload(w, s, r.Spec.Workload)
			return id != ""
		}
	}
	return false
}
