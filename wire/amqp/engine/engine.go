package engine

import (
	"context"
	"log/slog"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Engine serves connections. All of them share its pools and the goroutine that watches their time.
type Engine struct {
	cfg     Config
	log     *slog.Logger
	clock   clock.Clock
	metrics *metrics
	watch   *watch

	readers    amqp.Buffers
	outs       sync.Pool // *[]byte of writers
	deliveries sync.Pool // *Delivery
	messages   messages

	first uint32 // where ids and delivery-counts of ours begin; tests let them begin near their end
}

// New returns an engine. reg may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Engine {
	return &Engine{cfg: cfg.withDefaults(), log: log, clock: clk, metrics: newMetrics(reg), watch: newWatch(clk)}
}

// Acceptor decides about one connection. Its methods are called on the connection's goroutine, and may take SetupTimeout together.
type Acceptor interface {
	// Mechanisms are what SASL offers. When there are none a SASL header is refused.
	Mechanisms() []amqp.Symbol
	// Authenticate runs the mechanism the peer chose, which may be one that was not offered. Any error refuses the peer: with outcome
	// sys when it is a fault of kind Internal, Unavailable or Timeout, or no fault; otherwise with outcome auth.
	Authenticate(ctx context.Context, x *SASL) (who any, err error)
	// Open is called when the peer's open has come. An error, an *amqp.Error or a fault, is told in a close after our open.
	Open(ctx context.Context, c *Conn) (Handler, error)
}

// Handler is what a connection is for.
type Handler interface {
	// Attach is called on the connection's goroutine, once for each link. It calls Accept or Refuse, or has that done later by any
	// goroutine. Links to coordinators of transactions and to dynamic nodes are refused without it.
	Attach(l *Link)
	// Ended is called once, when all links have ended and been told: the connection is over. err is nil for a tidy end.
	Ended(err error)
}

// Serve runs one connection until it ends, closes it, and returns when everything of it has ended and been told, and no goroutine of it
// is left. When ctx ends, the connection is closed with amqp:connection:forced. The error is nil for a tidy end: the peer's close without
// an error, [Conn.Close] without one, or the end of ctx; the peer's or our own *amqp.Error otherwise, or what the connection below said.
func (e *Engine) Serve(ctx context.Context, conn net.Conn, a Acceptor) error {
	c := newConn(ctx, e, conn)
	e.metrics.connections.Inc()
	defer e.metrics.connections.Dec()
	e.watch.add(c, c.setupEnd)
	stop := context.AfterFunc(ctx, c.stop)
	err := c.setup(a)
	if err == nil {
		err = c.read()
	}
	stop()
	return c.finish(err)
}
