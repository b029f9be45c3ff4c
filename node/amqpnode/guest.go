package amqpnode

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/workload"
)

// What those who came by hub.Server.EnterTrusted may cost before they have proved anything. How long they may wait is the door's to say.
const (
	maxGuests      = 256 // who wait
	maxGuestsOfOne = 16  // of them from one address
	maxTries       = 8   // tokens of one of them that are not good
)

// guests counts those who wait to be known.
type guests struct {
	mu  sync.Mutex // guards the fields below
	all int
	of  map[netip.Addr]int
}

// enter makes room for one; leave, which may be called more than once, gives it back.
func (g *guests) enter(from netip.Addr) (leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= maxGuests || g.of[from] >= maxGuestsOfOne {
		return nil, fault.New("amqpnode.guest", fault.Exhausted, "too many peers wait to prove that they are trusted workloads").Advise("try again in a minute")
	}
	if g.of == nil {
		g.of = map[netip.Addr]int{}
	}
	g.all++
	g.of[from]++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.all--
		if g.of[from]--; g.of[from] == 0 {
			delete(g.of, from)
		}
	}), nil
}

// guest is a peer that came from the public side of a service which has closed it. It is the door's handler, with nothing but $cbs until the
// peer has shown the token of a workload that the service trusts, and the directory by which the door checks that.
type guest struct {
	engine.Handler
	eventhub.Directory
	hub   *hub.Hub
	peer  *engine.Conn
	leave func()
	tries atomic.Int32
	who   atomic.Pointer[string] // the workload, once it is known
}

// converse has the door of event hubs serve a guest: a hub's other doors are not for it.
func (a *arrival) converse(c *engine.Conn, h *hub.Hub) (*guest, error) {
	if c.Who() != nil { // what SASL proved was a key
		return nil, h.NotTrusted("amqpnode.Open", "")
	}
	dir, err := a.directory(h)
	if err != nil {
		return nil, err
	}
	g := &guest{Directory: dir, hub: h, peer: c}
	if g.leave, err = a.router.guests.enter(a.conn.Side.Peer.Addr()); err != nil {
		return nil, err
	}
	g.Handler = a.router.doors.EventHubs.Converse(c, g, a.conn.Refuse)
	return g, nil
}

// Attach implements engine.Handler.
func (g *guest) Attach(l *engine.Link) {
	if g.who.Load() == nil && !cbs.Is(amqptext.Path(l.Address())) {
		l.Refuse(&amqp.Error{Condition: amqp.ConditionUnauthorizedAccess, Description: fault.Message(g.hub.NotTrusted("amqpnode.Attach", ""))})
		return
	}
	g.Handler.Attach(l)
}

// Ended implements engine.Handler.
func (g *guest) Ended(err error) {
	g.leave()
	g.Handler.Ended(err)
}

// Recheck ends what stands on a claim that is worth nothing any more.
func (g *guest) Recheck() { recheck(g.Handler) }

// Prove implements eventhub.Directory.
func (g *guest) Prove(ctx context.Context, kind, token string) (eventhub.Claim, error) {
	c, err := Trusted(ctx, g.hub, g.Directory, kind, token)
	if err != nil {
		if g.tries.Add(1) >= maxTries && g.who.Load() == nil {
			g.peer.Close(&amqp.Error{Condition: amqp.ConditionConnectionForced, Description: "None of the tokens was good."})
		}
		return eventhub.Claim{}, err
	}
	g.who.Store(&c.Workload)
	g.leave()
	return c, nil
}

// ProveKey implements eventhub.Directory. No key is enough.
func (g *guest) ProveKey(context.Context, string, string) (eventhub.Claim, error) {
	return eventhub.Claim{}, g.hub.NotTrusted("amqpnode.ProveKey", "")
}

// may tells, by an error, that the guest may not stay.
func (g *guest) may() error {
	if who := g.who.Load(); who != nil && !g.hub.Public() && !g.hub.Trusts(*who) {
		return g.hub.NotTrusted("amqpnode.Recheck", *who)
	}
	return nil
}

// Trusted checks a token of who came by hub.Server.EnterTrusted: it must be one of a workload that the service trusts, and its claim lasts
// only as long as the service does.
func Trusted(ctx context.Context, h *hub.Hub, dir eventhub.Directory, kind, token string) (eventhub.Claim, error) {
	op := "amqpnode.Trusted"
	if !workload.Is(token) {
		return eventhub.Claim{}, h.NotTrusted(op, "")
	}
	c, err := dir.Prove(ctx, kind, token)
	if err != nil {
		return eventhub.Claim{}, err
	}
	if !h.Trusts(c.Workload) {
		return eventhub.Claim{}, h.NotTrusted(op, c.Workload)
	}
	who, valid := c.Workload, c.Valid
	c.Valid = func() bool { return valid() && (h.Public() || h.Trusts(who)) }
	return c, nil
}

// recheck has a door's handler look at what its peer stands on, where it can.
func recheck(h engine.Handler) {
	if r, ok := h.(interface{ Recheck() }); ok {
		r.Recheck()
	}
}
