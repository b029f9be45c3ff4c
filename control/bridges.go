package control

import (
	"fmt"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// checkBridge refuses what no decision of the other side can mend, and warns of what is missing still: manifests are often applied before a
// process has joined, and the other side decides later.
func (w *work) checkBridge(b *resource.Bridge) (warnings []string, err error) {
	op := "control.checkBridge"
	m := b.Metadata
	if err := w.mustExist(op, networkKey(m.Tenant, m.Network)); err != nil {
		return nil, err
	}
	if b.Spec.Contract != "" && contractKey(b).Tenant != m.Tenant {
		return nil, fault.Newf(op, fault.Invalid, "spec.contract names %s, which belongs to another tenant", b.Spec.Contract).
			Advise("a contract belongs to the tenant whose data it is, and so does the bridge: name a contract of %s", m.Tenant)
	}
	if name := b.Spec.Agent; name != "" {
		o, err := w.get(resource.Key{Kind: resource.KindAgent, Tenant: m.Tenant, Scope: m.Network, Name: name})
		switch a := asOr[*resource.Agent](o); {
		case err != nil:
			return nil, err
		case a == nil:
			warnings = append(warnings, fmt.Sprintf("no process %s has joined the network %s yet, so nobody carries the bridge", name, m.Network))
		case !mayCarry(a):
			return nil, fault.Newf(op, fault.Invalid, "spec.agent names %s, which joined as a %s and carries no bridges", name, a.Spec.Role).
				Advise("name a process that joined as a bridge or as an agent, or leave spec.agent out")
		}
	}
	l := &workLook{w: w, of: b}
	problem, _ := w.c.compiler.trouble(b, l)
	if l.err != nil {
		return nil, l.err
	}
	if problem != "" {
		warnings = append(warnings, problem)
	}
	return warnings, nil
}

func mayCarry(a *resource.Agent) bool {
	return a.Spec.Role == resource.RoleBridge || a.Spec.Role == resource.RoleAgent
}

// workLook finds what a bridge needs in a transaction. The first failure stays in err.
type workLook struct {
	w   *work
	of  *resource.Bridge
	err error
}

func (l *workLook) end(name string) (*resource.PrivateEndpoint, *resource.Service) {
	m := l.of.Metadata
	o, err := l.w.get(resource.Key{Kind: resource.KindPrivateEndpoint, Tenant: m.Tenant, Scope: m.Network, Name: name})
	e := asOr[*resource.PrivateEndpoint](o)
	if e == nil {
		l.fail(err)
		return nil, nil
	}
	s, err := l.w.serviceOf(e)
	l.fail(err)
	return e, s
}

func (l *workLook) contract(k resource.Key) *contract {
	o, err := l.w.get(k)
	l.fail(err)
	if n := asOr[*resource.Contract](o); n != nil {
		return newContract(n)
	}
	return nil
}

func (l *workLook) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// assignBridges gives bridges that this change has left without their process, or that have none, to one. A bridge stays where it is while it can.
func (w *work) assignBridges() error {
	places := map[placeKey]bool{}
	for _, ch := range w.changes {
		for _, o := range []resource.Object{ch.before, ch.after} {
			switch o := o.(type) {
			case *resource.Bridge:
				places[placeOf(o)] = true
			case *resource.Agent:
				if k := placeOf(o); len(w.world().at(k).bridges) > 0 {
					places[k] = true
				}
			}
		}
	}
	for k := range places {
		if err := w.assignBridgesIn(k); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) assignBridgesIn(k placeKey) error {
	list, err := w.List(resource.KindBridge, storeFilter(k.tenant, k.network))
	if err != nil || len(list) == 0 {
		return err
	}
	joined, err := w.List(resource.KindAgent, storeFilter(k.tenant, k.network))
	if err != nil {
		return err
	}
	agents := make([]*resource.Agent, 0, len(joined))
	for _, o := range joined {
		agents = append(agents, o.(*resource.Agent))
	}
	slices.SortFunc(agents, older)
	for _, o := range list {
		before := o.(*resource.Bridge)
		chosen := choose(before, agents)
		if chosen == before.Status.Agent {
			continue
		}
		after := resource.Clone(before)
		st := &after.Status
		w.c.carried.over(before, st) // where it stands goes with it
		st.Agent = chosen
		if chosen != "" {
			st.Assignment++
		}
		if err := w.put(before, after); err != nil {
			return err
		}
		if err := w.record(k.tenant, "assign", after.Key(), carrierPortrait(before), carrierPortrait(after)); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the process that carries a bridge: the one its owner names, else the one that does already, else the oldest that is there for
// it; empty when there is none. Agents carry only what names them: not every program that joins as one can. agents are the network's, the
// oldest first.
func choose(b *resource.Bridge, agents []*resource.Agent) string {
	find := func(fits func(a *resource.Agent) bool) string {
		for _, a := range agents {
			if mayCarry(a) && fits(a) {
				return a.Metadata.Name
			}
		}
		return ""
	}
	named := func(name string) func(*resource.Agent) bool {
		return func(a *resource.Agent) bool { return a.Metadata.Name == name }
	}
	if b.Spec.Agent != "" {
		return find(named(b.Spec.Agent))
	}
	there := func(a *resource.Agent) bool { return a.Spec.Role == resource.RoleBridge }
	if name := find(func(a *resource.Agent) bool { return there(a) && a.Metadata.Name == b.Status.Agent }); name != "" {
		return name
	}
	return find(there)
}

// carrierPortrait is what an audit record shows of who carries a bridge.
func carrierPortrait(b *resource.Bridge) any {
	if b.Status.Agent == "" {
		return nil
	}
	return struct {
		Agent      string `json:"agent"`
		Assignment int64  `json:"assignment"`
	}{b.Status.Agent, b.Status.Assignment}
}
