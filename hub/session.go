package hub

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/fault"
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
	KeyGone                         // the key it proved itself with was replaced
)

var causes = [...]string{
	"", "the same identity connected again", "the device was disabled", "the device was deleted", "the endpoint's connection is no longer approved",
	"the hub closed its public side", "the hub is no longer served here", "its token ended", "the process is stopping",
	"the key it connected with was replaced",
}

// String returns the cause in words.
func (c Cause) String() string { return causes[c] }

// KeepsWill tells whether a device that is cut for this cause, 0 being none of ours, still has the right to its last will: it lost its connection, not its
// permission, and it is not we who went away.
func (c Cause) KeepsWill() bool { return c == 0 || c == TakenOver || c == TokenExpired }

// Request is what a door knows about a device that wants a session.
type Request struct {
	Device string
	Token  string // SAS
	Side   Side
	Door   string      // "mqtt", for people
	Cut    func(Cause) // ends the connection; called from any goroutine, without locks held, possibly more than once
}

// Session is a connected device.
type Session struct {
	Identity
	Side Side
	Door string

	hub    *Hub
	cut    func(Cause)
	since  time.Time
	last   atomic.Int64 // Unix nanoseconds of the last message
	stamps map[string]string
	plain  *Labels // of messages without properties
}

// Connect authenticates a device and gives it the session of its identity, ending the one it may have had. The caller must End it.
func (h *Hub) Connect(ctx context.Context, r Request) (*Session, error) {
	op := "hub.Connect"
	id, err := h.Authenticate(ctx, r.Device, r.Token)
	if err != nil {
		return nil, err
	}
	now := h.server.clock.Now()
	s := &Session{Identity: id, Side: r.Side, Door: r.Door, hub: h, cut: r.Cut, since: now, stamps: stamps(id)}
	s.last.Store(now.UnixNano())
	s.plain = s.Label(nil, nil)

	h.mu.Lock()
	old := h.sessions[id.Device]
	h.sessions[id.Device] = s
	h.mu.Unlock()
	if old != nil {
		h.server.log.Info("hub: session taken over", "hub", h.Name(), "device", id.Device, "old", old.Side.Peer, "new", r.Side.Peer, "code", 400027)
		old.cut(TakenOver)
	}

	// What was changed since it was checked above did not find this session to cut it, so look again now that it can be found.
	again, err := h.server.store.Device(ctx, h.id, id.Device)
	if err == nil {
		err = mayConnect(again)
	}
	if err == nil && again.Generation != id.Generation {
		err = fault.Newf(op, fault.NotFound, "device %q was deleted while it connected", id.Device)
	}
	if err == nil && !h.still(id.signer, again) {
		err = fault.Newf(op, fault.Unauthenticated, "the key of device %q was replaced while it connected", id.Device).
			Advise("give the device its connection string again")
	}
	if err == nil {
		_, err = h.server.Enter(r.Side, h.HostName())
	}
	h.server.mu.RLock()
	if err == nil && (h.server.stopping || h.gone.Load()) {
		err = fault.New(op, fault.Unavailable, "the hub is stopping").Advise("connect again in a moment")
	}
	h.server.mu.RUnlock()
	if err != nil {
		s.End()
		return nil, err
	}
	return s, nil
}

// Connection is a session as people see it.
type Connection struct {
	Device string    `json:"device"`
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
		out = append(out, Connection{s.Device, s.Door, s.Side.Peer.String(), s.Side.Link, s.since, s.active()})
	}
	h.mu.Unlock()
	slices.SortFunc(out, func(a, b Connection) int { return strings.Compare(a.Device, b.Device) })
	return out
}

// Hub returns the hub the session is with.
func (s *Session) Hub() *Hub { return s.hub }

// End gives the identity back, unless a newer session has it already.
func (s *Session) End() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen[s.Device] = seen{h.server.clock.Now(), s.active()}
	if h.sessions[s.Device] == s {
		delete(h.sessions, s.Device)
	}
}

func (s *Session) active() time.Time { return time.Unix(0, s.last.Load()).UTC() }

// cutDevice ends a device's session, if it has one.
func (h *Hub) cutDevice(id string, c Cause) {
	h.mu.Lock()
	s := h.sessions[id]
	h.mu.Unlock()
	if s != nil {
		s.cut(c)
	}
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
