package hub

import (
	"context"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// news lets many wait for one thing to happen. The zero value is ready.
type news struct {
	mu   sync.Mutex
	next chan struct{}
}

// listen returns a channel that is closed at the next announcement.
func (n *news) listen() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == nil {
		n.next = make(chan struct{})
	}
	return n.next
}

func (n *news) announce() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

// WaitFeedback returns nil when ReceiveFeedback may have something to give; of several who wait, one gets it. It looks only when something
// happened: feedback came or came back, was old enough, or a lock on it ended. Timeout when ctx ends.
func (h *Hub) WaitFeedback(ctx context.Context) error {
	for {
		heard := h.commands.told.listen()
		ready, again, err := h.feedbackReady(ctx)
		if err != nil || ready {
			return err
		}
		var due <-chan time.Time
		stop := func() {}
		if !again.IsZero() {
			due, stop = h.server.clock.After(max(again.Sub(h.server.clock.Now()), time.Millisecond))
		}
		select {
		case <-heard:
			stop()
		case <-due:
		case <-ctx.Done():
			stop()
			return fault.New("hub.WaitFeedback", fault.Timeout, "no feedback in time").Because(ctx.Err())
		}
	}
}

// feedbackReady tells whether there is something to give now, and when to look again if nothing happens; zero: never.
func (h *Hub) feedbackReady(ctx context.Context) (ready bool, again time.Time, err error) {
	settings, now := h.CommandSettings(), h.server.clock.Now()
	n, oldest, err := h.server.store.FeedbackFree(ctx, h.id, now, feedbackBatch)
	if err != nil {
		return false, time.Time{}, err
	}
	if n > 0 {
		again = oldest.Add(settings.FeedbackDelay)
		if n >= feedbackBatch || !again.After(now) {
			return true, time.Time{}, nil
		}
	}
	lapse, err := h.server.store.FeedbackLapse(ctx, h.id, now)
	if !lapse.IsZero() && (again.IsZero() || lapse.Before(again)) {
		again = lapse
	}
	return false, again, err
}
