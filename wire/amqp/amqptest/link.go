package amqptest

import (
	"context"
	"errors"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// link is what senders and receivers share. Its fields are guarded by the client's mutex.
type link struct {
	s          *Session
	attach     *amqp.Attach
	peer       *amqp.Attach
	peerHandle uint32
	changed    signal
	err        error
	detaching  bool

	count  uint32 // delivery-count
	credit uint32

	incoming *incoming // of a receiver
}

func (l *link) endLocked(err error) {
	if l.err == nil {
		l.err = err
	}
	l.changed.wake()
	for id, d := range l.s.pending {
		if d.l == l {
			delete(l.s.pending, id)
			l.s.c.later = append(l.s.c.later, func() { d.done(nil) })
		}
	}
}

// attachLink attaches and waits for the answer; for the error, when the answer refuses.
func (s *Session) attachLink(ctx context.Context, a *amqp.Attach, in *incoming) (*link, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	a.Handle = 0
	for s.links[a.Handle] != nil {
		a.Handle++
	}
	l := &link{s: s, attach: a, incoming: in}
	s.links[a.Handle] = l
	c.sendLocked(s.channel, a, nil)
	err := c.until(ctx, &l.changed, func() (bool, error) {
		refused := l.peer != nil && (a.Role == amqp.RoleSender && l.peer.Target == nil && !l.peer.Coordinator || a.Role == amqp.RoleReceiver && l.peer.Source == nil)
		return l.peer != nil && !refused, l.err // one who refuses says why in a detach
	})
	return l, err
}

// detach sends detach with closed=true and waits for the peer's.
func (l *link) detach(ctx context.Context) error {
	c := l.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.err == nil && !l.detaching {
		l.detaching = true
		c.sendLocked(l.s.channel, &amqp.Detach{Handle: l.attach.Handle, Closed: true}, nil)
	}
	err := c.until(ctx, &l.changed, func() (bool, error) { return l.err != nil, nil })
	if err == nil && !errors.Is(l.err, ErrClosed) {
		err = l.err
	}
	return err
}

// Session is the session the link is on.
func (l *link) Session() *Session { return l.s }

// Peer is the peer's attach.
func (l *link) Peer() *amqp.Attach { return l.peer }

// Err is nil while the link stands, then the peer's *amqp.Error or ErrClosed.
func (l *link) Err() error {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	return l.err
}

// Credit is what is left of it.
func (l *link) Credit() uint32 {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	return l.credit
}

// WaitEnd waits until the link has ended and returns the peer's error, ErrClosed without one.
func (l *link) WaitEnd(ctx context.Context) error {
	c := l.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until(ctx, &l.changed, func() (bool, error) { return false, l.err })
}

// Detach closes the link and waits for the peer's answer.
func (l *link) Detach(ctx context.Context) error { return l.detach(ctx) }
