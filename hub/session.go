package hub

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// Cause is why the hub ends a session or a connection.
type Cause uint8

const (
	TakenOver      Cause = iota + 1 // the same identity connected again
	DeviceDisabled                  // somebody disabled it
	DeviceDeleted                   // somebody deleted it
	LinkClosed                      // its endpoint's connection is no longer approved
	PublicClosed                    // the hub closed its public side
	HubGone                         // the hub is no longer served here
	TokenExpired                    // its token ended and it did not come back with a new one
	Stopping                        // the process ends
	KeyGone                         // the key or certificate it proved itself with was replaced
	Overrun                         // it does not read what the hub has for it
)

var causes = [...]string{
	"", "the same identity connected again", "the device was disabled", "the device was deleted", "the endpoint's connection is no longer approved",
	"the hub closed its public side", "the hub is no longer served here", "its token ended", "the process is stopping",
	"the key or certificate it connected with was replaced", "it does not read what the hub sends",
}

// String returns the cause in words.
func (c Cause) String() string { return causes[c] }

// KeepsWill tells whether a device that is cut for this cause, 0 being none of ours, still has the right to its last will: it lost its connection, not its
// permission, and it is not we who went away.
func (c Cause) KeepsWill() bool { return c == 0 || c == TakenOver || c == TokenExpired }

// Request is what a door knows about a device or module that wants a session.
type Request struct {
	Device       string
	Module       string // empty for the device itself
	Token        string // SAS; empty for who proves itself with a certificate
	Certificates []*x509.Certificate
	Side         Side
	Door         string      // "mqtt", for people
	ModelID      string      // of the device's model (DTMI), as it said; may be empty
	Receiver     Receiver    // may be nil for a door that has nothing to deliver
	Cut          func(Cause) // ends the connection; called from any goroutine, without locks held, possibly more than once
}

// Receiver is the door's half of a session: what the hub has for the device. Its methods must not wait. They are called from any
// goroutine, and for one session one after the other.
type Receiver interface {
	// DesiredChanged gives a change of the desired properties, in the order of versions: the patch, or all of them after they were
	// replaced, with "$version" inside.
	DesiredChanged(version int64, patch json.RawMessage)
	// MethodCalled asks the device to do something; the answer goes to Session.AnswerMethod.
	MethodCalled(MethodCall)
	// CommandsWaiting says that Session.NextCommand has something.
	CommandsWaiting()
}

// Topic is something a device may listen to.
type Topic uint8

const (
	DesiredProperties Topic = 1 << iota
	Methods
	Commands
	Streams // given to a Receiver that is a StreamReceiver
)

// Session is a connected device or module.
type Session struct {
	Identity
	Side    Side
	Door    string
	ModelID string

	hub      *Hub
	cut      func(Cause)
	receiver Receiver
	since    time.Time
	last     atomic.Int64 // Unix nanoseconds of the last message
	stamps   map[string]string
	plain    *Labels // of messages without properties
	over     atomic.Bool

	allowance *limit.Holder
	gone      chan struct{} // closed when it is cut, and when it ends
	departed  atomic.Pointer[departure]
	renewed   atomic.Pointer[Identity] // by Renew; nil before

	giving    sync.Mutex // held while the receiver is called, so that it hears one thing after the other
	listening Topic      // guarded by giving

	owner     string       // the first part of the locks of commands it was given
	holds     atomic.Int64 // commands it was given and has not settled, or more
	answering answering

	reports int // patches of reported properties that are not answered; guarded by Hub.reports.mu
}

// Listen says what the device wants to be given from now on, or no more. Nothing is given before.
func (s *Session) Listen(t Topic, on bool) {
	s.giving.Lock()
	if on {
		s.listening |= t
	} else {
		s.listening &^= t
	}
	s.giving.Unlock()
	s.listens(t, on)
}

// Listening tells whether the device wants to be given this.
func (s *Session) Listening(t Topic) bool {
	s.giving.Lock()
	defer s.giving.Unlock()
	return s.listening&t == t
}

// give calls the receiver when the device listens, and tells whether it does.
func (s *Session) give(t Topic, f func(Receiver)) bool {
	s.giving.Lock()
	defer s.giving.Unlock()
	if s.receiver == nil || s.listening&t != t {
		return false
	}
	f(s.receiver)
	return true
}

// session returns who is connected under a name, or nil.
func (h *Hub) session(n Name) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[n]
}

// Connect authenticates a device and gives it the session of its identity, ending the one it may have had. The caller must End it.
func (h *Hub) Connect(ctx context.Context, r Request) (*Session, error) {
	op := "hub.Connect"
	n := Name{Device: r.Device, Module: r.Module}
	id, err := h.Prove(ctx, n, Credentials{r.Token, r.Certificates})
	if err != nil {
		return nil, err
	}
	if _, err := h.Admit(limit.Connects, n, 1); err != nil {
		return nil, err
	}
	now := h.server.clock.Now()
	s := &Session{Identity: id, Side: r.Side, Door: r.Door, ModelID: r.ModelID, hub: h, cut: r.Cut, receiver: r.Receiver, since: now, stamps: stamps(id), owner: newLock()[:hubstore.OwnerLen]}
	s.allowance, s.gone = h.limits.Hold(n.String(), now), make(chan struct{})
	s.cut = func(c Cause) {
		s.depart(departure{At: h.server.clock.Now(), Cause: c.String(), ByHub: true})
		r.Cut(c)
	}
	s.last.Store(now.UnixNano())
	if r.ModelID != "" && len(r.ModelID) <= maxModelID {
		s.stamps[stampModel] = r.ModelID
	}
	s.plain = s.Label(nil, nil)

	h.mu.Lock()
	old := h.sessions[n]
	h.sessions[n] = s
	h.seen[n] = hubstore.Seen{Connected: true, Connection: now, Activity: now}
	h.mu.Unlock()
	if old != nil {
		h.server.log.Info("hub: session taken over", "hub", h.Name(), "device", n.String(), "old", old.Side.Peer, "new", r.Side.Peer, "code", 400027)
		old.cut(TakenOver)
	}

	// What was changed since it was checked above did not find this session to cut it, so look again now that it can be found.
	err = s.stands(ctx)
	h.server.mu.RLock()
	if err == nil && (h.server.stopping || h.gone.Load()) {
		err = fault.New(op, fault.Unavailable, "the hub is stopping").Advise("connect again in a moment")
	}
	h.server.mu.RUnlock()
	if err != nil {
		h.limits.Release(n.String())
		s.giveBack()
		return nil, err
	}
	h.connected(s)
	return s, nil
}

// stands tells what has changed since the session was let in.
func (s *Session) stands(ctx context.Context) error {
	op := "hub.Connect"
	h, n := s.hub, s.Name()
	now, err := h.server.store.Device(ctx, h.id, n)
	if err == nil {
		err = h.mayConnect(ctx, now)
	}
	if err == nil && now.Generation != s.Generation {
		err = fault.Newf(op, fault.NotFound, "%s was deleted since it connected", n.Words())
	}
	if err == nil && !h.still(s.proof().signer, now) {
		err = fault.Newf(op, fault.Unauthenticated, "the key of %s was replaced since it connected", n.Words()).
			Advise("give the device its connection string again")
	}
	if err == nil {
		_, err = h.server.Enter(s.Side, h.HostName())
	}
	return err
}

// Stands tells whether nothing has been taken from the session since it was let in, also when it is over: its identity, its key, its side.
// It is for what a device begins in a session and goes on with elsewhere.
func (s *Session) Stands(ctx context.Context) bool {
	switch fault.KindOf(s.stands(ctx)) {
	case fault.NotFound, fault.Denied, fault.Unauthenticated:
		return false
	}
	return true
}

// Connection is a session as people see it.
type Connection struct {
	Device string    `json:"device"` // with a slash and the module's id, for a module
	Door   string    `json:"door"`
	Peer   string    `json:"peer"`           // the device's address as its endpoint saw it
	Link   uint32    `json:"link,omitempty"` // of the endpoint it came through; 0 for the public side
	Since  time.Time `json:"since"`
	Active time.Time `json:"active"` // its last message, or its beginning
}

// Connections returns who is connected, by device id.
func (h *Hub) Connections() []Connection {
	h.mu.Lock()
	out := make([]Connection, 0, len(h.sessions))
	for _, s := range h.sessions {
		out = append(out, Connection{s.Name().String(), s.Door, s.Side.Peer.String(), s.Side.Link, s.since, s.active()})
	}
	h.mu.Unlock()
	slices.SortFunc(out, func(a, b Connection) int { return strings.Compare(a.Device, b.Device) })
	return out
}

// Hub returns the hub the session is with.
func (s *Session) Hub() *Hub { return s.hub }

// End gives the identity back, unless a newer session has it already, and what was being delivered with it.
func (s *Session) End() {
	last := s.giveBack()
	if s.over.Swap(true) {
		return
	}
	s.left()
	s.ended()
	if last {
		s.hub.disconnected(s)
	}
}

// giveBack tells whether nobody has the identity now.
func (s *Session) giveBack() bool {
	h, n := s.hub, s.Name()
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.sessions[n] == s
	if last {
		delete(h.sessions, n)
	}
	if last || h.sessions[n] == nil {
		h.seen[n] = hubstore.Seen{Connection: h.server.clock.Now(), Activity: s.active()}
	}
	return last
}

func (s *Session) active() time.Time { return time.Unix(0, s.last.Load()).UTC() }

// cutIdentity ends the session of an identity; that of a device with those of its modules.
func (h *Hub) cutIdentity(n Name, c Cause) {
	if n.IsModule() {
		if s := h.session(n); s != nil {
			s.cut(c)
		}
		return
	}
	h.cutWhere(c, func(s *Session) bool { return s.Device == n.Device })
}

func (h *Hub) cutAll(c Cause) { h.cutWhere(c, func(*Session) bool { return true }) }

func (h *Hub) cutPublic() {
	if !h.Public() {
		h.cutWhere(PublicClosed, func(s *Session) bool { return s.Side.IsPublic() })
	}
}

// cutWhere ends the sessions of which which is true and tells how many. It calls which with the hub's lock held.
func (h *Hub) cutWhere(c Cause, which func(*Session) bool) int {
	h.mu.Lock()
	var list []*Session
	for _, s := range h.sessions {
		if which(s) {
			list = append(list, s)
		}
	}
	h.mu.Unlock()
	for _, s := range list {
		s.cut(c)
	}
	return len(list)
}
