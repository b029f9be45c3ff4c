package relay

import (
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/identity"
)

// persons are the signalling connections of people with passes. Each program of a person has one of its own, so there may be several of
// one pass; they are bounded, and what they ask is counted, for each person together. Nobody finds them: people dial and are not dialled.
type persons struct {
	mu      sync.Mutex // guards the fields below
	most    int        // connections of one person
	known   map[string]*person
	revoked map[identity.ID]struct{}
	all     int
}

// person is one of them, by the prefix of the ids of all his passes.
type person struct {
	sessions map[*session]struct{}

	mu   sync.Mutex // guards asks
	asks *bucket
}

// take reports whether the person may ask once more now.
func (p *person) take(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asks.take(now)
}

func newPersons(most int) *persons { return &persons{most: most, known: map[string]*person{}} }

// prefixOf is what a person's connections have in common.
func prefixOf(p identity.Person) string {
	return identity.PersonPrefix(p.TrustDomain, p.Tenant, p.Name)
}

// put lets a connection in. It returns its person, or the reason why not.
func (ps *persons) put(s *session, who identity.Person, asks func() *bucket) (p *person, why string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if _, revoked := ps.revoked[s.id]; revoked {
		return nil, "revoked"
	}
	p = ps.known[prefixOf(who)]
	if p == nil {
		p = &person{sessions: map[*session]struct{}{}, asks: asks()}
		ps.known[prefixOf(who)] = p
	}
	if len(p.sessions) >= ps.most {
		return nil, "too-many-of-person"
	}
	p.sessions[s] = struct{}{}
	ps.all++
	return p, ""
}

// remove forgets a connection, and its person with the last one. Who comes back at once to be allowed another burst pays with a handshake.
func (ps *persons) remove(s *session, who identity.Person) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.known[prefixOf(who)]
	if p == nil {
		return
	}
	if _, here := p.sessions[s]; here {
		delete(p.sessions, s)
		ps.all--
	}
	if len(p.sessions) == 0 {
		delete(ps.known, prefixOf(who))
	}
}

// revoke replaces the list of passes that are good for nothing, and returns the connections of those who are on it.
func (ps *persons) revoke(ids []identity.ID) (gone []*session) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.revoked = make(map[identity.ID]struct{}, len(ids))
	for _, id := range ids {
		ps.revoked[id] = struct{}{}
	}
	for _, p := range ps.known {
		for s := range p.sessions {
			if _, revoked := ps.revoked[s.id]; revoked {
				gone = append(gone, s)
			}
		}
	}
	return gone
}

func (ps *persons) count() int {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.all
}
