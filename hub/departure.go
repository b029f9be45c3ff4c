package hub

import (
	"sync"
	"time"
)

// maxDepartures is how many identities are remembered that went, of one hub; any of them makes room for another.
const maxDepartures = 8192

// departure is when and why a session ended.
type departure struct {
	At    time.Time
	Cause string
	ByHub bool // the hub ended it, not the device or the network
}

type departures struct {
	mu   sync.Mutex // guards the field below
	last map[Name]departure
}

func (d *departures) note(n Name, last departure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		d.last = map[Name]departure{}
	}
	if _, known := d.last[n]; !known && len(d.last) >= maxDepartures {
		for other := range d.last {
			delete(d.last, other)
			break
		}
	}
	d.last[n] = last
}

func (d *departures) of(n Name) (departure, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last, ok := d.last[n]
	return last, ok
}

// Leave notes why the session is about to end, in words for people, when it is not the hub that ends it. The first reason counts. A
// door calls it before End; without it the reason is not known.
func (s *Session) Leave(why string) {
	s.depart(departure{At: s.hub.server.clock.Now(), Cause: why})
}

// depart keeps the first reason and lets nobody wait for the session any more.
func (s *Session) depart(d departure) {
	if s.departed.CompareAndSwap(nil, &d) {
		close(s.gone)
	}
}

// left is called once when the session is over.
func (s *Session) left() {
	s.Leave("the connection ended")
	n := s.Name()
	s.hub.departures.note(n, *s.departed.Load())
	s.hub.limits.Release(n.String())
}
