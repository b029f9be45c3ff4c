package relay

import (
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/identity"
)

// Status is what a relay knows about itself. It cannot know more: what pairs carry is ciphertext to it.
type Status struct {
	Agents         []AgentStatus `json:"agents"`  // by id
	Pairs          []PairStatus  `json:"pairs"`   // oldest first
	Persons        int           `json:"persons"` // connections of people for signalling
	Visitors       int           `json:"visitors"`
	TicketsOut     int           `json:"ticketsOut"`
	HalvesWaiting  int           `json:"halvesWaiting"`
	PairsMade      uint64        `json:"pairsMade"`
	BytesOfPairs   uint64        `json:"bytesOfPairs"` // moved by all pairs so far, both directions
	AsksRefused    uint64        `json:"asksRefused"`
	HalvesRefused  uint64        `json:"halvesRefused"`
	AgentsReplaced uint64        `json:"agentsReplaced"` // connections that a newer one of the same agent ended
}

// AgentStatus is one agent connected for signalling.
type AgentStatus struct {
	ID    identity.ID `json:"id"`
	From  string      `json:"from"` // address it connects from
	Since time.Time   `json:"since"`
}

// PairStatus is one pair carrying. Byte counts are of what has been moved in whole chunks or before the last quiet moment, so they
// may trail the truth by some seconds.
type PairStatus struct {
	Asker  identity.ID `json:"asker"`
	Target identity.ID `json:"target"`
	Since  time.Time   `json:"since"`
	Bytes  uint64      `json:"bytes"` // both directions; which is which the relay does not know
}

// Status returns a snapshot.
func (r *Relay) Status() Status {
	s := Status{
		Agents: r.agents.list(), Persons: r.persons.count(), Visitors: r.door.count(), PairsMade: r.made.Load(), BytesOfPairs: r.moved.Load(),
		AsksRefused: r.asksRefused.Load(), HalvesRefused: r.halvesRefused.Load(), AgentsReplaced: r.replaced.Load(),
	}
	s.TicketsOut, s.HalvesWaiting = r.tickets.counts()
	r.mu.Lock()
	for p, who := range r.pairs {
		n := p.toA.Load() + p.toB.Load()
		s.BytesOfPairs += n
		s.Pairs = append(s.Pairs, PairStatus{Asker: who.asker, Target: who.target, Since: p.opened, Bytes: n})
	}
	r.mu.Unlock()
	slices.SortFunc(s.Pairs, func(a, b PairStatus) int { return a.Since.Compare(b.Since) })
	return s
}

func (r *Relay) pairCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pairs)
}
