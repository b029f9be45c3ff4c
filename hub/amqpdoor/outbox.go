package amqpdoor

import (
	"sync"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

const (
	// maxOutbox is how much may wait for a link before requests are not worked on any more.
	maxOutbox = 64 << 10
	// maxPushed is how much may wait with what the hub says without being asked.
	maxPushed = 512 << 10
)

// outbox is what waits to be sent on a link: for credit, or until the connection takes more. Callbacks of the hub add; a goroutine, which
// is there only while something waits, sends.
type outbox struct {
	peer    *peer
	link    *engine.Link
	settled bool

	mu      sync.Mutex // guards the fields below
	less    sync.Cond  // less waits, or the link has ended
	queue   [][]byte
	bytes   int
	sending bool
	closed  bool
}

func newOutbox(p *peer, l *engine.Link) *outbox {
	o := &outbox{peer: p, link: l, settled: wantsSettled(l)}
	o.less.L = &o.mu
	return o
}

// push adds a message. It does not wait: a device that takes none of them is detached.
func (o *outbox) push(message []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return
	case o.bytes > 0 && o.bytes+len(message) > maxPushed:
		o.peer.start(func() { o.peer.sever(hub.Overrun) })
		return
	case !o.sending && o.link.TrySend(o.outgoing(message)):
		return
	}
	o.queue = append(o.queue, message)
	o.bytes += len(message)
	if !o.sending {
		o.sending = o.peer.start(o.send)
	}
}

func (o *outbox) outgoing(message []byte) engine.Outgoing {
	return engine.Outgoing{Parts: [][]byte{message}, Settled: o.settled}
}

// send sends what waits until nothing does.
func (o *outbox) send() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) > 0 && !o.closed {
		m := o.queue[0]
		o.mu.Unlock()
		err := o.link.Send(o.link.Context(), o.outgoing(m))
		o.mu.Lock()
		o.closed = o.closed || err != nil
		if len(o.queue) > 0 { // close takes them all
			o.queue[0] = nil
			o.queue = o.queue[1:]
			o.bytes -= len(m)
		}
		o.less.Broadcast()
	}
	o.sending = false
	if !o.closed {
		o.link.Idle()
	}
}

// drain is called when the peer wants its credit back.
func (o *outbox) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.sending {
		o.link.Idle()
	}
}

// await waits until little enough waits; false once the link is no more.
func (o *outbox) await() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.bytes >= maxOutbox && !o.closed {
		o.less.Wait()
	}
	return !o.closed
}

// close is called when the link is no more.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.queue, o.bytes = true, nil, 0
	o.less.Broadcast()
}
