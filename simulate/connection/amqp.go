package connection

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Our handles. Links are attached in this order.
const (
	tokenHandle uint32 = iota
	answerHandle
	eventsHandle
	handles
)

// amqpTalk is AMQP 1.0 as a device speaks it that only sends messages: one session, one link for them and, with tokens, a pair of links to
// $cbs.
type amqpTalk struct {
	c         *Conn
	address   string // of the link for messages
	audience  string // what tokens are for
	keepAlive time.Duration

	// Of the goroutine that reads, and of introduce before there is one; others read them only after introduce, when they stay.
	in         frames
	idle       time.Duration // the silence the hub bears; 0 for any
	maxFrame   uint32        // that the hub takes
	maxMessage uint64        // that the link takes; 0 for any
	met        [handles]bool // the hub knows the link
	welcome    [handles]bool // and has not refused it
	theirs     [handles]uint32
	begun      bool
	trusted    bool   // the first token counts
	answer     []byte // what has come of an answer of $cbs
	answerID   uint32
	settled    bool // it wants no disposition
	reading    bool // introduce is over

	mu        sync.Mutex // guards the fields below; it is held neither while something is written nor while the sink is told
	next      uint32     // delivery-id
	outgoing  uint32     // transfer-id: frames sent
	window    uint32     // the transfer-id that the session does not take any more
	theirNext uint32     // the hub's next transfer-id
	answers   uint32     // deliveries on the link from $cbs
	asked     uint64     // tokens put
	links     [handles]credit
	wanting   bool // the sink waits for Ready
	flying    []flight
}

// credit is how far a link of ours may go: delivery-counts (2.6.7).
type credit struct{ count, end uint32 }

func (c credit) left() int32 { return int32(c.end - c.count) }

// flight is a delivery that is not settled; the oldest has the delivery-id next - len(flying).
type flight struct {
	id      uint16
	token   bool // it carries a token
	settled bool // but one before it is not
}

func newAMQPTalk(c *Conn) *amqpTalk {
	t := &amqpTalk{c: c, maxFrame: amqp.MinMaxFrame}
	t.in.src = (*ear)(c)
	return t
}

func (t *amqpTalk) publish(b *buffers, m message) error {
	b.head = appendHead(b.head[:0], t.address, m.bag, len(m.body))
	if size := uint64(len(b.head) + len(m.body)); t.maxMessage > 0 && size > t.maxMessage {
		return fault.Newf("connection.Publish", fault.TooLarge, "the message has %d bytes, and the hub's link takes %d", size, t.maxMessage)
	}
	t.c.write.Lock()
	defer t.c.write.Unlock()
	return t.deliver(b, eventsHandle, flight{id: m.id}, b.head, m.body)
}

// deliver writes one message in as many transfers as the hub's frames need (2.6.14), if there is credit and room in its window. The write
// lock is held.
func (t *amqpTalk) deliver(b *buffers, handle uint32, f flight, head, body []byte) error {
	room := int(t.maxFrame) - transferHead
	count := max((len(head)+len(body)+room-1)/room, 1)
	t.mu.Lock()
	link := &t.links[handle]
	if link.left() <= 0 || int32(t.window-t.outgoing) < int32(count) {
		t.wanting = t.wanting || handle == eventsHandle
		t.mu.Unlock()
		return ErrNotNow
	}
	id := t.next
	t.next++
	t.outgoing += uint32(count)
	link.count++
	t.flying = append(t.flying, f)
	t.mu.Unlock()
	binary.BigEndian.PutUint32(b.tag[:], id)
	b.transfer = amqp.Transfer{Handle: handle, DeliveryID: amqp.Some(id), DeliveryTag: b.tag[:], MessageFormat: amqp.Some(uint32(0)), Settled: amqp.Some(false)}
	b.packet = b.packet[:0]
	for {
		first := head[:min(len(head), room)]
		second := body[:min(len(body), room-len(first))]
		head, body = head[len(first):], body[len(second):]
		b.transfer.More = len(head)+len(body) > 0
		b.packet = amqp.AppendTransfer(b.packet, 0, &b.transfer, first, second)
		if !b.transfer.More {
			return t.c.put(b.packet)
		}
		b.transfer = amqp.Transfer{Handle: handle}
	}
}

// transferHead is room for a frame's head and a transfer before its payload.
const transferHead = 64

// ping writes an empty frame, which keeps the connection from being idle (2.4.5). The hub does the same for us.
func (t *amqpTalk) ping() error { return t.c.send(amqp.AppendFrame(nil, amqp.FrameAMQP, 0, nil, nil)) }

func (t *amqpTalk) beat() time.Duration {
	beat := t.keepAlive * 3 / 4
	if half := t.idle / 2; half > 0 && (half < beat || beat == 0) {
		beat = half
	}
	return beat
}

func (t *amqpTalk) leave() {
	_ = t.c.send(amqp.AppendFrame(nil, amqp.FrameAMQP, 0, &amqp.Close{}, nil)) // it may be gone already
}

// read takes what the hub sends until the connection ends.
func (t *amqpTalk) read() error {
	t.reading = true
	for {
		body, err := t.in.next()
		if err != nil {
			return err
		}
		if err := t.take(body); err != nil {
			return err
		}
	}
}

// renew puts a new token to $cbs.
func (t *amqpTalk) renew(token string) (bool, error) { return false, t.put(token) }

func milliseconds(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }
