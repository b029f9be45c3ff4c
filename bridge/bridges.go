package bridge

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Config says where bridges keep what they keep, and brings their parts. A part that is nil is not available: bridges that need it fail.
type Config struct {
	Dir     string   // of the process: bridges/<uid>, secrets, modules and references are in it
	Folders []string // below which disk destinations may write

	Source      func(e *end.End, s resource.BridgeSource, log *slog.Logger, clk clock.Clock) (Source, error)
	Destination func(ctx context.Context, args DestinationArgs) (Destination, error)
	Step        func(ctx context.Context, args StepArgs) (Step, error)
	Window      func(ctx context.Context, args WindowArgs) (Window, error)
	Contract    func(c *plan.Contract) (Contract, error)
	Letters     func(args LettersArgs) (Letters, error)
}

// Dial opens a connection to a port of the service behind a private endpoint.
type Dial func(ctx context.Context, e plan.BridgeEnd, port uint16) (net.Conn, error)

// Outside is what bridges have of the world.
type Outside struct {
	Dial  Dial
	TLS   *tls.Config // verifies services: the machine's roots and the deployment's
	Token func(ctx context.Context, workload, audience string) (end.Token, error)
}

// Status is what is known of one bridge.
type Status struct {
	ID   string // uid
	Name string // ot/ot-cloud/telemetry
	resource.BridgeStatus
}

// Bridges is all bridges of a process. Its methods are safe for concurrent use.
type Bridges struct {
	cfg Config
	out Outside
	log *slog.Logger
	clk clock.Clock
}

// New makes the folder of bridges. reg may be nil.
func New(cfg Config, out Outside, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Bridges, error) {
	return &Bridges{cfg: cfg, out: out, log: log, clk: clk}, nil
}

// Run carries the bridges until ctx ends, and returns when everything they started has ended.
func (b *Bridges) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Set says which bridges there are to be. What may not run any more has stopped reading, and its connections are cut, when it returns; what
// may now run starts in the background. It may be called before Run.
func (b *Bridges) Set(list []plan.Bridge) {}

// Status tells of all bridges that were set, by name.
func (b *Bridges) Status() []Status { return nil }

// Problems says in words what a person should look at; empty when all is well.
func (b *Bridges) Problems() []string { return nil }

// Letters returns the dead letters of a bridge, as Config.Letters made them.
func (b *Bridges) Letters(id string) (Letters, bool) { return nil, false }

// Replay sends dead letters through all steps and the contract again, marked as repeats with their ids unchanged, and returns when each is
// sent, left out or a dead letter anew: the caller may delete them then. NotFound without such a bridge, Unavailable while it does not run.
func (b *Bridges) Replay(ctx context.Context, id string, letters []*event.Event) error { return nil }
