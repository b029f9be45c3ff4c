package transport

import (
	"cmp"
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/mux"
)

// Status is what a transport is doing.
type Status struct {
	Direct  string         `json:"direct,omitempty"` // the address listened on for direct tunnels
	Relays  []RelayStatus  `json:"relays"`           // in the order of the plan
	Tunnels []TunnelStatus `json:"tunnels"`          // oldest first
	Sent    uint64         `json:"sent"`             // bytes of flows, by all tunnels so far
	Got     uint64         `json:"received"`
}

// RelayStatus is the signalling connection to one relay.
type RelayStatus struct {
	Address   string        `json:"address"`
	ID        string        `json:"id"`
	Connected bool          `json:"connected"`
	Since     time.Time     `json:"since"` // of the connection, or of its loss
	RTT       time.Duration `json:"rtt"`   // 0 while unknown
	Attempts  uint64        `json:"attempts"`
	Problem   string        `json:"problem,omitempty"` // why it is not connected
	Next      string        `json:"next,omitempty"`    // what to do about it
}

// TunnelStatus is one tunnel.
type TunnelStatus struct {
	Peer     identity.ID   `json:"peer"`
	Via      string        `json:"via"`     // "direct", or the relay's address
	Dialled  bool          `json:"dialled"` // by this agent
	Since    time.Time     `json:"since"`
	Streams  int           `json:"streams"`
	RTT      time.Duration `json:"rtt"` // 0 while unknown
	Sent     uint64        `json:"sent"`
	Received uint64        `json:"received"`
	Retired  bool          `json:"retired,omitempty"` // takes no new streams
}

// Status returns a snapshot.
func (tr *Transport) Status() Status {
	tr.mu.Lock()
	links := slices.Clone(tr.links)
	s := Status{Sent: tr.past.sent, Got: tr.past.received}
	if tr.directAddr != nil {
		s.Direct = tr.directAddr.String()
	}
	for p := range tr.passages {
		st := p.session.Stats()
		s.Sent += st.Sent
		s.Got += st.Received
		s.Tunnels = append(s.Tunnels, TunnelStatus{
			Peer: p.peer, Via: p.via, Dialled: p.dialled, Since: p.since, Streams: p.session.Streams(), RTT: p.session.RTT(),
			Sent: st.Sent, Received: st.Received, Retired: !p.usable(),
		})
	}
	tr.mu.Unlock()
	slices.SortFunc(s.Tunnels, func(a, b TunnelStatus) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Peer, b.Peer))
	})
	for _, l := range links {
		s.Relays = append(s.Relays, l.status())
	}
	return s
}

func (l *relayLink) status() RelayStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := RelayStatus{
		Address: l.relay.Address, ID: l.relay.ID, Connected: l.out != nil, Since: l.since, RTT: l.rtt, Attempts: l.attempts,
	}
	if l.lost != nil {
		s.Problem, s.Next = fault.Message(l.lost), fault.Next(l.lost)
	}
	return s
}

// totals are bytes of tunnels that have ended.
type totals struct{ sent, received uint64 }

func (t *totals) add(s mux.Stats) {
	t.sent += s.Sent
	t.received += s.Received
}
