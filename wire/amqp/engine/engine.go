package engine

import (
	"context"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Engine serves connections.
type Engine struct {
	cfg   Config
	log   *slog.Logger
	clock clock.Clock
}

// New returns an engine. reg may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Engine {
	return &Engine{cfg: cfg.withDefaults(), log: log, clock: clk}
}

// Acceptor decides about one connection.
type Acceptor interface {
	// Mechanisms are what SASL offers. When there are none a SASL header is refused.
	Mechanisms() []amqp.Symbol
	// Authenticate runs the mechanism the peer chose. Any error refuses the peer: with outcome sys when it is a fault of kind Internal,
	// Unavailable or Timeout, otherwise with outcome auth.
	Authenticate(ctx context.Context, x *SASL) (who any, err error)
	// Open is called when the peer's open has come. An error, an *amqp.Error or a fault, is told in a close after our open.
	Open(ctx context.Context, c *Conn) (Handler, error)
}

// Handler is what a connection is for.
type Handler interface {
	// Attach is called on the connection's goroutine. It calls Accept or Refuse, or has that done later by any goroutine.
	Attach(l *Link)
	// Ended is called once, when all links have ended: the connection is over. err is nil for a tidy end.
	Ended(err error)
}

// Serve runs one connection until it ends.
func (e *Engine) Serve(ctx context.Context, conn net.Conn, a Acceptor) error {
	return fault.New("engine.Serve", fault.Unavailable, "not yet")
}
