package amqpdoor

import (
	"cmp"
	"slices"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

const (
	// pairProperty of a link names the pair it belongs to.
	pairProperty = "com.microsoft:channel-correlation-id"
	// requestCredit is how many requests or answers of a link may wait.
	requestCredit = 20
	// largestRequest is what a link takes of one of them.
	largestRequest = 256 << 10
)

// channelID says which pair of links is meant. Links without a name for it are one pair.
type channelID struct {
	kind kind
	pair string
}

// channel is a pair of links for requests and answers, in either direction; one of them may not be there yet, or any more. Its fields are
// guarded by peer.mu.
type channel struct {
	peer       *peer
	id         channelID
	number     uint64       // of two, the newer one has the larger
	in         *engine.Link // the peer sends on it
	out        *outbox      // to the link the peer receives on
	subscribed bool         // to changes of desired properties
}

func (p *peer) openChannel(l *engine.Link, k kind) {
	pair, _ := amqptext.Text(l.Peer().Properties.Get(pairProperty))
	id := channelID{k, pair}
	var out *outbox
	if l.PeerReceives() {
		out = newOutbox(p, l)
	}
	p.mu.Lock()
	c := p.channels[id]
	if c == nil {
		p.newest++
		c = &channel{peer: p, id: id, number: p.newest}
		p.channels[id] = c
	}
	var old *engine.Link
	if out == nil {
		old, c.in = c.in, l
	} else {
		if c.out != nil {
			old = c.out.link
		}
		c.out, c.subscribed = out, false
	}
	p.mu.Unlock()
	p.replace(old)
	var a engine.Accept
	if out != nil {
		a.Drain = out.drain
	} else {
		a = engine.Accept{Credit: requestCredit, MaxMessage: largestRequest, Receive: c.receive}
	}
	c.tune() // before the peer hears that the link is there: what it is sent waits for that
	p.accept(l, a, func() { c.lost(l, out) })
}

// lost is called when one of the two links is no more.
func (c *channel) lost(l *engine.Link, out *outbox) {
	if out != nil {
		out.close()
	}
	p := c.peer
	p.mu.Lock()
	if out != nil && c.out == out {
		c.out, c.subscribed = nil, false
	}
	if c.in == l {
		c.in = nil
	}
	if c.in == nil && c.out == nil && p.channels[c.id] == c {
		delete(p.channels, c.id)
	}
	p.mu.Unlock()
	c.tune()
}

// tune tells the hub what the device listens to, now that a link has come or gone.
func (c *channel) tune() {
	switch c.id.kind {
	case twins:
		c.peer.tune(hub.DesiredProperties)
	case methods:
		c.peer.tune(hub.Methods)
	case streams:
		c.peer.tune(hub.Streams)
	case noKind, events, commands:
	}
}

// hears tells whether the pair takes what the hub has of a topic. It is called with the lock held.
func (c *channel) hears(t hub.Topic) bool {
	switch t {
	case hub.DesiredProperties:
		return c.id.kind == twins && c.out != nil && c.subscribed
	case hub.Methods:
		return c.id.kind == methods && c.out != nil
	case hub.Streams:
		return c.id.kind == streams && c.out != nil
	case hub.Commands:
	}
	return false
}

// hearing returns the outboxes of the pairs that take what the hub has of a topic, the newest pair's first.
func (p *peer) hearing(t hub.Topic) []*outbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*channel
	for _, c := range p.channels {
		if c.hears(t) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *channel) int { return cmp.Compare(b.number, a.number) })
	out := make([]*outbox, len(list))
	for i, c := range list {
		out[i] = c.out
	}
	return out
}

// receive takes what the peer sends on the pair.
func (c *channel) receive(d *engine.Delivery) {
	p := c.peer
	if p.isOver() {
		d.Release()
		return
	}
	if c.id.kind == twins {
		p.talk.busy.Add(1)
		p.requests.Do(func() {
			defer p.talk.busy.Done()
			c.ask(d)
		})
		return
	}
	m, err := amqp.Unmarshal(d.Message())
	if err != nil {
		d.Reject(p.says(unreadable(err)))
		return
	}
	if c.id.kind == methods {
		err = p.answerMethod(m)
	} else {
		err = p.answerStream(m)
	}
	if err != nil {
		d.Reject(p.says(err))
		return
	}
	d.Accept()
}

// answer sends an answer on the pair.
func (c *channel) answer(m *amqp.Message) error {
	c.peer.mu.Lock()
	out := c.out
	c.peer.mu.Unlock()
	if out == nil {
		return fault.New("amqpdoor.answer", fault.Precondition, "there is no link for the answer").
			Advise("attach a receiver with the same %s", pairProperty)
	}
	text, err := m.Append(nil)
	if err != nil {
		return fault.Wrap("amqpdoor.answer", fault.Internal, err, "")
	}
	out.push(text)
	return nil
}
