package hub

import (
	"context"

	"github.com/isthmus-io/isthmus/store/hubstore"
)

// writeSeen writes down connection and activity times in one transaction a hub. What cannot be written is tried again next time.
func (s *Server) writeSeen(ctx context.Context) {
	for _, h := range s.Hubs() {
		h.mu.Lock()
		batch := h.seen
		h.seen = map[string]seen{}
		for id, ses := range h.sessions {
			if !ses.active().Before(h.written) {
				batch[id] = seen{ses.since, ses.active()}
			}
		}
		h.written = s.clock.Now()
		h.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		err := s.store.Write(ctx, func(tx *hubstore.Tx) error {
			for id, at := range batch {
				if err := tx.Seen(h.id, id, at.connection, at.activity); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			continue
		}
		s.log.Warn("hub: connection times are not written down; they will be tried again", "hub", h.Name(), "err", err)
		h.mu.Lock()
		for id, at := range batch {
			if _, newer := h.seen[id]; !newer {
				h.seen[id] = at
			}
		}
		h.mu.Unlock()
	}
}
