package amqpnode

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	eventdoor "github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	hubdoor "github.com/isthmus-io/isthmus/hub/amqpdoor"
	"github.com/isthmus-io/isthmus/hub/front"
	provisioningdoor "github.com/isthmus-io/isthmus/provisioning/amqpdoor"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// Doors are what a connection may come to.
type Doors struct {
	Hubs         *hubdoor.Door
	Provisioning *provisioningdoor.Door
	EventHubs    *eventdoor.Door
	// Namespace returns what a namespace's door may see, and Builtin what a hub's endpoint for events is.
	Namespace func(h *hub.Hub) (eventhub.Directory, bool)
	Builtin   func(h *hub.Hub) eventhub.Directory
}

// Router is shared by all listeners of a process.
type Router struct {
	doors  Doors
	server *hub.Server
	engine *engine.Engine
	log    *slog.Logger
	guests guests

	mu   sync.Mutex // guards the field below
	open map[*arrival]struct{}
}

// New returns a router to the services of server.
func New(d Doors, server *hub.Server, e *engine.Engine, log *slog.Logger) *Router {
	return &Router{doors: d, server: server, engine: e, log: log, open: map[*arrival]struct{}{}}
}

// Handle serves one connection until it ends. ctx is that of the listener.
func (r *Router) Handle(ctx context.Context, conn *front.Conn) { r.handle(ctx, conn, false) }

// HandlePlain is Handle for a listener without TLS: who comes there and names no service of this process means the namespace it has, since
// SDKs told to use an emulator call it localhost.
func (r *Router) HandlePlain(ctx context.Context, conn *front.Conn) { r.handle(ctx, conn, true) }

func (r *Router) handle(ctx context.Context, conn *front.Conn, plain bool) {
	_ = conn.SetDeadline(time.Time{}) // the engine keeps the time from here
	a := &arrival{router: r, conn: conn, plain: plain}
	err := r.engine.Serve(ctx, conn, a)
	r.mu.Lock()
	delete(r.open, a)
	r.mu.Unlock()
	if err != nil {
		r.log.Debug("amqp: connection ended", "door", conn.Door, "peer", conn.Side.Peer, "err", err)
	}
	_ = conn.Close() // it may be closed already
}

// Recheck closes the connections whose service may not be spoken to from their side any more, or is gone, and has the doors of the others
// look at what their peers stand on. Call it when a plan was carried out.
func (r *Router) Recheck() {
	r.mu.Lock()
	all := slices.Collect(maps.Keys(r.open))
	r.mu.Unlock()
	for _, a := range all {
		h, err := a.may()
		if err == nil && h.ID() == a.hub {
			recheck(a.handler)
			continue
		}
		if err == nil {
			err = fault.Newf("amqpnode.Recheck", fault.Unavailable, "%s is another service now", a.host)
		}
		r.log.Info("amqp: connection cut", "service", a.host, "peer", a.conn.Side.Peer, "err", err)
		a.peer.Close(&amqp.Error{Condition: amqp.ConditionConnectionForced, Description: fault.Message(err)})
	}
}
