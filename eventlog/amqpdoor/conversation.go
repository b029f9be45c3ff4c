package amqpdoor

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/expiry"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/wire/amqp/exchange"
)

// Conversation is one connection. It is an engine.Handler.
type Conversation struct {
	door       *Door
	conn       *engine.Conn
	dir        eventhub.Directory
	refuse     func(who string, err error)
	guest      bool // on a connection that is another door's
	cbs        *cbs.Node
	management *exchange.Node
	busy       sync.WaitGroup // links being attached, receivers
	term       *expiry.Term   // when look is called next
	began      time.Time

	mu       sync.Mutex                // guards the fields below
	claims   map[string]eventhub.Claim // by audience
	links    map[*link]struct{}        // but those to $cbs
	proved   bool                      // somebody has proved something, now or before
	attached int                       // links of all kinds, also those that are being attached
	claiming int                       // links to $cbs that the peer sends on
	empty    time.Time                 // since when there is no link
	ended    bool
}

// link is a link that lives by a claim.
type link struct {
	*engine.Link
	entity eventhub.Entity // nil: $management, which needs none
	path   string          // what a claim must cover
	need   eventhub.Right
	sends  bool         // the peer does
	active atomic.Int64 // when the peer sent last, in milliseconds since 1970
}

// Attach takes a link. It is called on the connection's goroutine and does not wait.
func (v *Conversation) Attach(l *engine.Link) {
	a := parse(l.Address())
	switch {
	case !v.admit(l):
		l.Refuse(amqp.Errorf(amqp.ConditionResourceLimitExceeded, "A connection has at most %d links.", v.door.cfg.Links))
	case l.Peer().Coordinator:
		l.Refuse(&amqp.Error{Condition: amqp.ConditionNotImplemented, Description: "There are no transactions here."})
	case a.kind == claims:
		v.attachClaims(l)
	case a.kind == management:
		v.add(&link{Link: l})
		v.management.Attach(l)
	case a.kind == nowhere:
		v.turnAway(l, notFound(l.Address()))
	case a.kind == consumer && !l.PeerReceives():
		v.turnAway(l, amqp.Errorf(amqp.ConditionNotAllowed, "Events are sent to an event hub or to a partition of it, not to a consumer group: '%s'.", clip(l.Address())))
	case a.kind != consumer && l.PeerReceives():
		v.turnAway(l, amqp.Errorf(amqp.ConditionNotAllowed, "Events are received from {event hub}/ConsumerGroups/{group}/Partitions/{partition}, not from '%s'.", clip(l.Address())))
	case l.PeerReceives():
		v.busy.Go(func() { v.attachReceiver(l, a) })
	default:
		v.busy.Go(func() { v.attachSender(l, a) })
	}
}

// admit makes room for a link until it ends.
func (v *Conversation) admit(l *engine.Link) bool {
	v.mu.Lock()
	full := v.attached >= v.door.cfg.Links
	if !full {
		v.attached++
	}
	v.mu.Unlock()
	if full {
		return false
	}
	l.OnEnd(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.attached--
	})
	return true
}

func (v *Conversation) attachClaims(l *engine.Link) {
	if !l.PeerReceives() {
		v.mu.Lock()
		second := v.claiming > 0
		if !second || !v.door.cfg.OneClaimsLink {
			v.claiming++
		}
		v.mu.Unlock()
		if second && v.door.cfg.OneClaimsLink {
			l.Refuse(&amqp.Error{Condition: amqp.ConditionNotAllowed, Description: "There is a link to $cbs on this connection already."})
			return
		}
		l.OnEnd(func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.claiming--
		})
	}
	v.cbs.Attach(l)
}

// turnAway refuses a link and lets people know.
func (v *Conversation) turnAway(l *engine.Link, err error) {
	e := condition(err)
	v.refuse(clip(l.Address()), err)
	v.door.log.Debug("eventhub: a link was refused", "address", clip(l.Address()), "condition", string(e.Condition), "why", e.Description)
	l.Refuse(e)
}

func notFound(name string) *amqp.Error {
	return amqp.Errorf(amqp.ConditionNotFound, "The messaging entity '%s' could not be found.", clip(name))
}

// clip keeps what strangers write short, in words and in logs.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// enter finds what a link is for. The claim comes first, so that nobody learns without one what there is.
func (v *Conversation) enter(ctx context.Context, a address, need eventhub.Right) (eventhub.Entity, error) {
	if !v.allowed(a.path(), need) {
		return nil, v.unauthorized(a.path(), need)
	}
	e, err := v.dir.Entity(ctx, a.entity)
	if err != nil {
		return nil, err
	}
	if a.kind != whole && a.partition >= e.Partitions() {
		return nil, badPartition(e.Name(), a.text, e.Partitions())
	}
	return e, nil
}

// unauthorized says which right is missing, in words that clients' tests look for.
func (v *Conversation) unauthorized(path string, need eventhub.Right) error {
	return fault.Newf("amqpdoor", fault.Denied, "Unauthorized access. '%s' claim(s) are required to perform this operation. Resource: 'sb://%s/%s'.", need, v.host(), clip(path)).
		Advise("use a policy that has the right, and covers this event hub")
}

func (v *Conversation) host() string {
	if names := v.dir.HostNames(); len(names) > 0 {
		return names[0]
	}
	return ""
}

// add notes a link until it ends.
func (v *Conversation) add(l *link) {
	l.active.Store(v.door.clock.Now().UnixMilli())
	v.mu.Lock()
	v.links[l] = struct{}{}
	v.schedule()
	v.mu.Unlock()
	l.OnEnd(func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.links, l)
		if len(v.links) == 0 {
			v.empty = v.door.clock.Now()
			v.schedule()
		}
	})
}

// Ended ends what is left of the conversation.
func (v *Conversation) Ended(error) {
	v.mu.Lock()
	v.ended = true
	v.mu.Unlock()
	v.door.expiry.Remove(v.term)
	v.cbs.Wait()
	v.management.Wait()
	v.busy.Wait()
	v.door.metrics.connections.Dec()
}

// desires tells whether the peer of a link asks for a capability.
func desires(l *engine.Link, capability amqp.Symbol) bool {
	return slices.ContainsFunc(l.Peer().DesiredCapabilities, func(c amqp.Symbol) bool { return strings.EqualFold(string(c), string(capability)) })
}
