package servicedoor

import (
	"maps"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// watch detaches links whose claim has ended, until the connection is over. A claim that was put again in time is found when the old one
// ends.
func (v *Conversation) watch() {
	over := v.amqp.Context().Done()
	for {
		renewed := v.hub.Renewed() // first, so that no renewal is missed
		next := v.check()
		var due <-chan time.Time
		stop := func() {}
		if !next.IsZero() {
			due, stop = v.door.clock.After(max(next.Sub(v.door.clock.Now()), time.Millisecond))
		}
		select {
		case <-renewed:
		case <-v.came:
		case <-due:
		case <-over:
			stop()
			return
		}
		stop()
	}
}

// check looks at the claims of all links and returns when the first of them ends; zero: not by itself.
func (v *Conversation) check() (next time.Time) {
	v.mu.Lock()
	links := maps.Clone(v.links)
	v.mu.Unlock()
	ended := map[*engine.Link]error{}
	for l, path := range links {
		c, err := v.claims.Service(path)
		if err != nil {
			ended[l] = err
		} else if !c.Expires.IsZero() && (next.IsZero() || c.Expires.Before(next)) {
			next = c.Expires
		}
	}
	for l, err := range ended {
		l.Detach(v.says(links[l], err))
	}
	return next
}
