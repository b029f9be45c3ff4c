package hub

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub/route"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// What doors need of streams that show them as event hubs: reading without copies, positions, and an end.

// createdSetting is when the hub was first served, by RFC 3339.
const createdSetting = "created"

// streamEnds tell readers of streams that there will be no more.
type streamEnds struct {
	mu   sync.Mutex // guards the fields below
	of   map[string]chan struct{}
	over bool
}

func (e *streamEnds) watch(endpoint string) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, ok := e.of[endpoint]
	if !ok {
		c = make(chan struct{})
		if e.over {
			close(c)
			return c
		}
		if e.of == nil {
			e.of = map[string]chan struct{}{}
		}
		e.of[endpoint] = c
	}
	return c
}

// end closes those for which gone is true.
func (e *streamEnds) end(gone func(endpoint string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, c := range e.of {
		if gone(name) {
			close(c)
			delete(e.of, name)
		}
	}
}

// leave marks the hub as gone from the plan, and everything of it.
func (h *Hub) leave() {
	h.gone.Store(true)
	h.ends.mu.Lock()
	h.ends.over = true
	h.ends.mu.Unlock()
	h.ends.end(func(string) bool { return true })
}

func (h *Hub) hasStream(endpoint string) bool {
	return endpoint == route.BuiltIn || slices.ContainsFunc(h.Endpoints(), func(e Endpoint) bool { return e.Name == endpoint || DeadLetter(e.Name) == endpoint })
}

// Gone returns a channel that is closed when the endpoint is deleted, or its hub leaves the plan.
func (s Stream) Gone() <-chan struct{} {
	c := s.hub.ends.watch(s.Endpoint)
	if !s.hub.hasStream(s.Endpoint) { // deleted before anybody could tell
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return c
}

// Info is Bounds with what doors tell their clients besides. NotFound when there is no such partition.
func (s Stream) Info(partition int) (eventlog.Info, error) {
	return s.hub.server.events.Info(s.name, partition)
}

// Scan calls f with the events of a partition, beginning with sequence number from, without copying them; see eventlog.Log.Scan.
func (s Stream) Scan(ctx context.Context, partition int, from int64, limit int, f func(*eventlog.View) bool) error {
	return s.hub.server.events.Scan(ctx, s.name, partition, from, limit, f)
}

// SeekTime returns the sequence number of the first event kept whose enqueued time is t or later; the next one when there is none.
func (s Stream) SeekTime(partition int, t time.Time) (int64, error) {
	return s.hub.server.events.SeekTime(s.name, partition, t)
}

// SeekOffset returns the sequence number of the first event kept whose offset is the given one or later; the next one when there is none.
func (s Stream) SeekOffset(partition int, offset int64) (int64, error) {
	return s.hub.server.events.SeekOffset(s.name, partition, offset)
}

// Groups returns the names of the endpoint's consumer groups, the default one first.
func (s Stream) Groups(ctx context.Context) ([]string, error) {
	stored, err := s.hub.server.store.ConsumerGroups(ctx, s.hub.id, s.Endpoint)
	out := []string{DefaultGroup}
	for _, g := range stored {
		out = append(out, g.Name)
	}
	return out, err
}

// Created returns when the hub was served for the first time, which is as old as it can prove to be.
func (h *Hub) Created(ctx context.Context) (time.Time, error) {
	if t := h.created.Load(); t != nil {
		return *t, nil
	}
	h.settling.Lock()
	defer h.settling.Unlock()
	value, err := h.server.store.Setting(ctx, h.id, createdSetting)
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	if at.UnmarshalText(value) != nil {
		at = h.server.clock.Now().UTC().Truncate(time.Millisecond)
		if value, err = at.MarshalText(); err != nil {
			return time.Time{}, err
		}
		if err := h.server.store.Write(ctx, func(tx *hubstore.Tx) error { return tx.SetSetting(h.id, createdSetting, value) }); err != nil {
			return time.Time{}, err
		}
	}
	h.created.Store(&at)
	return at, nil
}
