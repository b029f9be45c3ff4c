package mqttdoor

import (
	"sync"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// outbox is what is to be written to a peer, and the messages whose answer from the log is awaited. Three parties use it: the reader
// adds, the log's callbacks answer, the writer takes.
type outbox struct {
	hub   *hub.Hub
	limit int           // messages in flight
	cut   func()        // closes the connection
	wake  chan struct{} // there is something to write; capacity 1

	mu     sync.Mutex // guards the fields below
	room   sync.Cond  // a message was answered, or the outbox was closed
	ring   []*slot    // in the order of the PUBLISHes; head to tail are in flight
	head   int
	count  int
	out    []byte
	failed error
	closed bool
}

// slot is one message in flight. Slots and their callbacks are used again and again, so that a message costs no allocation.
type slot struct {
	id       uint16
	ack      bool // QoS 1
	answered bool
	bytes    int
	done     func(eventlog.Position, error)
}

const notTelemetry = -1

func newOutbox(limit int, cut func()) *outbox {
	o := &outbox{limit: limit, cut: cut, wake: make(chan struct{}, 1)}
	o.room.L = &o.mu
	return o
}

// begin waits for room and returns the callback for a message; nil once the connection is over. id is 0 for QoS 0, bytes is notTelemetry
// for what is acknowledged and not stored.
func (o *outbox) begin(id uint16, bytes int) func(eventlog.Position, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.count == o.limit || len(o.out) >= maxOutbox) && !o.closed && o.failed == nil {
		o.room.Wait()
	}
	if o.closed || o.failed != nil {
		return nil
	}
	if o.count == len(o.ring) {
		o.grow()
	}
	s := o.ring[(o.head+o.count)%len(o.ring)]
	o.count++
	s.id, s.ack, s.answered, s.bytes = id, id != 0, false, bytes
	return s.done
}

func (o *outbox) grow() {
	next := make([]*slot, min(max(8, 2*len(o.ring)), o.limit))
	for i := range o.ring {
		next[i] = o.ring[(o.head+i)%len(o.ring)]
	}
	for i := len(o.ring); i < len(next); i++ {
		s := &slot{}
		s.done = func(_ eventlog.Position, err error) { o.answer(s, err) }
		next[i] = s
	}
	o.ring, o.head = next, 0
}

// answer takes the log's word for one message and releases the PUBACKs which are in order now.
func (o *outbox) answer(s *slot, err error) {
	o.mu.Lock()
	if err != nil {
		if o.failed == nil {
			o.failed = err
			o.room.Broadcast()
		}
		o.mu.Unlock()
		o.cut()
		return
	}
	if s.bytes != notTelemetry {
		o.hub.Acknowledged(s.bytes)
	}
	s.answered = true
	wake := false
	for o.count > 0 && o.ring[o.head].answered && o.failed == nil {
		if h := o.ring[o.head]; h.ack && !o.closed {
			o.out, _ = mqtt.Ack{Of: mqtt.PUBACK, ID: h.id}.Append(o.out) // four bytes always fit
			wake = true
		}
		o.head = (o.head + 1) % len(o.ring)
		o.count--
		if o.count == o.limit-1 {
			o.room.Signal()
		}
	}
	o.mu.Unlock()
	if wake {
		o.knock()
	}
}

// send adds a packet for the writer. It fails when the peer does not read what we write.
func (o *outbox) send(p mqtt.Packet) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	out, err := p.Append(o.out)
	if err != nil {
		return fault.Wrap("mqttdoor.send", fault.Internal, err, "")
	}
	if len(out) > maxOutbox {
		return fault.New("mqttdoor.send", fault.Exhausted, "the device asks and does not read the answers")
	}
	o.out = out
	o.knock()
	return nil
}

// knock wakes the writer, once for everything that comes until it looks.
func (o *outbox) knock() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take gives what is to be written in exchange for an empty buffer.
func (o *outbox) take(spare []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.out
	o.out = spare[:0]
	o.room.Signal()
	return b
}

// close lets nobody wait any more and returns why the log refused a message, if it did.
func (o *outbox) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.room.Broadcast()
	return o.failed
}
