package amqpdoor

import (
	"context"
	"crypto/rand"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/expiry"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/wire/amqp/inturn"
)

// maxLinks is how many links an identity may have: one each for messages and commands, and pairs for the rest.
const maxLinks = 32

// modelProperty of a link says which model the device is of.
const modelProperty = "com.microsoft:model-id"

// peer is an identity on a connection. It lives from its first link to its last, or until its session is cut. While it lives it is counted in
// conversation.busy, so that its goroutines can be.
type peer struct {
	talk *conversation
	name hub.Name
	gone chan struct{} // closed when it is over

	mu       sync.Mutex   // guards the fields below
	session  *hub.Session // set once, before any link is open
	path     string       // of the claim the session stands on
	term     *expiry.Term
	over     bool
	cause    hub.Cause // why it was severed
	waiting  []waiting // links that came before there was a session
	links    map[*engine.Link]bool
	sender   *engine.Link // of messages
	delivery *delivery    // of commands
	channels map[channelID]*channel
	newest   uint64 // number of the newest channel

	tuning   sync.Mutex  // held while the hub is told what the device listens to; before mu
	mark     [12]byte    // of the ids of calls to the device
	requests inturn.Line // about its twin
	reports  reports
}

// waiting is a link that waits for the session.
type waiting struct {
	link *engine.Link
	kind kind
}

func newPeer(v *conversation, n hub.Name) *peer {
	p := &peer{talk: v, name: n, gone: make(chan struct{}), links: map[*engine.Link]bool{}, channels: map[channelID]*channel{}}
	p.reports.less.L = &p.reports.mu
	_, _ = rand.Read(p.mark[:]) // never fails
	p.mark[6], p.mark[8] = p.mark[6]&0x0f|0x40, p.mark[8]&0x3f|0x80
	return p
}

// attach takes a link; false when the identity is over and another has to be made.
func (p *peer) attach(l *engine.Link, k kind) bool {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return false
	}
	if len(p.links)+len(p.waiting) >= maxLinks {
		p.mu.Unlock()
		p.talk.refuse(l, p.name.String(), code.With(fault.Newf("amqpdoor.Attach", fault.Exhausted, "%s has %d links already", p.name.Words(), maxLinks), code.QuotaExceeded))
		return true
	}
	if p.session == nil {
		p.waiting = append(p.waiting, waiting{l, k})
		if len(p.waiting) == 1 {
			model, _ := amqptext.Text(l.Peer().Properties.Get(modelProperty))
			p.talk.busy.Go(func() { p.connect(model) })
		}
		p.mu.Unlock()
		return true
	}
	p.links[l] = false
	p.mu.Unlock()
	p.open(l, k)
	return true
}

// connect makes the session and opens the links that wait for it.
func (p *peer) connect(model string) {
	v := p.talk
	s, path, err := p.prove(v.engine.Context(), model)
	p.mu.Lock()
	list := p.waiting
	p.waiting = nil
	over := p.over // it was cut at once, or the connection is
	if err == nil && !over {
		p.session, p.path = s, path
		for _, w := range list {
			p.links[w.link] = false
		}
		if ends := s.Ends(); !ends.IsZero() {
			p.term = v.door.expiry.Add(ends, p.lapsed)
		}
	}
	p.mu.Unlock()
	switch {
	case err != nil:
		p.end("it was refused")
	case over:
		s.End()
		err = fault.New("amqpdoor.connect", fault.Unavailable, "the session ended when it began").Advise("connect again")
	default:
		v.engine.Restrain(false)
	}
	for _, w := range list {
		if err != nil {
			v.refuse(w.link, p.name.String(), err)
		} else {
			p.open(w.link, w.kind)
		}
	}
}

// prove connects with the first claim that is good for it, or with the certificate of the connection.
func (p *peer) prove(ctx context.Context, model string) (s *hub.Session, path string, err error) {
	v := p.talk
	list := v.claims.of(p.name)
	if len(list) == 0 {
		if len(v.conn.Certificates) == 0 {
			return nil, "", fault.Newf("amqpdoor.connect", fault.Unauthenticated, "no token for %s was put on this connection", p.name.Words()).
				Advise("put a token for sr=%s/%s to $cbs before attaching links", v.hub.HostName(), pathOf(p.name))
		}
		list = []claim{{path: onCertificate}}
	}
	for _, c := range list {
		one, no := v.hub.Connect(ctx, hub.Request{
			Device: p.name.Device, Module: p.name.Module, Token: c.text, Certificates: v.conn.Certificates, Side: v.conn.Side, Door: v.conn.Door,
			ModelID: model, Receiver: p, Cut: p.cut,
		})
		if no == nil {
			return one, c.path, nil
		}
		if c.path == onCertificate {
			no = unproved(p.name, no, true)
		}
		if err == nil {
			err = no
		}
	}
	return nil, "", err
}

// open lets a link begin, whose direction has been looked at.
func (p *peer) open(l *engine.Link, k kind) {
	switch {
	case k == twins || k == methods || k == streams:
		p.openChannel(l, k)
	case l.PeerReceives():
		p.openDelivery(l, k)
	default:
		p.openTelemetry(l)
	}
}

// accept opens a link; ended is called once when it is no more.
func (p *peer) accept(l *engine.Link, a engine.Accept, ended func()) {
	l.Accept(a)
	p.mu.Lock()
	over, cause := p.over, p.cause
	p.links[l] = true
	p.mu.Unlock()
	l.OnEnd(func() {
		ended()
		p.left(l)
	})
	if over {
		l.Detach(p.severed(cause))
	}
	if a.Drain != nil {
		a.Drain() // it may have asked in the same breath
	}
}

// left is called when a link is no more.
func (p *peer) left(l *engine.Link) {
	p.mu.Lock()
	delete(p.links, l)
	last := len(p.links) == 0 && !p.over
	p.mu.Unlock()
	if last && p.talk.engine.Context().Err() == nil { // the end of a connection has better words
		p.end("the device detached its last link")
	}
}

// isOver tells whether nothing may be done for the identity any more.
func (p *peer) isOver() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// start runs f beside, unless the identity is over.
func (p *peer) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	p.talk.busy.Go(f)
	return true
}

// tune tells the hub whether the device listens to a topic, by the links there are.
func (p *peer) tune(t hub.Topic) {
	p.tuning.Lock()
	defer p.tuning.Unlock()
	on := false
	p.mu.Lock()
	switch t {
	case hub.Commands:
		on = p.delivery != nil
	case hub.DesiredProperties, hub.Methods, hub.Streams:
		for _, c := range p.channels {
			on = on || c.hears(t)
		}
	}
	on = on && !p.over
	p.mu.Unlock()
	p.session.Listen(t, on)
}

// says is how the device is told of a fault.
func (p *peer) says(err error) *amqp.Error { return p.talk.says(p.name.String(), err) }

// notes tells people what the log refused; a device over its limits is counted elsewhere.
func (p *peer) notes(err error) {
	if code.Of(err) != code.Throttled {
		p.talk.conn.Refuse(p.name.String(), err)
	}
}

// severed is what a link is told that ends for a cause; 0 is none of the hub's.
func (p *peer) severed(c hub.Cause) *amqp.Error {
	if c == 0 {
		return nil
	}
	return p.talk.severed(p.name.String(), c)
}

// replace detaches a link whose place a newer one took (IoT Hub: 409002 LinkCreationConflict).
func (p *peer) replace(old *engine.Link) {
	if old != nil {
		old.Detach(p.severed(hub.TakenOver))
	}
}
