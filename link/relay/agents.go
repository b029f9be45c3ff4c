package relay

import (
	"cmp"
	"slices"
	"sync"

	"github.com/isthmus-io/isthmus/identity"
)

// agents are the sessions of connected agents, one for each SPIFFE id.
type agents struct {
	mu      sync.RWMutex // guards the fields below
	byID    map[identity.ID]*session
	revoked map[identity.ID]struct{}
}

func newAgents() *agents { return &agents{byID: map[identity.ID]*session{}} }

// put makes s the session of its agent and returns the one it replaces, or nil. The newest connection wins: an agent that lost its
// link comes back before the relay has noticed. It is not ok when the agent was revoked.
func (a *agents) put(s *session) (old *session, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, revoked := a.revoked[s.id]; revoked {
		return nil, false
	}
	old = a.byID[s.id]
	a.byID[s.id] = s
	return old, true
}

// revoke replaces the list of those who may not connect, and returns the sessions of those who are on it.
func (a *agents) revoke(ids []identity.ID) (gone []*session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked = make(map[identity.ID]struct{}, len(ids))
	for _, id := range ids {
		a.revoked[id] = struct{}{}
		if s := a.byID[id]; s != nil {
			gone = append(gone, s)
			delete(a.byID, id)
		}
	}
	return gone
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
