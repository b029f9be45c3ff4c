package file

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
)

// Wait returns nil when Receive may have something to give; of several who wait, one gets it. It looks only when a notification came or came
// back, or the time of one that somebody has is over. Timeout when ctx ends.
func (s *Service) Wait(ctx context.Context, h *hub.Hub) error {
	for {
		arrived := s.Arrived(h)
		now := s.clock.Now()
		free, lapse, err := s.store.FileNotificationFree(ctx, h.ID(), now)
		if err != nil || free {
			return err
		}
		var due <-chan time.Time
		stop := func() {}
		if !lapse.IsZero() {
			due, stop = s.clock.After(max(lapse.Sub(now), time.Millisecond))
		}
		select {
		case <-arrived:
			stop()
		case <-due:
		case <-ctx.Done():
			stop()
			return fault.New("file.Wait", fault.Timeout, "no notification in time").Because(ctx.Err())
		}
	}
}
