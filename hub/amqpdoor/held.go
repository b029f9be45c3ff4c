package amqpdoor

import (
	"slices"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
)

// held is a delivery that waits for the device's allowance, or what of it does.
type held struct {
	flight *flight
	list   []letter
	size   int64
	since  time.Time
}

// perHeld is what a delivery that waits counts for beside its bytes.
const perHeld = 512

// holding tells whether messages that came before are held back: then the next ones go behind them.
func (t *telemetry) holding() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.held) > 0
}

// hold keeps messages until the device may send them, unless too much of the connection is held already. Of a delivery that has begun,
// some messages are on their way.
func (t *telemetry) hold(f *flight, list []letter, begun bool) {
	v := t.peer.talk
	size := int64(len(f.delivery.Message())) + perHeld
	if !begun && v.held.Load()+size > int64(v.door.cfg.MaxHeld) {
		f.settle(len(list), t.throttled())
		return
	}
	v.held.Add(size)
	t.mu.Lock()
	first := len(t.held) == 0
	t.held = append(t.held, held{f, slices.Clone(list), size, v.door.clock.Now()})
	t.mu.Unlock()
	if first && !t.peer.start(t.flow) {
		t.flow() // it is over: nothing waits
	}
}

// flow sends what is held back, as the allowance lets it, until nothing is.
func (t *telemetry) flow() {
	for {
		t.mu.Lock()
		h := t.held[0]
		t.mu.Unlock()
		left, err := t.send(h)
		t.mu.Lock()
		t.held[0] = held{}
		t.held = t.held[1:]
		last := len(t.held) == 0
		if last {
			t.held = nil
		}
		t.mu.Unlock()
		t.peer.talk.held.Add(-h.size)
		if left > 0 {
			h.flight.settle(left, err)
		}
		if last {
			return
		}
	}
}

// send returns how many messages of a delivery it did not send, and why.
func (t *telemetry) send(h held) (left int, err error) {
	clk, patience := t.peer.talk.door.clock, t.peer.talk.door.cfg.Patience
	began := clk.Now()
	defer func() { t.session.HeldBack(clk.Now().Sub(began)) }()
	for i, m := range h.list {
		for {
			if t.peer.isOver() {
				return len(h.list) - i, fault.New("amqpdoor.send", fault.Unavailable, "the session ended")
			}
			wait := t.session.TrySubmit(m.body, m.labels, h.flight.done)
			if wait == 0 {
				break
			}
			if clk.Now().Add(wait).Sub(h.since) > patience {
				return len(h.list) - i, t.throttled()
			}
			fired, stop := clk.After(wait)
			select {
			case <-fired:
			case <-t.peer.gone:
			}
			stop()
		}
	}
	return 0, nil
}

// throttled is what a device is told that sends more than may wait here.
func (t *telemetry) throttled() error {
	return code.With(fault.Newf("amqpdoor.hold", fault.Exhausted, "%s sends more messages than it may, and too many wait already", t.peer.name.Words()).
		Advise("send again in a while; the limits are those of GET /isthmus/v1/limits"), code.Throttled)
}
