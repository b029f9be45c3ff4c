package agent

import (
	"context"
	"fmt"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Access says how people come into machines through this agent. The zero value lets them into what the plan says, as far as nothing has
// to be recorded, and tells nobody.
type Access struct {
	gate.Config
	Off   bool   // nobody is let in, whatever the plan says
	Words string // why, for people; what the machine's owner wants when empty
}

// handle is the life of a stream that a peer opened: people go to the gate, and agents to services.
func (a *Agent) handle(peer identity.ID, s *mux.Stream) {
	switch _, person := peer.Person(); {
	case !person:
		a.services.Handle(peer, s)
	case a.gate == nil:
		s.Reset(tunnel.ResetRefused, a.closed())
	default:
		a.gate.Handle(peer, s)
	}
}

// allowed tells whether a peer may have a tunnel at all.
func (a *Agent) allowed(peer identity.ID) bool {
	if _, person := peer.Person(); person {
		return a.gate != nil && a.gate.Allowed(peer)
	}
	return a.services.Allowed(peer)
}

// closed says why nobody is let in.
func (a *Agent) closed() string {
	if a.cfg.Access.Words != "" {
		return a.cfg.Access.Words
	}
	return "this machine's owner lets nobody in through its agent (--no-access)"
}

// admit makes the targets of a plan those that people may reach.
func (a *Agent) admit(targets []plan.Target) {
	if a.gate != nil {
		a.gate.Set(targets)
	}
}

// runGate runs the gate, if there is one, until ctx ends, and then ends the tunnels: people are told why before these go.
func (a *Agent) runGate(ctx context.Context, tunnels context.CancelFunc) error {
	defer tunnels()
	if a.gate == nil {
		<-ctx.Done()
		return nil
	}
	return a.gate.Run(ctx)
}

// accessProblems says in words what people meet.
func (a *Agent) accessProblems() []string {
	if a.gate != nil {
		return a.gate.Problems()
	}
	if n := len(a.current().Targets); n > 0 {
		return []string{fmt.Sprintf("%d targets lead through this agent: %s", n, a.closed())}
	}
	return nil
}

// Gate is what lets people in; nil when Config.Access is Off.
func (a *Agent) Gate() *gate.Gate { return a.gate }

// TargetStatus is one target of the plan.
type TargetStatus struct {
	ID       string
	Name     string      // ot/plant-7/press-4-ssh
	Grants   []string    // names of those who may come, now or later: alice of ot
	Sessions []gate.Info // oldest first
}

func (a *Agent) targets(p plan.Plan) []TargetStatus {
	if a.gate == nil {
		return nil
	}
	by := map[string][]gate.Info{}
	for _, s := range a.gate.Sessions() {
		by[s.Target] = append(by[s.Target], s)
	}
	var list []TargetStatus
	for _, t := range p.Targets {
		ts := TargetStatus{ID: t.ID, Name: t.Name, Sessions: by[t.Name]}
		for _, g := range t.Grants {
			ts.Grants = append(ts.Grants, g.Name)
		}
		list = append(list, ts)
	}
	return list
}
