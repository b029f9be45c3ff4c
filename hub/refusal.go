package hub

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/throttle"
)

// Refusal is somebody who was turned away, and why, in words for people.
type Refusal struct {
	First  time.Time  `json:"first"`
	Last   time.Time  `json:"last"`
	Count  int        `json:"count"`
	Hub    string     `json:"hub,omitempty"` // uid of the hub it came to, as far as that is known
	Door   string     `json:"door"`          // mqtt, amqp, https, front
	Source string     `json:"source"`        // the peer's address, without its port
	Link   uint32     `json:"link,omitempty"`
	Who    string     `json:"who,omitempty"` // what it called itself; nothing of it is proved
	Kind   fault.Kind `json:"-"`
	Why    string     `json:"why"`
	Next   string     `json:"next,omitempty"`
}

const (
	maxRefusals = 128              // remembered; the one unseen for longest makes room
	logAgain    = 10 * time.Minute // a refusal that goes on is logged again after this
	lineBurst   = 50               // lines of one source at once: whoever calls itself something else each time writes no more
	lineEvery   = 10 * time.Second // and one more each
	allBurst    = 200              // lines of all sources at once: they may be as many as somebody has addresses
	allEvery    = time.Second      // and one more each
)

type refusals struct {
	lines  *throttle.Throttle[string]   // in the log, by source
	all    *throttle.Throttle[struct{}] // in the log
	unsaid atomic.Int64                 // for which there was no line since the last line

	mu   sync.Mutex // guards the field below
	list []*Refusal // newest last
}

// Refuse notes that a peer was turned away. The log gets one line for each source and reason every ten minutes, not too many of one source,
// nor of all; the next line says how many were left out, and everything is counted.
func (s *Server) Refuse(door string, side Side, who string, err error) {
	now := s.clock.Now()
	peer := side.Peer
	if !peer.IsValid() {
		peer = side.Via
	}
	r := Refusal{
		First: now, Last: now, Count: 1, Hub: s.hubOf(side), Door: door, Source: peer.Addr().Unmap().String(), Link: side.Link, Who: shorten(who),
		Kind: fault.KindOf(err), Why: fault.Message(err), Next: fault.Next(err),
	}
	s.metrics.refused.WithLabelValues(door, r.Kind.String()).Inc()
	if !s.refusals.add(&r) {
		return
	}
	if s.refusals.lines.Take(r.Source) > 0 || s.refusals.all.Take(struct{}{}) > 0 {
		s.refusals.unsaid.Add(1)
		return
	}
	log := s.log
	if n := s.refusals.unsaid.Swap(0); n > 0 {
		log = log.With("unsaid", n)
	}
	log.Warn("hub: refused", "door", door, "source", r.Source, "via", side.Via, "link", side.Link, "who", r.Who, "why", r.Why, "next", r.Next, "err", err)
}

// hubOf is the uid of the hub a peer came to: that of its endpoint, or of the name it said in TLS.
func (s *Server) hubOf(side Side) string {
	if !side.IsPublic() {
		return side.Hub
	}
	if h, ok := s.ByHost(side.ServerName); ok {
		return h.id
	}
	return ""
}

// add tells whether the refusal is worth a line in the log.
func (l *refusals) add(r *Refusal) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.list, func(o *Refusal) bool {
		return o.Source == r.Source && o.Door == r.Door && o.Who == r.Who && o.Why == r.Why && o.Link == r.Link && o.Hub == r.Hub
	})
	if i < 0 {
		if len(l.list) == maxRefusals {
			l.list = slices.Delete(l.list, 0, 1)
		}
		l.list = append(l.list, r)
		return true
	}
	old := l.list[i]
	again := r.Last.Sub(old.First) >= logAgain
	old.Count++
	old.Last = r.Last
	if again {
		old.First = r.Last
	}
	l.list = append(slices.Delete(l.list, i, i+1), old)
	return again
}

// Refusals returns who was turned away lately, newest first.
func (s *Server) Refusals() []Refusal {
	s.refusals.mu.Lock()
	defer s.refusals.mu.Unlock()
	out := make([]Refusal, 0, len(s.refusals.list))
	for _, r := range slices.Backward(s.refusals.list) {
		out = append(out, *r)
	}
	return out
}
