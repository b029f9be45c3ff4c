package eventhub

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
)

// roleRights are what the roles of workloads give (Event Hubs: built-in roles).
var roleRights = map[resource.DataRole]Right{
	resource.RoleDataSender: Send, resource.RoleDataReceiver: Listen, resource.RoleDataOwner: EveryRight,
}

// proveWorkload checks a token of a workload: what it may do is in the plan.
func (n *Namespace) proveWorkload(token string) (Claim, error) {
	op := "eventhub.Prove"
	v := n.server.cfg.Workloads
	if v == nil {
		return Claim{}, fault.New(op, fault.Unauthenticated, "InvalidToken: This namespace takes no tokens of workloads.").
			Advise("use a policy's connection string")
	}
	spec := n.spec.Load()
	p, err := v.Verify(token, slices.Concat([]string{workload.AudienceEventHubs}, spec.HostNames)...)
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		err = fault.New(op, fault.Unauthenticated, "InvalidToken: "+fault.Message(err)).Advise("%s", fault.Next(err)).Because(err)
	case fault.Expired:
		err = fault.New(op, fault.Expired, "ExpiredToken: "+fault.Message(err)).Advise("%s", fault.Next(err)).Because(err)
	}
	if err != nil {
		return Claim{}, err
	}
	s := &standing{n: n, proof: p, grants: workload.Rights(spec.Assignments, p)}
	c := Claim{Expires: p.Expires, Who: p.Workload, Workload: p.Workload, Valid: s.holds}
	for _, g := range s.grants {
		switch rights := roleRights[g.Role]; {
		case rights == 0: // of another type of service
		case g.Scope == "":
			c.Rights |= rights
		default:
			c.Also = append(c.Also, Scope{strings.ToLower(g.Scope), rights})
		}
	}
	if c.Rights == 0 && len(c.Also) == 0 {
		return Claim{}, fault.Newf(op, fault.Denied, "Unauthorized access. The workload %s has no role in the namespace %s.", p.Workload, n.HostName()).
			Advise("make a RoleAssignment for it, and compare which agent carries it")
	}
	return c, nil
}

// standing is what the claim of a workload rests on.
type standing struct {
	n      *Namespace
	proof  workload.Proof
	grants workload.Grants
	held   atomic.Pointer[Spec] // the last one with which it held, so that asking often costs little
}

func (s *standing) holds() bool {
	if s.n.over.Load() || !s.n.server.cfg.Workloads.Holds(s.proof) {
		return false
	}
	spec := s.n.spec.Load()
	if s.held.Load() == spec {
		return true
	}
	if !s.grants.Holds(spec.Assignments, s.proof) {
		return false
	}
	s.held.Store(spec)
	return true
}
