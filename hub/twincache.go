package hub

import (
	"context"
	"encoding/json"
	"sync"
	"time"
)

// maxCachedTwins bounds the twins that are kept for routes, in bytes of their texts.
const maxCachedTwins = 16 << 20

// twinCache keeps twins which routes and enrichments look at, so that a message does not cost a read of the database. Whoever changes a
// twin tells it by Hub.Emit.
type twinCache struct {
	mu      sync.Mutex // guards the fields below
	known   map[Name]cachedTwin
	bytes   int
	changes uint64 // counts forget
}

type cachedTwin struct {
	value map[string]any // nil: there is none
	size  int
}

func newTwinCache() *twinCache { return &twinCache{known: map[Name]cachedTwin{}} }

// get returns a twin as encoding/json reads it, nil when there is none or it cannot be read now.
func (c *twinCache) get(h *Hub, n Name) map[string]any {
	c.mu.Lock()
	t, ok := c.known[n]
	before := c.changes
	c.mu.Unlock()
	if ok {
		return t.value
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stored, err := h.server.store.Twin(ctx, h.id, n)
	if err != nil {
		h.server.log.Warn("hub: a twin that routes ask for cannot be read", "hub", h.Name(), "about", n.String(), "err", err)
		return nil
	}
	text := `{"tags":` + stored.Tags + `,"properties":{"desired":` + stored.Desired.Text + `,"reported":` + stored.Reported.Text + `}}`
	var value map[string]any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		h.server.log.Error("hub: a twin that routes ask for is no JSON", "hub", h.Name(), "about", n.String(), "err", err)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// What changed since it was read would stay hidden for ever.
	if _, raced := c.known[n]; c.changes == before && !raced {
		c.put(n, cachedTwin{value, len(text) + 256})
	}
	return value
}

func (c *twinCache) put(n Name, t cachedTwin) {
	for other, old := range c.known { // any will do: maps begin anywhere
		if c.bytes+t.size <= maxCachedTwins {
			break
		}
		delete(c.known, other)
		c.bytes -= old.size
	}
	c.known[n] = t
	c.bytes += t.size
}

func (c *twinCache) forget(n Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	if old, ok := c.known[n]; ok {
		delete(c.known, n)
		c.bytes -= old.size
	}
}
