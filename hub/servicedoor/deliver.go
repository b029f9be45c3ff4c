package servicedoor

import (
	"context"
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// feedbackType is what a batch of feedback is called (IoT Hub: message feedback).
const feedbackType = "application/vnd.microsoft.iothub.feedback.json"

const (
	// settleTimeout is for the store to write down an outcome, also when the connection is over.
	settleTimeout = 10 * time.Second
	// sendTimeout is how long something that was taken for a peer waits for a peer that took its credit back.
	sendTimeout = 20 * time.Second
)

// parcel is something that one receiver is given.
type parcel struct {
	lock       string // UUID
	kind       string // content type
	body       any    // goes as JSON
	enqueued   time.Time
	sequence   int64 // 0: it has none
	deliveries int   // before this one
}

// source is where parcels come from.
type source interface {
	next(ctx context.Context) (*parcel, error) // nil when there is none
	wait(ctx context.Context) error            // until next may have one
	complete(ctx context.Context, lock string) error
	abandon(ctx context.Context, lock string) error
}

type feedbackSource struct{ v *Conversation }

func (s feedbackSource) next(ctx context.Context) (*parcel, error) {
	b, err := s.v.hub.ReceiveFeedback(ctx, 0)
	if b == nil || err != nil {
		return nil, err
	}
	p := &parcel{lock: b.Lock, kind: feedbackType, body: b.Records, deliveries: b.DeliveryCount}
	for _, r := range b.Records {
		if r.Enqueued.After(p.enqueued) {
			p.enqueued = r.Enqueued
		}
	}
	return p, nil
}

func (s feedbackSource) wait(ctx context.Context) error { return s.v.hub.WaitFeedback(ctx) }

func (s feedbackSource) complete(ctx context.Context, lock string) error {
	return s.v.hub.CompleteFeedback(ctx, lock)
}

func (s feedbackSource) abandon(ctx context.Context, lock string) error {
	return s.v.hub.AbandonFeedback(ctx, lock)
}

type notificationSource struct {
	v     *Conversation
	files *file.Service
}

func (s notificationSource) next(ctx context.Context) (*parcel, error) {
	n, err := s.files.Receive(ctx, s.v.hub, 0)
	if n == nil || err != nil {
		return nil, err
	}
	return &parcel{lock: n.Lock, kind: file.NotificationType, body: n, enqueued: n.Enqueued, sequence: n.Sequence, deliveries: n.Deliveries - 1}, nil
}

func (s notificationSource) wait(ctx context.Context) error { return s.files.Wait(ctx, s.v.hub) }

func (s notificationSource) complete(ctx context.Context, lock string) error {
	return s.files.Complete(ctx, s.v.hub, lock)
}

func (s notificationSource) abandon(ctx context.Context, lock string) error {
	return s.files.Abandon(ctx, s.v.hub, lock)
}

// deliver gives a receiver what there is, while it has credit, until the link ends.
func (v *Conversation) deliver(l *engine.Link, from source) {
	ctx := l.Context()
	for {
		flowed := l.Flowed() // first, so that no flow is missed
		if l.Await(ctx) != nil {
			return
		}
		p, err := from.next(ctx)
		if err == nil && p == nil {
			l.Idle() // the peer may want its credit back
			err = v.wait(ctx, from, flowed)
		} else if err == nil {
			err = v.give(l, from, p)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			v.door.log.Error("hub: request failed", "door", "amqp", "hub", v.hub.Name(), "link", pathOf(l), "err", err)
			l.Detach(v.says(pathOf(l), err))
			return
		}
	}
}

// wait returns when there may be something to give, or the peer has said something about its credit.
func (v *Conversation) wait(ctx context.Context, from source, flowed <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v.busy.Go(func() {
		select {
		case <-flowed:
			cancel()
		case <-ctx.Done():
		}
	})
	err := from.wait(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// give sends a parcel. What cannot be sent is given back.
func (v *Conversation) give(l *engine.Link, from source, p *parcel) error {
	b, err := p.message(v.hub)
	if err != nil {
		v.settle(l, from, p.lock, amqp.Released{})
		return err
	}
	tag, _ := amqptext.ParseUUID(p.lock)
	ctx, cancel := context.WithTimeout(l.Context(), sendTimeout)
	defer cancel()
	out := engine.Outgoing{Parts: [][]byte{b}, Tag: tag[:], Settled: l.Peer().SndSettleMode.Or(amqp.SenderMixed) == amqp.SenderSettled}
	if !out.Settled {
		out.Done = func(s amqp.State) { v.busy.Go(func() { v.settle(l, from, p.lock, s) }) }
	}
	if err := l.Send(ctx, out); err != nil {
		v.settle(l, from, p.lock, amqp.Released{})
		return nil
	}
	if out.Settled {
		v.settle(l, from, p.lock, amqp.Accepted{})
	}
	return nil
}

// settle writes down what a peer said of a parcel: nil when the link ended before it said anything.
func (v *Conversation) settle(l *engine.Link, from source, lock string, s amqp.State) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.Context()), settleTimeout)
	defer cancel()
	end := from.abandon
	switch s.(type) {
	case amqp.Accepted, amqp.Rejected: // who rejects it does not want it again
		end = from.complete
	}
	switch err := end(ctx, lock); {
	case err == nil:
	case fault.KindOf(err) == fault.Precondition: // the peer was too slow
		v.door.log.Debug("hub: an outcome came too late", "hub", v.hub.Name(), "link", pathOf(l), "err", err)
	default:
		v.door.log.Error("hub: request failed", "door", "amqp", "hub", v.hub.Name(), "link", pathOf(l), "err", err)
	}
}

// message is a parcel as it goes on the wire.
func (p *parcel) message(h *hub.Hub) ([]byte, error) {
	text, err := json.Marshal(p.body)
	if err != nil {
		return nil, fault.Wrap("servicedoor.message", fault.Internal, err, "")
	}
	lock, _ := amqptext.ParseUUID(p.lock)
	m := &amqp.Message{
		MessageAnnotations: amqp.Map{
			{Key: amqp.Symbol("iothub-enqueuedtime"), Value: amqp.Timestamp(p.enqueued.UnixMilli())},
			{Key: amqp.Symbol("iothub-deliverycount"), Value: uint8(min(p.deliveries, 255))},
			{Key: amqp.Symbol("x-opt-lock-token"), Value: lock},
		},
		Properties: &amqp.Properties{MessageID: p.lock, UserID: []byte(h.HostName()), ContentType: amqp.Symbol(p.kind), ContentEncoding: "utf-8"},
		Data:       [][]byte{text},
	}
	if p.sequence > 0 {
		m.MessageAnnotations = append(m.MessageAnnotations, amqp.Pair{Key: amqp.Symbol("x-opt-sequence-number"), Value: uint64(p.sequence)})
	}
	b, err := m.Append(nil)
	return b, fault.Wrap("servicedoor.message", fault.Internal, err, "")
}
