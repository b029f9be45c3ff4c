package relay

import (
	"cmp"
	"slices"
	"sync"

	"github.com/isthmus-io/isthmus/identity"
)

// agents are the sessions of connected agents, one for each SPIFFE id.
type agents struct {
	mu   sync.RWMutex // guards byID
	byID map[identity.ID]*session
}

func newAgents() *agents { return &agents{byID: map[identity.ID]*session{}} }

// put makes s the session of its agent and returns the one it replaces, or nil. The newest connection wins: an agent that lost its
// link comes back before the relay has noticed.
func (a *agents) put(s *session) (old *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old = a.byID[s.id]
	a.byID[s.id] = s
	return old
}

// remove forgets s unless it has been replaced.
func (a *agents) remove(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byID[s.id] == s {
		delete(a.byID, s.id)
	}
}

func (a *agents) find(id identity.ID) *session {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.byID[id]
}

func (a *agents) count() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.byID)
}

func (a *agents) list() []AgentStatus {
	a.mu.RLock()
	defer a.mu.RUnlock()
	l := make([]AgentStatus, 0, len(a.byID))
	for _, s := range a.byID {
		l = append(l, AgentStatus{ID: s.id, From: s.from, Since: s.since})
	}
	slices.SortFunc(l, func(x, y AgentStatus) int { return cmp.Compare(x.ID, y.ID) })
	return l
}
