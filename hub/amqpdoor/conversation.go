package amqpdoor

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/expiry"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// longIdle is how many times longer nobody looks again once somebody has claimed something.
const longIdle = 5

// conversation is one connection. It implements engine.Handler.
type conversation struct {
	door   *Door
	engine *engine.Conn
	conn   *front.Conn
	hub    *hub.Hub
	claims *claims
	cbs    *cbs.Node
	busy   sync.WaitGroup // goroutines of its identities
	held   atomic.Int64   // bytes of messages that wait for allowances
	idle   *expiry.Term   // ends a connection whose peer claims nothing

	trusted atomic.Bool // somebody else took a claim

	mu      sync.Mutex // guards the fields below
	peers   map[hub.Name]*peer
	service ServiceLinks
	events  EventLinks
	over    bool
}

func newConversation(d *Door, c *engine.Conn, conn *front.Conn, h *hub.Hub) *conversation {
	v := &conversation{door: d, engine: c, conn: conn, hub: h, claims: newClaims(h, d.clock), peers: map[hub.Name]*peer{}}
	v.cbs = cbs.New(v.put)
	p, own := c.Who().(*password)
	if own && p.hub == h {
		v.put(c.Context(), cbs.Token{Audience: h.HostName(), Kind: sasToken, Text: p.text})
	}
	v.trusted.Store(c.Who() != nil && !own) // a password is a claim, and one for another hub nothing
	if !v.trusted.Load() && !v.claims.any() {
		c.Restrain(true) // until somebody proves something
	}
	v.idle = d.expiry.Add(d.clock.Now().Add(d.cfg.Unclaimed), v.unclaimed)
	return v
}

// Attach implements engine.Handler.
func (v *conversation) Attach(l *engine.Link) {
	path := amqptext.Path(l.Address())
	switch {
	case cbs.Is(path):
		v.cbs.Attach(l)
	case isDevices(path):
		v.attach(l, path)
	default:
		v.giveAway(l, path)
	}
}

// attach takes a link of an identity.
func (v *conversation) attach(l *engine.Link, path string) {
	op := "amqpdoor.Attach"
	p, ok := parsePlace(path)
	if !ok {
		v.refuse(l, path, code.With(fault.Newf(op, fault.NotFound, "a device has no address %.200q", path).
			Advise("telemetry goes to /devices/{device id}/messages/events"), code.NotFound))
		return
	}
	if err := p.takes(l); err != nil { // before it takes the identity from somebody else
		v.refuse(l, p.name.String(), err)
		return
	}
	p.name = v.meant(p.name)
	for {
		one, err := v.peer(p.name)
		if err != nil {
			v.refuse(l, p.name.String(), err)
			return
		}
		if one.attach(l, p.kind) {
			return
		}
	}
}

// peer returns the identity, which may have to connect first.
func (v *conversation) peer(n hub.Name) (*peer, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p := v.peers[n]; p != nil {
		return p, nil
	}
	if v.over {
		return nil, fault.New("amqpdoor.Attach", fault.Unavailable, "the connection is over")
	}
	if len(v.peers) >= v.door.cfg.MaxIdentities {
		return nil, code.With(fault.Newf("amqpdoor.Attach", fault.Exhausted, "%d devices are on this connection already", len(v.peers)).
			Advise("spread them over more connections"), code.QuotaExceeded)
	}
	p := newPeer(v, n)
	v.busy.Add(1) // until it is over
	v.peers[n] = p
	return p, nil
}

// forget takes an identity that is over from the connection.
func (v *conversation) forget(p *peer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.peers[p.name] == p {
		delete(v.peers, p.name)
	}
}

// Recheck has who serves readers of events look at what they stand on. Everything else is told by Hub.Renewed, or cut.
func (v *conversation) Recheck() {
	v.mu.Lock()
	e := v.events
	v.mu.Unlock()
	if e != nil {
		e.Recheck()
	}
}

// giveAway lets others serve what is no device's.
func (v *conversation) giveAway(l *engine.Link, path string) {
	if s := v.serviceLinks(); s != nil && s.Takes(l) {
		s.Attach(l)
		return
	}
	if e := v.eventLinks(); e != nil {
		e.Attach(l)
		return
	}
	v.refuse(l, path, code.With(fault.Newf("amqpdoor.Attach", fault.NotFound, "the hub has no address %.200q", path), code.NotFound))
}

// serviceLinks makes what serves back ends when the first of them asks.
func (v *conversation) serviceLinks() ServiceLinks {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.service == nil && v.door.cfg.Service != nil {
		v.service = v.door.cfg.Service(v.engine, v.hub, v.claims, v.conn.Refuse)
	}
	return v.service
}

func (v *conversation) eventLinks() EventLinks {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.events == nil && v.door.cfg.Events != nil {
		v.events = v.door.cfg.Events(v.engine, v.hub, v.claims, v.conn.Refuse)
	}
	return v.events
}

// put takes a token of $cbs.
func (v *conversation) put(ctx context.Context, t cbs.Token) cbs.Result {
	path, policy, err := v.claims.put(ctx, t.Text)
	if policy && !ofDevices(path) || err != nil && t.Kind != sasToken { // it may be for events
		if e := v.eventLinks(); e != nil {
			r := e.Put(ctx, t)
			if r.Code < 300 {
				v.trusted.Store(true)
				v.engine.Restrain(false)
			}
			if err != nil {
				return r
			}
		}
	}
	if err != nil {
		who := t.Audience
		if n, ok := identity(path); ok {
			who = n.String()
		}
		v.conn.Refuse(who, err)
		e := v.says(who, err)
		status := code.Of(err).Status
		if status < 500 {
			status = code.Unauthorized.Status
		}
		return cbs.Result{Code: int32(status), Description: e.Description, Condition: e.Condition}
	}
	v.engine.Restrain(false)
	v.renew(ctx, path)
	return cbs.Result{Code: 200, Description: "OK"}
}

// renew gives the sessions that stand on a claim, which was put again, their new end.
func (v *conversation) renew(ctx context.Context, path string) {
	for _, p := range v.all() {
		p.renew(ctx, path)
	}
}

func (v *conversation) all() []*peer {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]*peer, 0, len(v.peers))
	for _, p := range v.peers {
		out = append(out, p)
	}
	return out
}

// unclaimed ends a connection on which nobody has proved anything, or nothing any more.
func (v *conversation) unclaimed() {
	if v.trusted.Load() {
		return
	}
	if v.claims.any() || len(v.all()) > 0 { // certificates are claims while there are links
		v.door.expiry.Move(v.idle, v.door.clock.Now().Add(longIdle*v.door.cfg.Unclaimed))
		return
	}
	v.conn.Refuse("", fault.Newf("amqpdoor.Converse", fault.Timeout, "the peer claimed nothing within %s", v.door.cfg.Unclaimed).
		Advise("put a token to $cbs, or attach a link with a certificate"))
	v.engine.Close(&amqp.Error{Condition: amqp.ConditionConnectionForced, Description: "Nothing is claimed on this connection."})
}

// closes ends the whole connection.
func (v *conversation) closes(c hub.Cause) {
	v.engine.Close(&amqp.Error{Condition: amqp.ConditionConnectionForced, Description: "The connection ends: " + c.String() + "."})
}

// Ended implements engine.Handler.
func (v *conversation) Ended(err error) {
	v.door.expiry.Remove(v.idle)
	v.mu.Lock()
	v.over = true
	service, events := v.service, v.events
	v.mu.Unlock()
	for _, p := range v.all() {
		p.end(v.ending(err))
	}
	if service != nil {
		service.Ended(err)
	}
	if events != nil {
		events.Ended(err)
	}
	v.cbs.Wait()
	v.busy.Wait()
}
