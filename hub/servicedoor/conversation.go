package servicedoor

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/wire/amqp/inturn"
)

// Paths of links, in lower case.
const (
	deviceBound       = "messages/devicebound"
	feedback          = "messages/servicebound/feedback"
	fileNotifications = "messages/servicebound/filenotifications"
	events            = "messages/events"
)

// Conversation is one connection. It implements engine.Handler.
type Conversation struct {
	door   *Door
	amqp   *engine.Conn
	hub    *hub.Hub
	claims Claims
	note   func(who string, err error)
	busy   sync.WaitGroup
	came   chan struct{} // has room for one: a link was added

	mu       sync.Mutex // guards the fields below
	links    map[*engine.Link]string
	watching bool
}

func pathOf(l *engine.Link) string { return strings.ToLower(amqptext.Path(l.Address())) }

// Takes tells whether a link is for this conversation. It takes those that read events only to redirect them.
func (v *Conversation) Takes(l *engine.Link) bool {
	switch path := pathOf(l); path {
	case deviceBound, feedback, fileNotifications:
		return true
	default:
		return v.redirects(path)
	}
}

// Attach implements engine.Handler.
func (v *Conversation) Attach(l *engine.Link) {
	op := "servicedoor.Attach"
	path := pathOf(l)
	if _, err := v.claims.Service(path); err != nil {
		v.refuse(l, path, err)
		return
	}
	if isEvents(path) {
		v.redirect(l)
		return
	}
	if l.PeerReceives() == (path == deviceBound) {
		v.refuse(l, path, code.With(fault.Newf(op, fault.Denied, "messages go the other way on %.100q", l.Address()).
			Advise("send on /%s, receive on the others", deviceBound), code.InvalidOperation))
		return
	}
	var from source
	switch path {
	case feedback:
		from = feedbackSource{v}
	case fileNotifications:
		if v.door.cfg.Files == nil {
			v.refuse(l, path, code.With(fault.New(op, fault.NotFound, "this hub keeps no files"), code.NotFound))
			return
		}
		from = notificationSource{v, v.door.cfg.Files}
	}
	line := &inturn.Line{}
	if !v.add(l, path, line) {
		v.refuse(l, path, code.With(fault.Newf(op, fault.Exhausted, "the connection has %d links already", v.door.cfg.MaxLinks), code.QuotaExceeded))
		return
	}
	if from == nil {
		v.send(l, line)
		return
	}
	l.Accept(engine.Accept{})
	v.busy.Go(func() { v.deliver(l, from) })
}

// add notes a link whose claim is to be watched, and the line of what it sends; false when there are too many.
func (v *Conversation) add(l *engine.Link, path string, line *inturn.Line) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.links) >= v.door.cfg.MaxLinks {
		return false
	}
	v.links[l] = path
	l.OnEnd(func() {
		v.busy.Go(line.Wait)
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.links, l)
	})
	if !v.watching {
		v.watching = true
		v.busy.Go(v.watch)
	}
	select {
	case v.came <- struct{}{}:
	default: // it is about to look
	}
	return true
}

// Ended implements engine.Handler.
func (v *Conversation) Ended(error) { v.busy.Wait() }

// refuse turns a link away.
func (v *Conversation) refuse(l *engine.Link, who string, err error) {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout, fault.Internal: // not the peer's
	default:
		v.note(who, err)
	}
	l.Refuse(v.says(who, err))
}

// says is how a peer is told of a fault. Under the tracking id in it our log has the rest.
func (v *Conversation) says(who string, err error) *amqp.Error {
	text := fault.Message(err)
	if next := fault.Next(err); next != "" {
		text += ". " + next
	}
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	id := hex.EncodeToString(b)
	k := code.Of(err)
	v.door.log.Debug("hub: a back end's request over AMQP was refused", "hub", v.hub.Name(), "what", who, "trackingId", id, "code", k.Number, "err", err)
	return &amqp.Error{Condition: amqp.Symbol(k.Condition()), Description: text + ". Tracking ID: " + id}
}
