package front

import (
	"net/netip"
	"sync"
)

// crowd counts connections for which nobody vouches, by where they come from, so that one machine cannot take every place. An agent
// carries many devices from one address: its connections are counted only until their header has proved them.
type crowd struct {
	limit int

	mu sync.Mutex // guards the field below
	of map[netip.Addr]int
}

func newCrowd(limit int) *crowd { return &crowd{limit: limit, of: map[netip.Addr]int{}} }

// enter counts a connection; leave, which may be called more than once, ends that. It is not ok when the address has too many.
func (c *crowd) enter(from netip.Addr) (leave func(), ok bool) {
	if from.Is6() {
		if p, err := from.WithZone("").Prefix(64); err == nil {
			from = p.Addr() // whoever has one address there has all of them
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[from] >= c.limit {
		return nil, false
	}
	c.of[from]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.of[from]--; c.of[from] == 0 {
			delete(c.of, from)
		}
	}), true
}
