package control

import (
	"fmt"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// maxRules bounds the rules of all allowlists of one network: they are held in memory and pushed to every gateway.
const maxRules = 500_000

// checkGateway refuses what could never be carried, and warns of routes that lead nowhere yet: manifests are often applied before the
// other side has decided.
func (w *work) checkGateway(g *resource.Gateway) (warnings []string, err error) {
	op := "control.checkGateway"
	m := g.Metadata
	for _, name := range g.Spec.Agents {
		o, err := w.get(resource.Key{Kind: resource.KindAgent, Tenant: m.Tenant, Scope: m.Network, Name: name})
		if err != nil {
			return nil, err
		}
		switch a := asOr[*resource.Agent](o); {
		case a == nil:
			warnings = append(warnings, fmt.Sprintf("no agent %s has joined the network %s yet, so it does not carry the gateway", name, m.Network))
		case a.Spec.Role == resource.RoleHub || a.Spec.Role == resource.RoleBridge:
			return nil, fault.Newf(op, fault.Invalid, "spec.agents names %s, which joined as a %s and carries no gateways", name, a.Spec.Role).
				Advise("name processes that joined as an agent or as a gateway, or leave spec.agents out")
		}
	}
	if err := w.checkListeners(g); err != nil {
		return nil, err
	}
	for _, r := range g.Spec.Routes {
		problem := ""
		switch {
		case r.Service != "":
			o, err := w.get(resource.Key{Kind: resource.KindService, Tenant: m.Tenant, Scope: m.Network, Name: r.Service})
			if err != nil {
				return nil, err
			}
			if o == nil {
				problem = "there is no service " + siblingPath(g, r.Service) + " yet"
			}
		case r.Endpoint != "":
			o, err := w.get(resource.Key{Kind: resource.KindPrivateEndpoint, Tenant: m.Tenant, Scope: m.Network, Name: r.Endpoint})
			if err != nil {
				return nil, err
			}
			if e := asOr[*resource.PrivateEndpoint](o); e == nil {
				problem = "there is no private endpoint " + siblingPath(g, r.Endpoint) + " yet"
			} else if s, err := w.serviceOf(e); err != nil {
				return nil, err
			} else {
				problem = shut(e, s)
			}
		}
		if problem != "" {
			warnings = append(warnings, routeWords(r.Names, r.Listeners)+" refuses: "+problem)
		}
	}
	return warnings, nil
}

// checkListeners refuses two gateways of one process on one address and port.
func (w *work) checkListeners(g *resource.Gateway) error {
	m := g.Metadata
	others, err := w.List(resource.KindGateway, storeFilter(m.Tenant, m.Network))
	if err != nil {
		return err
	}
	agents, err := w.List(resource.KindAgent, storeFilter(m.Tenant, m.Network))
	if err != nil {
		return err
	}
	for _, o := range others {
		other := o.(*resource.Gateway)
		if other.Key() == g.Key() {
			continue
		}
		who, together := carriedTogether(g, other, agents)
		if !together {
			continue
		}
		for _, l := range g.Spec.Listeners {
			for _, k := range other.Spec.Listeners {
				if l.Port == k.Port && (l.Address == k.Address || !l.Address.IsValid() || !k.Address.IsValid()) {
					return fault.Newf("control.checkListeners", fault.Conflict, "the listener %s has the port %d, on which %s listens already, and %s carries both",
						l.Name, l.Port, other.Key(), who).
						Advise("give the two gateways different addresses or ports, or different spec.agents")
				}
			}
		}
	}
	return nil
}

// carriedTogether tells whether one process carries both gateways, or would, had it joined.
func carriedTogether(a, b *resource.Gateway, agents []resource.Object) (who string, together bool) {
	if len(a.Spec.Agents) == 0 && len(b.Spec.Agents) == 0 {
		return "every process that joined as a gateway", true
	}
	for _, name := range a.Spec.Agents {
		if slices.Contains(b.Spec.Agents, name) {
			return name, true
		}
	}
	for _, o := range agents {
		p := o.(*resource.Agent)
		if a.Carries(p.Metadata.Name, p.Spec.Role) && b.Carries(p.Metadata.Name, p.Spec.Role) {
			return p.Metadata.Name, true
		}
	}
	return "", false
}

// checkAllowlist warns of gateways that are not there, for which the rules are for nothing.
func (w *work) checkAllowlist(a *resource.Allowlist) (warnings []string, err error) {
	m := a.Metadata
	for _, name := range a.Spec.Gateways {
		o, err := w.get(resource.Key{Kind: resource.KindGateway, Tenant: m.Tenant, Scope: m.Network, Name: name})
		if err != nil {
			return nil, err
		}
		if o == nil {
			warnings = append(warnings, fmt.Sprintf("there is no gateway %s/%s/%s yet, so the rules hold for nothing there", m.Tenant, m.Network, name))
		}
	}
	n := 0
	for key, count := range w.rules(placeKey{m.Tenant, m.Network}) {
		if key != a.Key() {
			n += count
		}
	}
	if n += len(a.Spec.Rules); n > maxRules {
		return nil, fault.Newf("control.checkAllowlist", fault.Exhausted, "the allowlists of the network %s would have %d rules", m.Network, n).
			Advise("a network takes %d: take out rules that expired, or join ranges (isthmus get allowlists --tenant %s --network %s)", maxRules, m.Tenant, m.Network)
	}
	if past := expired(a.Spec.Rules, w.now); past > 0 {
		warnings = append(warnings, fmt.Sprintf("%d of its rules expired already and let nobody in", past))
	}
	return warnings, nil
}

// rules counts the rules of a network's allowlists as this change leaves them.
func (w *work) rules(here placeKey) map[resource.Key]int {
	out := map[resource.Key]int{}
	for _, a := range w.world().at(here).allowlists {
		out[a.noun.Key()] = len(a.noun.Spec.Rules)
	}
	for _, ch := range w.changes {
		if a, ok := ch.before.(*resource.Allowlist); ok && placeOf(a) == here {
			delete(out, a.Key())
		}
		if a, ok := ch.after.(*resource.Allowlist); ok && placeOf(a) == here {
			out[a.Key()] = len(a.Spec.Rules)
		}
	}
	return out
}

// world is what was there before this change. It holds still: whoever changes it holds Control.writing, as this work does.
func (w *work) world() *world { return w.c.world }
