package amqpdoor

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/hub/expiry"
	"github.com/isthmus-io/isthmus/wire/amqp/cbs"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
	"github.com/isthmus-io/isthmus/wire/amqp/exchange"
)

// Config bounds a conversation. The zero value works.
type Config struct {
	// OneClaimsLink refuses a second pair of links to $cbs on a connection, as Azure's service does. Without it there may be several, which
	// no client minds.
	OneClaimsLink bool
	// Unused is how long a connection may have no link but those to $cbs; 5 min.
	Unused time.Duration
	// Unproved is how long a connection is kept for somebody who proves nothing; 60 s. On one that is another door's it is that door's to say.
	Unproved time.Duration
	// IdleSender is how long a sender's link may be silent; 30 min.
	IdleSender time.Duration
	// Check is how often claims and event hubs are looked at that may be gone without notice; 5 s.
	Check time.Duration
	// Links is how many one connection may have at once, all kinds together; 4,096.
	Links int
	// Claims is how many audiences one connection may have tokens for; 256.
	Claims int
	// Readers is how many receivers without epoch a partition has in a consumer group; 5.
	Readers int
}

// Door serves event hubs over AMQP.
type Door struct {
	cfg     Config
	log     *slog.Logger
	clock   clock.Clock
	metrics *metrics
	expiry  *expiry.Expiry
	places  places

	batches   sync.Pool // *amqpevent.Batch
	renderers sync.Pool // *amqpevent.Renderer
}

// New returns a door. reg may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Door {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&cfg.Unused, 5*time.Minute)
	set(&cfg.Unproved, time.Minute)
	set(&cfg.IdleSender, 30*time.Minute)
	set(&cfg.Check, 5*time.Second)
	if cfg.Links <= 0 {
		cfg.Links = 4096
	}
	if cfg.Claims <= 0 {
		cfg.Claims = 256
	}
	if cfg.Readers <= 0 {
		cfg.Readers = 5
	}
	return &Door{
		cfg: cfg, log: log, clock: clk, metrics: newMetrics(reg), expiry: expiry.New(clk), places: places{readers: cfg.Readers, at: map[place]*occupants{}},
		batches:   sync.Pool{New: func() any { return new(amqpevent.Batch) }},
		renderers: sync.Pool{New: func() any { return new(amqpevent.Renderer) }},
	}
}

// Converse serves a connection that is for event hubs only. refuse is told who was turned away, and why; it may be nil.
func (d *Door) Converse(c *engine.Conn, dir eventhub.Directory, refuse func(who string, err error)) *Conversation {
	return d.converse(c, dir, refuse, false)
}

// Join serves links on a connection that is another door's too: $cbs is that door's, and the connection is not closed for having no links.
func (d *Door) Join(c *engine.Conn, dir eventhub.Directory, refuse func(who string, err error)) *Conversation {
	return d.converse(c, dir, refuse, true)
}

func (d *Door) converse(c *engine.Conn, dir eventhub.Directory, refuse func(string, error), guest bool) *Conversation {
	if refuse == nil {
		refuse = func(string, error) {}
	}
	v := &Conversation{
		door: d, conn: c, dir: dir, refuse: refuse, guest: guest,
		claims: map[string]eventhub.Claim{}, links: map[*link]struct{}{}, began: d.clock.Now(), empty: d.clock.Now(),
	}
	v.cbs = cbs.New(v.Put)
	v.management = exchange.New(exchange.Config{}, v.manage)
	v.term = d.expiry.Add(v.due(), v.look)
	if !guest {
		c.Restrain(true) // until somebody proves something
	}
	d.metrics.connections.Inc()
	return v
}
