package amqpdoor

import (
	"sync"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

const (
	// batchFormat is the message format of a message whose data sections are messages (Azure SDKs: batched messages).
	batchFormat uint32 = 0x80013700
	// messageCredit is how many messages of a link may be on their way to the log.
	messageCredit = 1000
	// largestLetter is what a link takes of one message. What is larger than hub.MaxMessage is rejected, and the link stays.
	largestLetter = 4 * hub.MaxMessage
	// maxBatch is how many messages a batch may hold.
	maxBatch = 5000
)

// telemetry is a link on which an identity sends messages. What follows "receiving" belongs to the connection's goroutine.
type telemetry struct {
	peer    *peer
	session *hub.Session

	// Receiving.
	reader letters
	inside []letter // of the delivery at hand

	mu   sync.Mutex // guards the field below
	held []held     // in their order; a goroutine sends them while there are any
}

// keptLetters is how many messages a link has room for between deliveries.
const keptLetters = 64

// flight is a delivery on its way to the log. Flights and their callbacks are used again and again, so that a message costs no allocation.
type flight struct {
	link     *telemetry
	delivery *engine.Delivery
	left     atomic.Int32 // messages of it that are not answered
	bytes    int          // of the body of each
	failed   atomic.Pointer[error]
	done     func(eventlog.Position, error)
}

func (p *peer) openTelemetry(l *engine.Link) {
	t := &telemetry{peer: p, session: p.session}
	t.reader.session = t.session
	p.mu.Lock()
	old := p.sender
	p.sender = l
	p.mu.Unlock()
	p.replace(old)
	p.accept(l, engine.Accept{Credit: messageCredit, MaxMessage: largestLetter, Receive: t.receive}, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.sender == l {
			p.sender = nil
		}
	})
}

func newFlight() any {
	f := &flight{}
	f.done = func(_ eventlog.Position, err error) { f.answer(err) }
	return f
}

// receive takes a delivery: a message, or a batch of them, all of which become durable before it is accepted.
func (t *telemetry) receive(d *engine.Delivery) {
	if t.peer.isOver() {
		d.Release()
		return
	}
	size, err := t.read(d)
	if err == nil && size > hub.MaxMessage {
		err = fault.Newf("amqpdoor.receive", fault.TooLarge, "the message has %d bytes with its properties, %d are allowed", size, hub.MaxMessage)
	}
	if err != nil {
		d.Reject(t.peer.says(err))
		return
	}
	if len(t.inside) == 0 { // an empty batch
		d.Accept()
		return
	}
	f := t.peer.talk.door.flights.Get().(*flight) //nolint:forcetypeassert // the pool holds nothing else
	f.link, f.delivery, f.bytes = t, d, 0
	for _, m := range t.inside {
		f.bytes += len(m.body)
	}
	f.bytes /= len(t.inside)
	f.left.Store(int32(len(t.inside)))
	t.submit(f)
	clear(t.inside) // bodies are not ours any more
	if cap(t.inside) > keptLetters {
		t.inside = nil
	}
}

// submit sends what receive has read, or holds it back.
func (t *telemetry) submit(f *flight) {
	if t.holding() {
		t.hold(f, t.inside, false)
		return
	}
	for i, m := range t.inside {
		if t.session.TrySubmit(m.body, m.labels, f.done) > 0 {
			t.hold(f, t.inside[i:], i > 0)
			return
		}
	}
}

// read takes a delivery apart into t.inside, whose bodies are good for as long as the delivery is.
func (t *telemetry) read(d *engine.Delivery) (size int, err error) {
	op := "amqpdoor.receive"
	t.inside = t.inside[:0]
	one := func(message []byte) error {
		if len(t.inside) >= maxBatch {
			return fault.Newf(op, fault.TooLarge, "a batch holds at most %d messages", maxBatch)
		}
		m, n, err := t.reader.read(message)
		t.inside = append(t.inside, m)
		size += n
		return err
	}
	switch d.Format() {
	case 0:
		return size, one(d.Message())
	case batchFormat:
		s, err := amqp.Scan(d.Message())
		if err != nil || s.Kind != amqp.Data && s.Kind != amqp.NoBody {
			return 0, unreadable(err)
		}
		err = amqp.EachData(s.Body, one)
		return size, err
	}
	return 0, code.With(fault.Newf(op, fault.Invalid, "the message has format %#x, which the hub does not know", d.Format()).
		Advise("send messages of format 0, or batches of format %#x", batchFormat), code.InvalidOperation)
}

// answer takes the log's word for one message of the delivery. The last one tells the device.
func (f *flight) answer(err error) {
	if err == nil {
		f.link.session.Hub().Acknowledged(f.bytes)
	}
	f.settle(1, err)
}

// settle notes what became of n messages.
func (f *flight) settle(n int, err error) {
	if err != nil {
		kept := err // so that the parameter itself costs no allocation
		f.failed.CompareAndSwap(nil, &kept)
	}
	if f.left.Add(-int32(n)) > 0 {
		return
	}
	t, d := f.link, f.delivery
	first := f.failed.Load()
	f.link, f.delivery = nil, nil
	f.failed.Store(nil)
	t.peer.talk.door.flights.Put(f)
	switch {
	case first == nil:
		d.Accept()
	case t.peer.isOver():
		d.Release()
	default:
		t.peer.notes(*first)
		d.Reject(t.peer.says(*first))
	}
}
