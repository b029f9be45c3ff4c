package bridge

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
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
	Columns     func(w *resource.Window) []resource.Column // of its rows
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
	cfg     Config
	out     Outside
	log     *slog.Logger
	clk     clock.Clock
	engine  *engine
	metrics *metrics

	mu       sync.Mutex // guards the fields below
	ctx      context.Context
	carriers map[string]*carrier
	ending   map[string]*carrier // taken away, and not yet at their end; by id, the last one
	works    sync.WaitGroup
}

// New makes the folder of bridges. reg may be nil.
func New(cfg Config, out Outside, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Bridges, error) {
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "bridges"), 0o700); err != nil {
		return nil, fault.Newf("bridge.New", fault.Unavailable, "the folder %s cannot be made", filepath.Join(cfg.Dir, "bridges")).Because(err)
	}
	g, err := newEngine(log)
	if err != nil {
		return nil, fault.Wrap("bridge.New", fault.Internal, err, "")
	}
	b := &Bridges{cfg: cfg, out: out, log: log, clk: clk, engine: g, carriers: map[string]*carrier{}, ending: map[string]*carrier{}}
	b.metrics, err = newMetrics(b, reg)
	return b, err
}

// Run carries the bridges until ctx ends, and returns when everything they started has ended.
func (b *Bridges) Run(ctx context.Context) error {
	b.mu.Lock()
	b.ctx = ctx
	for _, c := range b.carriers {
		b.works.Go(func() { c.work(ctx) })
	}
	b.mu.Unlock()
	<-ctx.Done()
	b.works.Wait()
	return nil
}

// Set says which bridges there are to be. What may not run any more has stopped reading, and its connections are cut, when it returns; what
// may now run starts in the background. It may be called before Run.
func (b *Bridges) Set(list []plan.Bridge) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := b.carriers
	b.carriers = make(map[string]*carrier, len(list))
	for i := range list {
		p := &list[i]
		c, known := gone[p.ID]
		if !known {
			c = newCarrier(b, p.ID, b.ending[p.ID])
		}
		delete(gone, p.ID)
		b.carriers[p.ID] = c
		c.set(*p)
		if !known && b.ctx != nil { // not before it has its plan
			b.works.Go(func() { c.work(b.ctx) })
		}
	}
	for id, c := range gone {
		b.ending[id] = c
		c.leave()
	}
}

// left is told by a carrier that has ended.
func (b *Bridges) left(c *carrier) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ending[c.id] == c {
		delete(b.ending, c.id)
	}
	b.metrics.duration.DeleteLabelValues(c.name())
}

func (b *Bridges) list() []*carrier {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*carrier, 0, len(b.carriers))
	for _, c := range b.carriers {
		out = append(out, c)
	}
	return out
}

func (b *Bridges) one(id string) *carrier {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.carriers[id]
}

// Status tells of all bridges that were set, by name.
func (b *Bridges) Status() []Status {
	list := b.list()
	out := make([]Status, 0, len(list))
	for _, c := range list {
		out = append(out, c.status())
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Problems says in words what a person should look at; empty when all is well.
func (b *Bridges) Problems() []string {
	var out []string
	for _, s := range b.Status() {
		if s.State == resource.BridgeWaiting || s.State == resource.BridgeFailed {
			where := ""
			if s.Step != "" {
				where = " at " + s.Step
			}
			out = append(out, "bridge "+s.Name+" is "+string(s.State)+where+": "+s.Why)
		}
	}
	return out
}

// Letters returns the dead letters of a bridge, as Config.Letters made them; ok is false while they are not open.
func (b *Bridges) Letters(id string) (l Letters, ok bool) {
	c := b.one(id)
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.letters, c.letters != nil
}

// Replay sends dead letters through all steps and the contract again, and returns when each is sent, left out or a dead letter anew: the
// caller may delete those it took them from then. What is sent has Repeat, and an Origin.Name made of the place it had in the source, so
// that whoever leaves out what is behind the last event of a partition does not leave it out. NotFound without such a bridge, Unavailable
// while it does not run.
func (b *Bridges) Replay(ctx context.Context, id string, letters []*event.Event) error {
	c := b.one(id)
	if c == nil {
		return fault.Newf("bridge.Replay", fault.NotFound, "this process has no bridge %s", id)
	}
	c.mu.Lock()
	r := c.current
	c.mu.Unlock()
	if r == nil || !r.running.Load() {
		return fault.New("bridge.Replay", fault.Unavailable, "the bridge does not run").Advise("why stands in: isthmus bridge status %s", c.name())
	}
	return r.send(ctx, letters)
}
