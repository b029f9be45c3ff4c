package amqpdoor

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/expiry"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// Config bounds a connection and says who serves what is no device's. The zero value works.
type Config struct {
	MaxIdentities int           // of one connection; 1024
	MaxHeld       int           // bytes of messages of one connection that wait for allowances; 1 MiB
	Patience      time.Duration // how long a message may wait for an allowance; 10 s
	Unclaimed     time.Duration // how long a peer that claims nothing is kept; 60 s

	// Service returns what serves back ends on one connection; nil: nobody does. refuse notes that a peer was turned away.
	Service func(c *engine.Conn, h *hub.Hub, claims Claims, refuse func(who string, err error)) ServiceLinks
	// Events returns what serves readers of events on one connection, and everything else that nobody here knows; nil: nobody does.
	Events func(c *engine.Conn, h *hub.Hub, claims Claims, refuse func(who string, err error)) EventLinks
}

// ServiceLinks are the links of back ends on one connection. Takes is asked before EventLinks are given a link.
type ServiceLinks interface {
	engine.Handler
	Takes(l *engine.Link) bool
}

// EventLinks are the links of readers of events on one connection. Tokens of policies are put to it as well; what it says of a token
// counts when the hub itself has no use for it.
type EventLinks interface {
	engine.Handler
	Put(ctx context.Context, t cbs.Token) cbs.Result
	// Recheck ends what stands on a token that is worth nothing any more.
	Recheck()
}

// Claims are what a peer has proved on one connection that is not about a device.
type Claims interface {
	// Service returns the claim of a policy with ServiceConnect that is good for a path of the hub now, such as "messages/devicebound". Faults
	// are Unauthenticated, Expired and Denied. Who goes on with it asks again when the claim ends, after Hub.Renewed and after Changed.
	Service(path string) (hub.ServiceClaim, error)
	// Changed returns a channel that is closed when the peer puts a token next.
	Changed() <-chan struct{}
}

// Door serves AMQP.
type Door struct {
	cfg    Config
	server *hub.Server
	log    *slog.Logger
	clock  clock.Clock
	expiry *expiry.Expiry

	flights sync.Pool // of *flight
}

// New returns a door to the server's hubs.
func New(cfg Config, server *hub.Server, log *slog.Logger, clk clock.Clock) *Door {
	if cfg.MaxIdentities <= 0 {
		cfg.MaxIdentities = 1024
	}
	if cfg.MaxHeld <= 0 {
		cfg.MaxHeld = 1 << 20
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 10 * time.Second
	}
	if cfg.Unclaimed <= 0 {
		cfg.Unclaimed = time.Minute
	}
	d := &Door{cfg: cfg, server: server, log: log, clock: clk, expiry: expiry.New(clk)}
	d.flights.New = newFlight
	return d
}

// Converse returns what serves a connection to a hub that the peer may reach from its side (hub.Server.Enter). What SASL PLAIN proved
// (AuthenticatePlain) is a claim from the beginning.
func (d *Door) Converse(c *engine.Conn, conn *front.Conn, h *hub.Hub) engine.Handler {
	return newConversation(d, c, conn, h)
}
