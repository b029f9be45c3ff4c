package amqpdoor

import (
	"maps"
	"slices"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// delivery gives cloud-to-device messages to a link, as it has credit. What the device does not settle before the link ends comes again.
type delivery struct {
	peer    *peer
	link    *engine.Link
	inputs  bool // of a module
	settled bool // the device wants each once at most

	mu      sync.Mutex // guards the fields below
	waiting bool       // the hub has said that there are some since somebody looked
	pumping bool       // a goroutine fetches them
}

func (p *peer) openDelivery(l *engine.Link, k kind) {
	d := &delivery{peer: p, link: l, inputs: k == events, settled: wantsSettled(l)}
	p.mu.Lock()
	old := p.delivery
	p.delivery = d
	p.mu.Unlock()
	if old != nil {
		p.replace(old.link)
	}
	p.tune(hub.Commands) // what is sent waits until the peer has heard that the link is there
	p.accept(l, engine.Accept{Drain: d.drain}, func() {
		p.mu.Lock()
		last := p.delivery == d
		if last {
			p.delivery = nil
		}
		p.mu.Unlock()
		if last {
			p.tune(hub.Commands)
		}
	})
}

// wantsSettled tells whether what is sent on a link is settled at once: the peer says so, or leaves it to us.
func wantsSettled(l *engine.Link) bool {
	return l.Peer().SndSettleMode.Or(amqp.SenderUnsettled) == amqp.SenderSettled
}

// CommandsWaiting implements hub.Receiver.
func (p *peer) CommandsWaiting() {
	p.mu.Lock()
	d := p.delivery
	p.mu.Unlock()
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = true
	if !d.pumping {
		d.pumping = p.start(d.pump)
	}
}

// drain is called when the device wants its credit back.
func (d *delivery) drain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.pumping {
		d.link.Idle()
	}
}

// pump fetches what waits.
func (d *delivery) pump() {
	ctx := d.link.Context()
	for {
		d.mu.Lock()
		d.waiting = false
		d.mu.Unlock()
		for d.link.Await(ctx) == nil && d.one() { //nolint:revive // it is in the condition
		}
		d.mu.Lock()
		d.pumping = d.waiting && ctx.Err() == nil
		again := d.pumping
		if !again {
			d.link.Idle()
		}
		d.mu.Unlock()
		if !again {
			return
		}
	}
}

// one gives the next message and tells whether there may be another.
func (d *delivery) one() bool {
	p, ctx := d.peer, d.link.Context()
	m, err := p.session.NextCommand(ctx)
	if err != nil {
		if ctx.Err() == nil { // what it may have taken comes back with the link
			d.link.Detach(p.says(err))
		}
		return false
	}
	if m == nil {
		return false
	}
	text, tag, err := d.write(m)
	if err != nil { // none of its values can fail to be written
		p.session.Reject(m.Lock, d.settles)
		return true
	}
	out := engine.Outgoing{Parts: [][]byte{text}, Tag: tag, Settled: d.settled}
	if !d.settled {
		out.Done = func(s amqp.State) { d.done(m.Lock, s) }
	}
	switch err := d.link.Send(ctx, out); {
	case fault.KindOf(err) == fault.TooLarge && err != nil:
		p.talk.door.log.Warn("hub: a cloud-to-device message is larger than the device takes and is rejected", "device", p.name.String(), "messageId", m.MessageID, "err", err)
		p.session.Reject(m.Lock, d.settles)
		return true
	case err != nil:
		d.done(m.Lock, nil)
		return false
	}
	if d.settled {
		p.session.Complete(m.Lock, d.settles)
	}
	return true
}

// done hears what the device says of a message; nil when it said nothing before the link ended.
func (d *delivery) done(lock string, s amqp.State) {
	switch s.(type) {
	case amqp.Accepted:
		d.peer.session.Complete(lock, d.settles)
	case amqp.Rejected:
		d.peer.session.Reject(lock, d.settles)
	case amqp.Released, amqp.Modified:
		d.peer.session.Abandon(lock, d.settles)
	default:
		if !d.peer.isOver() { // otherwise all it holds is given back at once
			d.peer.session.Abandon(lock, d.settles)
		}
	}
}

// settles hears what became of that. When it failed the message comes again, or has expired.
func (d *delivery) settles(err error) {
	if err != nil {
		d.peer.talk.door.log.Debug("hub: a cloud-to-device message could not be settled", "device", d.peer.name.String(), "err", err)
	}
}

// write encodes a message. Its tag is the lock, as .NET writes a GUID: SDKs show it as the lock's text.
func (d *delivery) write(m *hub.Command) (text, tag []byte, err error) {
	lock, _ := amqptext.ParseUUID(m.Lock)
	out := amqp.Message{
		MessageAnnotations: amqp.Map{
			{Key: amqp.Symbol("iothub-enqueuedtime"), Value: amqp.Timestamp(m.Enqueued.UnixMilli())},
			{Key: amqp.Symbol("iothub-deliverycount"), Value: uint8(min(m.DeliveryCount, 255))},
			{Key: amqp.Symbol("x-opt-sequence-number"), Value: uint64(m.Sequence)},
			{Key: amqp.Symbol("x-opt-lock-token"), Value: lock},
		},
		Properties: &amqp.Properties{
			To: m.To, UserID: []byte(m.UserID), ContentType: amqp.Symbol(m.ContentType), ContentEncoding: amqp.Symbol(m.ContentEncoding),
			AbsoluteExpiryTime: amqp.Some(amqp.Timestamp(m.Expires.UnixMilli())),
		},
		Data: [][]byte{m.Body},
	}
	if m.MessageID != "" {
		out.Properties.MessageID = m.MessageID
	}
	if m.CorrelationID != "" {
		out.Properties.CorrelationID = m.CorrelationID
	}
	if d.inputs {
		out.MessageAnnotations = append(out.MessageAnnotations, amqp.Pair{Key: amqp.Symbol("x-opt-input-name"), Value: m.Input()})
	}
	for _, k := range slices.Sorted(maps.Keys(m.Properties)) {
		out.ApplicationProperties = append(out.ApplicationProperties, amqp.Pair{Key: k, Value: m.Properties[k]})
	}
	if m.Ack != "" && m.Ack != hub.AckNone {
		out.ApplicationProperties = append(out.ApplicationProperties, amqp.Pair{Key: "iothub-ack", Value: m.Ack})
	}
	text, err = out.Append(nil)
	return text, guid(lock), err
}

// guid is how .NET writes one as bytes: the first three groups with the last byte first.
func guid(u amqp.UUID) []byte {
	return []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
}
