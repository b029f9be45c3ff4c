package connection

import (
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// take does what one frame of the hub's asks for. Only the goroutine that reads calls it, and introduce before there is one.
func (t *amqpTalk) take(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	code, _ := amqp.DescriptorOf(body)
	switch code { // those that come again and again
	case amqp.CodeDisposition:
		var d amqp.Disposition
		if err := d.Decode(body); err != nil {
			return noAMQP(err)
		}
		return t.settle(&d)
	case amqp.CodeFlow:
		var f amqp.Flow
		if err := f.Decode(body); err != nil {
			return noAMQP(err)
		}
		return t.flow(&f)
	case amqp.CodeTransfer:
		var x amqp.Transfer
		payload, err := x.Decode(body)
		if err != nil {
			return noAMQP(err)
		}
		return t.reply(&x, payload)
	}
	p, _, err := amqp.Decode(amqp.FrameAMQP, body)
	if err != nil {
		return noAMQP(err)
	}
	switch p := p.(type) {
	case *amqp.Detach:
		return ended("link", p.Error)
	case *amqp.End:
		return ended("session", p.Error)
	case *amqp.Close:
		return ended("connection", p.Error)
	}
	if t.reading { // what was agreed upon stays, and others read it
		return noAMQP(nil)
	}
	switch p := p.(type) {
	case *amqp.Open:
		t.opened(p)
	case *amqp.Begin:
		t.begun = true
		t.mu.Lock()
		t.window = p.IncomingWindow // our transfers begin with 0
		t.theirNext = p.NextOutgoingID
		t.mu.Unlock()
	case *amqp.Attach:
		t.attached(p)
	}
	return nil
}

func (t *amqpTalk) opened(p *amqp.Open) {
	t.maxFrame = min(max(p.MaxFrameSize.Or(largestFrame), amqp.MinMaxFrame), largestFrame)
	t.idle = milliseconds(p.IdleTimeout.Or(0))
}

func (t *amqpTalk) attached(p *amqp.Attach) {
	for handle, name := range names {
		if p.Name != name {
			continue
		}
		t.theirs[handle], t.met[handle] = p.Handle, true
		// A link that is refused has no terminus, and its detach follows (2.6.3).
		t.welcome[handle] = p.Target != nil
		if uint32(handle) == eventsHandle {
			t.maxMessage = p.MaxMessageSize.Or(0)
		}
		if uint32(handle) == answerHandle {
			t.mu.Lock()
			t.answers = p.InitialDeliveryCount.Or(0)
			t.mu.Unlock()
		}
	}
}

// flow notes what the hub lets us send.
func (t *amqpTalk) flow(f *amqp.Flow) error {
	t.mu.Lock()
	t.window = f.NextIncomingID.Or(0) + f.IncomingWindow
	if f.Handle.Set {
		for handle, theirs := range t.theirs {
			if t.met[handle] && theirs == f.Handle.Value && f.LinkCredit.Set {
				link := &t.links[handle]
				link.end = f.DeliveryCount.Or(0) + f.LinkCredit.Value
				if f.Drain && uint32(handle) != answerHandle { // nothing waits to be sent: the credit is given back (2.6.7)
					link.count = link.end
				}
			}
		}
	}
	ready := t.wanting && t.links[eventsHandle].left() > 0 && int32(t.window-t.outgoing) > 0
	if ready {
		t.wanting = false
	}
	var answer []byte
	if f.Echo || f.Drain {
		answer = t.append(nil, t.state(f))
	}
	t.mu.Unlock()
	if answer != nil {
		if err := t.c.send(answer); err != nil {
			return err
		}
	}
	if ready {
		t.c.sink.Ready(t.c)
	}
	return nil
}

// state is what a flow of the hub's is answered with. The lock is held.
func (t *amqpTalk) state(f *amqp.Flow) *amqp.Flow {
	out := &amqp.Flow{
		NextIncomingID: amqp.Some(t.theirNext), IncomingWindow: ourWindow, NextOutgoingID: t.outgoing, OutgoingWindow: ourWindow,
	}
	for handle, theirs := range t.theirs {
		if t.met[handle] && f.Handle.Set && theirs == f.Handle.Value && uint32(handle) != answerHandle {
			link := t.links[handle]
			out.Handle, out.DeliveryCount, out.LinkCredit = amqp.Some(uint32(handle)), amqp.Some(link.count), amqp.Some(uint32(max(link.left(), 0)))
			out.Available, out.Drain = amqp.Some(uint32(0)), f.Drain
		}
	}
	return out
}

// settle tells the sink of deliveries that the hub is done with; they come as ranges, and in any order.
func (t *amqpTalk) settle(d *amqp.Disposition) error {
	if d.Role != amqp.RoleReceiver {
		return nil
	}
	if _, halfway := d.State.(amqp.Received); halfway || d.State == nil && !d.Settled {
		return nil
	}
	last := d.Last.Or(d.First)
	t.mu.Lock()
	oldest := t.next - uint32(len(t.flying))
	from, to := max(int32(d.First-oldest), 0), min(int32(last-oldest), int32(len(t.flying))-1)
	t.mu.Unlock()
	for i := from; i <= to; i++ {
		f, ok := t.land(oldest + uint32(i))
		if !ok {
			continue
		}
		if err := t.tell(f, d.State); err != nil {
			return err
		}
	}
	return nil
}

// land takes a delivery from those under way.
func (t *amqpTalk) land(id uint32) (flight, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := int32(id - (t.next - uint32(len(t.flying))))
	if at < 0 || int(at) >= len(t.flying) || t.flying[at].settled {
		return flight{}, false
	}
	t.flying[at].settled = true
	f := t.flying[at]
	gone := 0
	for gone < len(t.flying) && t.flying[gone].settled {
		gone++
	}
	t.flying = t.flying[:copy(t.flying, t.flying[gone:])]
	return f, true
}

// tell says what became of a delivery.
func (t *amqpTalk) tell(f flight, state amqp.State) error {
	rejected, isRejected := state.(amqp.Rejected)
	if f.token {
		if isRejected {
			return ended("link", rejected.Error)
		}
		return nil // the answer counts
	}
	if _, ok := state.(amqp.Accepted); ok {
		t.c.sink.Acknowledged(t.c, f.id)
		return nil
	}
	err, again := turnedDown(rejected.Error, isRejected)
	t.c.sink.Refused(t.c, f.id, err, again)
	return nil
}

// turnedDown makes an error of a message's outcome; again says that it may be sent later.
func turnedDown(e *amqp.Error, rejected bool) (err error, again bool) { //nolint:revive // the error is what is told, not what went wrong here
	op := "connection.read"
	if !rejected { // released or modified (3.4.4, 3.4.5)
		return fault.New(op, fault.Unavailable, "the hub gave a message back without taking it"), true
	}
	var condition amqp.Symbol
	if e != nil {
		condition = e.Condition
	}
	switch condition {
	case "com.microsoft:device-container-throttled", "com.microsoft:server-busy":
		return fault.Newf(op, fault.Exhausted, "the hub has too much to do: %s", words(e)).
			Advise("send less often, or raise the hub's limits"), true
	case amqp.ConditionInternalError, amqp.ConditionDetachForced, "com.microsoft:timeout":
		return fault.Newf(op, fault.Unavailable, "the hub could not take a message: %s", words(e)), true
	case amqp.ConditionMessageSizeExceeded:
		return fault.Newf(op, fault.TooLarge, "the hub refused a message as too large: %s", words(e)), false
	case amqp.ConditionResourceLimitExceeded, "com.microsoft:quota-exceeded":
		return fault.Newf(op, fault.Denied, "the hub's quota is used up: %s", words(e)), false
	}
	return fault.Newf(op, fault.Invalid, "the hub refused a message: %s", words(e)), false
}
