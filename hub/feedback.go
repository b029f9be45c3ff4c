package hub

import (
	"context"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// feedbackBatch is how many records go together at most (IoT Hub: message feedback).
const feedbackBatch = 64

// Feedback tells the sender of a message to a device what became of it. Its JSON is that of IoT Hub.
type Feedback struct {
	OriginalMessageID string    `json:"originalMessageId"`
	Enqueued          time.Time `json:"enqueuedTimeUtc"` // when it was settled
	Status            string    `json:"statusCode"`      // Success, Expired, DeliveryCountExceeded, Rejected or Purged
	Description       string    `json:"description"`
	Device            string    `json:"deviceId"`
	Generation        string    `json:"deviceGenerationId"`
}

// FeedbackBatch is feedback that somebody was given together.
type FeedbackBatch struct {
	Lock          string // for CompleteFeedback and AbandonFeedback
	Until         time.Time
	DeliveryCount int // how often the one of them that came back most often did
	Records       []Feedback
}

// ReceiveFeedback lends the oldest feedback that nobody has for a time, 0 being what the settings say. It is nil until there are 64
// records, or one of them is as old as the settings say.
func (h *Hub) ReceiveFeedback(ctx context.Context, lock time.Duration) (*FeedbackBatch, error) {
	settings := h.CommandSettings()
	if lock == 0 {
		lock = settings.FeedbackLock
	}
	if err := validLock("hub.ReceiveFeedback", lock); err != nil {
		return nil, err
	}
	now := h.server.clock.Now()
	n, oldest, err := h.server.store.FeedbackFree(ctx, h.id, now, feedbackBatch)
	if err != nil || n == 0 || n < feedbackBatch && now.Sub(oldest) < settings.FeedbackDelay {
		return nil, err
	}
	b := &FeedbackBatch{Lock: newLock()}
	err = h.together(ctx, func(q *queue) error {
		if _, err := q.tx.DropFeedback(h.id, q.now, q.settings.FeedbackDeliveries, maxFeedback, sweepStep); err != nil {
			return err
		}
		b.Until = q.now.Add(lock)
		list, err := q.tx.LockFeedback(h.id, b.Lock, q.now, b.Until, feedbackBatch)
		b.add(list)
		return err
	})
	if err != nil || len(b.Records) == 0 { // somebody was faster
		return nil, err
	}
	return b, nil
}

func (b *FeedbackBatch) add(list []hubstore.Feedback) {
	for _, f := range list {
		b.DeliveryCount = max(b.DeliveryCount, f.Deliveries)
		b.Records = append(b.Records, Feedback{f.MessageID, f.Happened, f.Status, f.Description, f.Device, f.Generation})
	}
}

// CompleteFeedback removes what a batch's lock holds. Precondition (code.MessageLockLost) when it has lapsed or never was.
func (h *Hub) CompleteFeedback(ctx context.Context, lock string) error {
	return h.feedback(ctx, func(q *queue) (int64, error) { return q.tx.DeleteFeedback(h.id, strings.ToLower(lock), q.now) })
}

// AbandonFeedback gives a batch back, to be received again at once. Faults are those of CompleteFeedback.
func (h *Hub) AbandonFeedback(ctx context.Context, lock string) error {
	return h.feedback(ctx, func(q *queue) (int64, error) {
		q.told = true
		return q.tx.FreeFeedback(h.id, strings.ToLower(lock), q.now, q.settings.FeedbackDeliveries)
	})
}

func (h *Hub) feedback(ctx context.Context, do func(*queue) (int64, error)) error {
	return h.together(ctx, func(q *queue) error {
		n, err := do(q)
		if err == nil && n == 0 {
			err = code.With(fault.New("hub.Feedback", fault.Precondition, "the lock holds no feedback, or not any more").
				Advise("receive it again; ask for a longer lock if this takes so long"), code.MessageLockLost)
		}
		return err
	})
}
