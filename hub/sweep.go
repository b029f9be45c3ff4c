package hub

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Bounds of one sweep, so that the writer is not held long; the rest waits for the next second.
const (
	sweepStep   = 500     // commands, or records of feedback, in one transaction
	sweepSteps  = 4       // such transactions
	maxFeedback = 100_000 // records of a hub that nobody receives; the oldest make room
)

// commands is what a hub remembers of its queues; all else is in the store.
type commands struct {
	settings atomic.Pointer[CommandSettings]
	told     news // when there may be feedback to receive

	mu   sync.Mutex      // guards the field below
	owed map[string]Name // by owner: sessions that ended and whose commands could not be given back
}

func (c *commands) owe(n Name, owner string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed == nil {
		c.owed = map[string]Name{}
	}
	c.owed[owner] = n
}

func (c *commands) takeOwed() map[string]Name {
	c.mu.Lock()
	defer c.mu.Unlock()
	owed := c.owed
	c.owed = nil
	return owed
}

// sweep settles what is expired, and gives back what was lent for too long, of every hub.
func (s *Server) sweep(ctx context.Context) {
	for _, h := range s.Hubs() {
		if err := h.sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("hub: expired messages to devices are not cleared away; it will be tried again", "hub", h.Name(), "err", err)
		}
	}
}

func (h *Hub) sweep(ctx context.Context) error {
	if err := h.sweepOwed(ctx); err != nil {
		return err
	}
	for range sweepSteps {
		due, err := h.server.store.CommandsDue(ctx, h.id, h.server.clock.Now())
		if err != nil {
			return err
		}
		if !due {
			break
		}
		if err := h.together(ctx, (*queue).sweep); err != nil {
			return err
		}
	}
	return h.sweepFeedback(ctx)
}

func (h *Hub) sweepOwed(ctx context.Context) error {
	owed := h.commands.takeOwed()
	if len(owed) == 0 {
		return nil
	}
	err := h.together(ctx, func(q *queue) error {
		for owner, n := range owed {
			if err := q.giveBack(n, owner); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for owner, n := range owed {
			h.commands.owe(n, owner)
		}
	}
	return err
}

func (q *queue) sweep() error {
	list, err := q.tx.ExpiredCommands(q.hub.id, q.now, sweepStep)
	if err != nil {
		return err
	}
	lapsed, err := q.tx.LapsedCommands(q.hub.id, q.now, sweepStep)
	if err != nil {
		return err
	}
	for _, list := range [][]hubstore.Command{list, lapsed} {
		for i := range list {
			if _, err := q.release(&list[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *Hub) sweepFeedback(ctx context.Context) error {
	deliveries := h.CommandSettings().FeedbackDeliveries
	due, err := h.server.store.FeedbackDue(ctx, h.id, h.server.clock.Now(), deliveries, maxFeedback)
	if err != nil || !due {
		return err
	}
	var lost int64
	err = h.together(ctx, func(q *queue) error {
		lost, err = q.tx.DropFeedback(h.id, q.now, deliveries, maxFeedback, sweepStep*sweepSteps)
		return err
	})
	if err == nil && lost > 0 {
		h.server.log.Warn("hub: nobody receives feedback about messages to devices, so the oldest is dropped", "hub", h.Name(), "dropped", lost, "kept", maxFeedback)
	}
	return err
}
