package mqttdoor

import (
	"io"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

const (
	// maxOutbox is how much may wait to be written to a peer that asks, before it is not read any more.
	maxOutbox = 64 << 10
	// maxPushed is how much may wait with what the hub says without being asked.
	maxPushed = 512 << 10
	// keptOut is the largest buffer that goes back to the pool.
	keptOut = 64 << 10
)

// outbox is what is to be written to a peer, and the messages whose answer from the log is awaited. The reader adds, the hub's callbacks
// answer and add, the writer takes: a goroutine that is there only while there is something to write. At rest an outbox holds nothing.
type outbox struct {
	conn    written
	hub     *hub.Hub
	limit   int           // messages in flight
	timeout time.Duration // of one write, which may be given up after half of it
	pool    *sync.Pool    // of *[]byte

	mu       sync.Mutex // guards the fields below
	room     sync.Cond  // there is more room, something asked was answered, or the outbox was closed
	ring     []*slot    // in the order of the PUBLISHes; head to tail are in flight
	head     int
	count    int
	asked    int // requests of the device that are not answered
	out      *[]byte
	writing  bool
	deadline time.Time // of writing, now
	failed   error
	closed   bool
}

// written is what an outbox needs of a connection.
type written interface {
	io.Writer
	SetDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	Cut(cause hub.Cause)
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

func (o *outbox) init(d *Door, conn written) {
	o.conn, o.limit, o.timeout, o.pool = conn, d.cfg.InFlight, d.cfg.WriteTimeout, &d.outs
	o.room.L = &o.mu
}

// begin waits for room and returns the callback for a message; nil once the connection is over. id is 0 for QoS 0, bytes is notTelemetry
// for what is acknowledged and not stored.
func (o *outbox) begin(id uint16, bytes int) func(eventlog.Position, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.count == o.limit || o.waiting() >= maxOutbox) && !o.closed && o.failed == nil {
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

// rest gives back what is needed for messages in flight when there are none.
func (o *outbox) rest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count == 0 {
		o.ring, o.head = nil, 0
	}
}

// answer takes the log's word for one message and releases the PUBACKs which are in order now.
func (o *outbox) answer(s *slot, err error) {
	if err != nil {
		o.fail(err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.bytes != notTelemetry {
		o.hub.Acknowledged(s.bytes)
	}
	s.answered = true
	for o.count > 0 && o.ring[o.head].answered && o.failed == nil {
		if h := o.ring[o.head]; h.ack && !o.closed {
			out := o.buffer()
			*out, _ = mqtt.Ack{Of: mqtt.PUBACK, ID: h.id}.Append(*out) // four bytes always fit
			o.begun()
		}
		o.head = (o.head + 1) % len(o.ring)
		o.count--
		if o.count == o.limit-1 {
			o.room.Broadcast()
		}
	}
}

// fail ends the connection because of what happened in the hub.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	if o.failed == nil {
		o.failed = err
		o.room.Broadcast()
	}
	o.mu.Unlock()
	o.conn.Cut(0)
}

// send adds an answer of the reader. It fails when the peer does not read what we write.
func (o *outbox) send(p mqtt.Packet) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting() >= maxOutbox {
		return fault.New("mqttdoor.send", fault.Exhausted, "the device asks and does not read the answers")
	}
	return o.append(p)
}

// push adds what the hub has for the device. It does not wait: a peer that reads none of it is cut.
func (o *outbox) push(p mqtt.Packet) error {
	o.mu.Lock()
	full := o.waiting() >= maxPushed
	var err error
	if !full {
		err = o.append(p)
	}
	o.mu.Unlock()
	if full {
		o.conn.Cut(hub.Overrun)
	}
	return err
}

// await waits until little enough waits to be written; false once the connection is over.
func (o *outbox) await() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.waiting() >= maxOutbox && !o.closed && o.failed == nil {
		o.room.Wait()
	}
	return !o.closed && o.failed == nil
}

// ask notes a request whose answer comes from a callback, which calls answered.
func (o *outbox) ask() {
	o.mu.Lock()
	o.asked++
	o.mu.Unlock()
}

func (o *outbox) answered() {
	o.mu.Lock()
	if o.asked--; o.asked == 0 {
		o.room.Broadcast()
	}
	o.mu.Unlock()
}

// settle waits until every request is answered; false once the connection is over.
func (o *outbox) settle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.asked > 0 && !o.closed && o.failed == nil {
		o.room.Wait()
	}
	return !o.closed && o.failed == nil
}

// waiting is how much waits to be written. It is called with the lock held, as append is.
func (o *outbox) waiting() int {
	if o.out == nil {
		return 0
	}
	return len(*o.out)
}

// append adds a packet.
func (o *outbox) append(p mqtt.Packet) error {
	if o.closed {
		return nil
	}
	out := o.buffer()
	longer, err := p.Append(*out)
	if err != nil {
		return fault.Wrap("mqttdoor.send", fault.Internal, err, "")
	}
	*out = longer
	o.begun()
	return nil
}

// buffer returns what waits to be written.
func (o *outbox) buffer() *[]byte {
	if o.out == nil {
		var ok bool
		if o.out, ok = o.pool.Get().(*[]byte); !ok {
			o.out = new([]byte)
		}
	}
	return o.out
}

// begun sees to it that what waits is written.
func (o *outbox) begun() {
	if !o.writing {
		o.writing = true
		go o.write()
	}
}

// write writes until nothing is left.
func (o *outbox) write() {
	for {
		o.mu.Lock()
		out := o.out
		if o.out = nil; out == nil {
			o.writing = false
		}
		o.room.Broadcast()
		if out != nil && !o.closed { // the last write has close's deadline
			if now := time.Now(); o.deadline.Sub(now) < o.timeout/2 { // setting it costs as much as a part of a message
				o.deadline = now.Add(o.timeout)
				_ = o.conn.SetWriteDeadline(o.deadline)
			}
		}
		o.mu.Unlock()
		if out == nil {
			return
		}
		if _, err := o.conn.Write(*out); err != nil {
			o.conn.Cut(0) // the reader sees it
		}
		if cap(*out) <= keptOut {
			*out = (*out)[:0]
			o.pool.Put(out)
		}
	}
}

// close lets nobody wait any more, waits for the writer, and returns why the hub ended the connection, if it did.
func (o *outbox) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	_ = o.conn.SetDeadline(time.Now().Add(time.Second)) // a peer that does not read keeps nobody here
	o.room.Broadcast()
	for o.writing {
		o.room.Wait()
	}
	return o.failed
}
