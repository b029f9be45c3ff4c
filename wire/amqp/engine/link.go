package engine

import (
	"context"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// stage is how far a link has come.
type stage uint8

const (
	undecided stage = iota // nobody has called Accept or Refuse
	attached
	detaching // our detach is on its way; whatever comes is dropped, until the peer's
	detached
)

// Link is one link of a session. Its methods may be called from any goroutine.
type Link struct {
	session  *Session
	peer     atomic.Pointer[amqp.Attach]
	size     int    // bytes of the peer's attach
	handle   uint32 // ours
	receives bool   // the peer does: we send
	unspoken amqp.State

	// The connection's lock guards what follows.
	stage   stage
	told    bool // somebody tells, or has told, that it has ended
	over    bool // everybody but those who wait for ctx has been told
	drain   bool // of a link we send on: the peer wants its credit back
	drained bool // says a flow that is being written
	busy    bool // somebody is in the middle of a message
	echo    bool // a flow is owed, once it is attached
	inRoom  bool // who waits does so for room in what waits to be written
	cause   error
	ctx     context.Context //nolint:containedctx // it is the link's life
	cancel  context.CancelCauseFunc
	onEnd   []func()

	credit uint32 // messages that may still be sent
	count  uint32 // delivery-count

	// Of a link we send on.
	unsettled int
	abortID   uint32        // of the delivery in the middle of which somebody gave up
	limit     uint64        // bytes of a message, of the peer; 0: none
	wake      chan struct{} // of who waits to send; nil when nobody does
	flowed    chan struct{} // of Flowed; nil when nobody asked
	drains    func()        // of Accept; may be nil

	// Of a link the peer sends on.
	receive    func(*Delivery)
	grant      uint32 // credit that is out when nothing is held
	holding    uint32 // deliveries being assembled or not settled
	slack      uint32 // aborted deliveries: some peers count them, some do not
	maxMessage uint64
	partial    *Delivery
}

// Conn is the link's connection.
func (l *Link) Conn() *Conn { return l.session.conn }

// Session is the link's session.
func (l *Link) Session() *Session { return l.session }

// Name is what the peer calls the link. It need not be unique.
func (l *Link) Name() string { return l.Peer().Name }

// Peer is the peer's attach. It is not to be changed. Once the link is accepted or refused only its names, addresses, settle modes and
// numbers are left of it: what else a peer says of a link may be large, and is of no use any more.
func (l *Link) Peer() *amqp.Attach { return l.peer.Load() }

// decided forgets what is of no use any more.
func (l *Link) decided() {
	a := l.Peer()
	slim := &amqp.Attach{
		Name: a.Name, Handle: a.Handle, Role: a.Role, SndSettleMode: a.SndSettleMode, RcvSettleMode: a.RcvSettleMode,
		InitialDeliveryCount: a.InitialDeliveryCount, MaxMessageSize: a.MaxMessageSize,
	}
	if a.Source != nil {
		slim.Source = &amqp.Source{Address: text(a.Source.Address)}
	}
	if a.Target != nil {
		slim.Target = &amqp.Target{Address: text(a.Target.Address)}
	}
	l.peer.Store(slim)
}

// text keeps what an address may be.
func text(address any) any {
	switch address.(type) {
	case string, amqp.Symbol:
		return address
	}
	return nil
}

// PeerReceives tells the direction: true when we send on the link.
func (l *Link) PeerReceives() bool { return l.receives }

// Address is the source's when the peer receives, the target's when it sends; empty when it is no string.
func (l *Link) Address() string {
	var a any
	switch peer := l.Peer(); {
	case l.receives && peer.Source != nil:
		a = peer.Source.Address
	case !l.receives && peer.Target != nil:
		a = peer.Target.Address
	}
	switch a := a.(type) {
	case string:
		return a
	case amqp.Symbol:
		return string(a)
	}
	return ""
}

// Context ends when the link has ended, whoever ended it, after the functions of OnEnd have returned. Its cause is the *amqp.Error that
// ended it, what broke the connection, or ErrEnded.
func (l *Link) Context() context.Context {
	c := l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(c.ctx))
		if l.over {
			l.cancel(l.cause)
		}
	}
	return l.ctx
}

// OnEnd has f called once when the link has ended, on a goroutine of the connection. f must not wait for what ends with Context. When
// the link has ended already, f is called soon.
func (l *Link) OnEnd(f func()) {
	c := l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !l.told:
		l.onEnd = append(l.onEnd, f)
	case c.state != over:
		c.tells.Go(f)
	default:
		go f()
	}
}

// ending is what is left to say of a link.
type ending struct {
	link  *Link // nil: there are only dones
	dones []func(amqp.State)
	onEnd []func()
}

// leave ends the link. It returns nil when that was so already; otherwise the caller tells, without the lock.
func (l *Link) leave(cause error) *ending {
	if l.stage != detaching {
		l.stage = detached
	}
	if l.told {
		return nil
	}
	if cause == nil {
		cause = ErrEnded
	}
	c := l.session.conn
	l.told, l.cause = true, cause
	l.dropPartial()
	l.wakeUp()
	if l.flowed != nil {
		close(l.flowed)
		l.flowed = nil
	}
	c.engine.metrics.links.Dec()
	e := &ending{link: l, onEnd: l.onEnd}
	l.onEnd = nil
	if l.unsettled > 0 {
		e.dones = l.session.unsettled.takeLink(l)
	}
	return e
}

// tell tells of ends: what was not settled, then OnEnd, then Context. It is called without the lock.
func tell(ends []*ending) {
	for _, e := range ends {
		for _, done := range e.dones {
			if done != nil {
				done(nil)
			}
		}
		for _, f := range e.onEnd {
			f()
		}
		if e.link != nil {
			e.link.tellContext()
		}
	}
}

func (l *Link) tellContext() {
	c := l.session.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	l.over = true
	if l.cancel != nil {
		l.cancel(l.cause)
	}
}
