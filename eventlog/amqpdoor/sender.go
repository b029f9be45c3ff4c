package amqpdoor

import (
	"context"
	"errors"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// sender is a link that events come on.
type sender struct {
	link
	v         *Conversation
	partition int               // -1: by key, or in turn
	producer  eventlog.Producer // ID 0: its events are not numbered
}

func (v *Conversation) attachSender(l *engine.Link, a address) {
	e, err := v.enter(l.Context(), a, eventhub.Send)
	if err != nil {
		v.turnAway(l, err)
		return
	}
	s := &sender{link: link{Link: l, entity: e, path: a.path(), need: eventhub.Send, sends: true}, v: v, partition: a.partition}
	accept := engine.Accept{MaxMessage: uint64(e.MaxMessage()), Receive: s.receive}
	if desires(l, idempotentProducer) {
		if accept.Properties, err = s.register(l.Context()); err != nil {
			v.turnAway(l, err)
			return
		}
		accept.Offered = []amqp.Symbol{idempotentProducer}
	}
	v.door.metrics.senders.Inc()
	v.add(&s.link)
	l.OnEnd(v.door.metrics.senders.Dec)
	l.Accept(accept)
}

// receive takes a transfer, on the connection's goroutine. While the log has too much to do it waits, which is how the peer is held back.
func (s *sender) receive(d *engine.Delivery) {
	door := s.v.door
	s.active.Store(door.clock.Now().UnixMilli())
	if n := len(d.Message()); n > s.entity.MaxMessage() {
		s.reject(d, amqp.Errorf(amqp.ConditionMessageSizeExceeded, "The received message (delivery-size:%d) exceeds the limit (%d bytes) currently allowed on the link.", n, s.entity.MaxMessage()))
		return
	}
	b, _ := door.batches.Get().(*amqpevent.Batch)
	defer func() {
		b.Rest()
		door.batches.Put(b)
	}()
	err := b.Read(d.Format(), d.Message())
	if err == nil {
		err = s.ownNumbers(&b.Producer)
	}
	if err != nil {
		s.reject(d, err)
		return
	}
	n := len(b.Events)
	s.entity.Append(eventlog.Batch{Partition: s.partition, Key: b.Key, OwnKeys: b.OwnKeys, Events: b.Events, Producer: b.Producer}, func(_ eventlog.Position, err error) {
		if err != nil {
			s.reject(d, err)
			return
		}
		door.metrics.in.Add(float64(n))
		door.metrics.transfers.Inc()
		d.Accept()
	})
}

func (s *sender) reject(d *engine.Delivery, err error) {
	if fault.KindOf(err) == fault.Denied {
		err = s.v.unauthorized(s.path, eventhub.Send)
	}
	e := condition(err)
	s.v.door.metrics.rejected.Inc()
	s.v.door.log.Debug("eventhub: a transfer was rejected", "address", s.Address(), "err", err)
	d.Reject(e)
}

// The idempotent producer: its capability, and the properties of its link.
const (
	idempotentProducer amqp.Symbol = "com.microsoft:idempotent-producer"
	producerID         amqp.Symbol = "com.microsoft:producer-id"
	producerEpoch      amqp.Symbol = "com.microsoft:producer-epoch"
	producerSequence   amqp.Symbol = "com.microsoft:producer-sequence-number"
)

// register makes the link that of a producer, of a new one or of the one whose state the peer knows, and returns the state to tell it.
//
// A peer that comes back after a broken connection gives the number of the last event it knows to be stored. It is told that number again,
// and not the one the log knows of, so that what it has to send again bears the same numbers and is recognised.
func (s *sender) register(ctx context.Context) (amqp.Map, error) {
	if s.partition < 0 {
		return nil, fault.New("amqpdoor", fault.Conflict, "An idempotent producer sends to one partition: {event hub}/Partitions/{partition}.")
	}
	known := eventlog.Producer{}
	id, hasID := amqptext.Integer(s.Peer().Properties.Get(producerID))
	epoch, hasEpoch := amqptext.Integer(s.Peer().Properties.Get(producerEpoch))
	last, hasLast := amqptext.Integer(s.Peer().Properties.Get(producerSequence))
	if hasID && id > 0 {
		known.ID = id
	}
	if hasEpoch && epoch == int64(int16(epoch)) {
		known.Epoch = int16(epoch)
	}
	p, err := s.entity.RegisterProducer(ctx, s.partition, known)
	if known.ID != 0 && errors.Is(err, eventlog.ErrUnknownProducer) {
		p, err = s.entity.RegisterProducer(ctx, s.partition, eventlog.Producer{})
	}
	if err != nil {
		return nil, err
	}
	s.producer = p
	told := p.Sequence
	if hasLast && p.ID == known.ID && last >= -1 && last < int64(p.Sequence) {
		told = int32(last)
	}
	return amqp.Map{{Key: producerID, Value: p.ID}, {Key: producerEpoch, Value: p.Epoch}, {Key: producerSequence, Value: told}}, nil
}

// ownNumbers tells whether events are numbered by the producer the link is for; numbers on other links mean nothing.
func (s *sender) ownNumbers(p *eventlog.Producer) error {
	if s.producer.ID == 0 {
		*p = eventlog.Producer{}
		return nil
	}
	if p.ID != s.producer.ID {
		return fault.Newf("amqpdoor", fault.Invalid, "The events on this link bear the id %d of its producer, not %d.", s.producer.ID, p.ID)
	}
	return nil
}
