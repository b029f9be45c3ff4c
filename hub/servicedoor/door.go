package servicedoor

import (
	"log/slog"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// Config says what there is beside the hub itself. The zero value works.
type Config struct {
	// Files are those that devices send; nil when none are kept, and there are no notifications.
	Files *file.Service
	// EventsHost returns the host name under which a hub's events are read. Unless that is the hub's public name, whoever asks for them under
	// another one is redirected; who asks only where they are (messages/events/$management) always is. nil is builtin.NamespaceHost.
	EventsHost func(h *hub.Hub) string
	// Waiting is how many messages of a link may be on their way to the store, its credit; 100.
	Waiting uint32
	// MaxLinks bounds those of one connection; 64.
	MaxLinks int
}

// Claims are what a peer has proved on its connection.
type Claims interface {
	// Service returns the claim of a policy with ServiceConnect that is good for a path of the hub now, such as "messages/devicebound". Faults
	// are Unauthenticated, Expired and Denied.
	Service(path string) (hub.ServiceClaim, error)
}

// Door serves back ends.
type Door struct {
	cfg   Config
	log   *slog.Logger
	clock clock.Clock
}

// New returns a door.
func New(cfg Config, log *slog.Logger, clk clock.Clock) *Door {
	if cfg.EventsHost == nil {
		cfg.EventsHost = builtin.NamespaceHost
	}
	if cfg.Waiting == 0 {
		cfg.Waiting = 100
	}
	if cfg.MaxLinks <= 0 {
		cfg.MaxLinks = 64
	}
	return &Door{cfg, log, clk}
}

// Converse returns what serves the links of back ends on a connection to a hub. refuse notes that the peer was turned away.
func (d *Door) Converse(c *engine.Conn, h *hub.Hub, claims Claims, refuse func(who string, err error)) *Conversation {
	return &Conversation{door: d, amqp: c, hub: h, claims: claims, note: refuse, links: map[*engine.Link]string{}, came: make(chan struct{}, 1)}
}
