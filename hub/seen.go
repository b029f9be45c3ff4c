package hub

import (
	"context"

	"github.com/isthmus-io/isthmus/store/hubstore"
)

// writeSeen writes down connection and activity times in one transaction a hub. What cannot be written is tried again next time.
func (s *Server) writeSeen(ctx context.Context) {
	for _, h := range s.Hubs() {
		if err := h.writeSeen(ctx, true); err != nil {
			s.log.Warn("hub: connection times are not written down; they will be tried again", "hub", h.Name(), "err", err)
		}
	}
}

// writeSeen writes down who came and went since it was called last, and with all who is there and was active: before a query, too, which
// reads the database only.
func (h *Hub) writeSeen(ctx context.Context, all bool) error {
	h.mu.Lock()
	batch := h.seen
	h.seen = map[Name]hubstore.Seen{}
	if all {
		for n, ses := range h.sessions {
			if !ses.active().Before(h.written) {
				batch[n] = hubstore.Seen{Connected: true, Connection: ses.since, Activity: ses.active()}
			}
		}
		h.written = h.server.clock.Now()
	}
	h.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := h.server.store.Together(ctx, func(tx *hubstore.Tx) error {
		for n, at := range batch {
			if err := tx.Seen(h.id, n, at); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	if err == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for n, at := range batch {
		if _, newer := h.seen[n]; !newer {
			h.seen[n] = at
		}
	}
	return err
}
