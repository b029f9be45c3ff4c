package workload

import (
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Grant is one right of a workload at a service. The zero Scope is the whole service, another is one event hub, container or repository,
// as the assignment spells it.
type Grant struct {
	Role  resource.DataRole
	Scope string
}

// Grants are everything a workload may do at a service.
type Grants []Grant

// Rights returns what a service's assignments give to somebody who has proved a workload by an agent that may speak for it; none when no
// assignment means both.
func Rights(list []plan.Assignment, p Proof) Grants {
	var out Grants
	for i := range list {
		a := &list[i]
		if p.Workload == "" || a.Workload != p.Workload || !slices.Contains(a.Holders, p.Agent) {
			continue
		}
		if g := (Grant{a.Role, a.Scope}); !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// May tells whether one of the roles is given for a scope: by an assignment for the whole service or for that scope, in any case.
func (g Grants) May(scope string, roles ...resource.DataRole) bool {
	return slices.ContainsFunc(g, func(one Grant) bool {
		return slices.Contains(roles, one.Role) && (one.Scope == "" || strings.EqualFold(one.Scope, scope))
	})
}

// Has tells whether one of the roles is given for anything at all.
func (g Grants) Has(roles ...resource.DataRole) bool {
	return slices.ContainsFunc(g, func(one Grant) bool { return slices.Contains(roles, one.Role) })
}

// Holds tells whether the assignments still give all of these.
func (g Grants) Holds(list []plan.Assignment, p Proof) bool {
	now := Rights(list, p)
	return !slices.ContainsFunc(g, func(one Grant) bool { return !slices.Contains(now, one) })
}

// mayName says whether an agent can speak for a workload at all: for itself, and for the bridges of its own network.
func mayName(agent, workload identity.ID) error {
	op := "workload.mayName"
	a, ok := agent.Agent()
	if !ok {
		return fault.Newf(op, fault.Unauthenticated, "%.200q is no agent", agent)
	}
	if agent == workload {
		return nil
	}
	bridges := strings.TrimSuffix(identity.NetworkPrefix(a.TrustDomain, a.Tenant, a.Network), "agent/") + "bridge/"
	name, ok := strings.CutPrefix(string(workload), bridges)
	if !ok || name == "" || strings.ContainsAny(name, "/?#% ") || len(name) > maxName {
		return fault.Newf(op, fault.Unauthenticated, "the agent %s cannot speak for %.200q", agent, workload).
			Advise("an agent speaks for itself and for bridges of its own network")
	}
	return nil
}

const maxName = 256
