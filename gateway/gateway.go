package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/gateway/handover"
	"github.com/isthmus-io/isthmus/gateway/refusals"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/plan"
)

// Config is what a gateway process is told on its own machine. The zero value works: no admin door, no hand-over.
type Config struct {
	// Dir is the data directory. In it gateway.sock answers people, and handover.sock the process that takes over. A gateway that is
	// started with the directory of one that runs takes over from it. Empty: neither.
	Dir string
	// Admin is where gateway.sock alone answers people when Dir is empty: for a process that does more than carry gateways, so that
	// another cannot take over from it.
	Admin string
	// Systemd says that the process may have been started by systemd: listening sockets it passes are used where their addresses fit,
	// and it is told of READY, RELOADING and STOPPING.
	Systemd bool

	Workers        int // of the data plane; 0: one for each processor
	MaxConnections int // of all gateways of the process together; 0: a million

	// Notice is how long the process goes on accepting once it is told to drain, Leaving being closed: so long a balancer in front may take
	// to notice. A hand-over needs none.
	Notice time.Duration

	Balance balance.Config
}

// ErrHandedOver is how Run ends when another process has taken over and what was left has been drained.
var ErrHandedOver = errors.New("another process has taken the gateway over")

// Opener opens a stream to the first of the providers that can be reached; link/transport does.
type Opener = flow.Opener

// Gateway carries the gateways of a plan.
type Gateway struct {
	cfg      Config
	opener   Opener
	log      *slog.Logger
	clk      clock.Clock
	carrier  *carry.Carrier
	balancer *balance.Balancer
	ledger   *refusals.Ledger
	began    time.Time

	doors atomic.Pointer[map[string]*door] // by address

	setting sync.Mutex // held by Set, and through a hand-over; taken before mu

	mu        sync.Mutex // guards the fields below
	phase     phase
	reviewed  time.Time      // when connections were looked at last, by the wall clock
	wanted    []plan.Gateway // what Set was given last
	given     bool           // Set was called
	fronts    map[string]*front
	open      map[string]*listening // by address
	inherited []handover.Socket
	taken     *handover.Taken

	running context.Context //nolint:containedctx // of Run, for connections given to tunnels
	changed chan struct{}   // has room for one: rules, or listeners that could not be opened, have changed
	settled chan struct{}   // closed when the first configuration is in force
	leaving chan time.Time  // has room for one: drain until then
	noticed chan struct{}   // closed when it is told to drain
	drained chan struct{}   // closed when draining begins
	handed  chan struct{}   // closed when another process accepts in this one's place
}

// phase is where in its life a gateway is.
type phase uint8

const (
	before   phase = iota // Set only notes what is wanted
	serving               //
	draining              // accepts nothing any more
	over                  //
)

// New returns a Gateway that does nothing until Run and carries nothing until Set. Opener may be nil where no route leads to a private
// endpoint. reg may be nil.
func New(cfg Config, opener Opener, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) *Gateway {
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = 1 << 20
	}
	g := &Gateway{
		cfg: cfg, opener: opener, log: log, clk: clk, began: clk.Now(), fronts: map[string]*front{}, open: map[string]*listening{},
		changed: make(chan struct{}, 1), settled: make(chan struct{}), leaving: make(chan time.Time, 1),
		noticed: make(chan struct{}), drained: make(chan struct{}), handed: make(chan struct{}),
	}
	g.doors.Store(&map[string]*door{})
	g.ledger = refusals.New(refusals.Config{}, log, clk, reg)
	g.balancer = balance.New(cfg.Balance, log, clk, reg)
	g.carrier = carry.New(carry.Config{Workers: cfg.Workers, MaxConnections: cfg.MaxConnections, Dropped: g.dropped}, g, log, clk, reg)
	if reg != nil {
		if err := reg.Register(collector{g}); err != nil {
			log.Warn("the metrics of gateways are not shown", "error", err)
		}
	}
	return g
}

// Run carries connections until ctx ends, which resets them, or until Drain or another process has it end in order: then nil or
// ErrHandedOver. It runs once.
func (g *Gateway) Run(ctx context.Context) error {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g.mu.Lock()
	g.running = own
	g.mu.Unlock()
	if err := g.inherit(ctx); err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { _ = g.carrier.Run(own) })
	all.Go(func() { _ = g.balancer.Run(own) })
	all.Go(func() { _ = g.ledger.Run(own) })
	all.Go(func() { g.keep(own) })

	g.setting.Lock()
	g.mu.Lock()
	g.phase = serving
	wanted, given := g.wanted, g.given
	g.mu.Unlock()
	if given {
		g.apply(ctx, wanted)
	}
	g.setting.Unlock()

	ended := make(chan error, 1)
	all.Go(func() { g.serveDoors(own, ended) })

	var end time.Time
	handed := false
	select {
	case <-ctx.Done():
		g.stop()
		return nil
	case err := <-ended:
		if !errors.Is(err, ErrHandedOver) {
			g.stop()
			return err
		}
		handed = true
		end = g.clk.Now().Add(g.drainTime())
	case end = <-g.leaving:
		close(g.noticed)
		if g.cfg.Notice > 0 {
			g.log.Info("draining soon", "in", g.cfg.Notice)
			due, stop := g.clk.After(g.cfg.Notice)
			select {
			case <-due:
				end = end.Add(g.cfg.Notice)
			case <-ctx.Done():
			}
			stop()
		}
	}
	g.drain(ctx, end, handed)
	g.stop()
	if handed {
		return ErrHandedOver
	}
	return nil
}

// drain stops accepting, and waits until no connection is left, end or the end of ctx.
func (g *Gateway) drain(ctx context.Context, end time.Time, handed bool) {
	g.setting.Lock()
	g.mu.Lock()
	g.phase = draining
	g.mu.Unlock()
	if handed {
		close(g.handed)
	}
	close(g.drained)
	g.setting.Unlock()
	if !handed {
		g.notify("STOPPING=1") // otherwise the service goes on
	}
	wait := end.Sub(g.clk.Now())
	g.log.Info("draining", "connections", g.carrier.Stats().Open, "for", wait.Round(time.Second))
	ctx, cancel := context.WithCancel(ctx)
	due, stop := g.clk.After(wait)
	var timing sync.WaitGroup
	timing.Go(func() {
		select {
		case <-due:
		case <-ctx.Done():
		}
		cancel()
	})
	if err := g.carrier.Drain(ctx); err != nil {
		g.log.Warn("connections are left at the end of the drain and are reset", "connections", g.carrier.Stats().Open)
	}
	cancel()
	timing.Wait()
	stop()
}

// stop has everything forgotten that Set could still change.
func (g *Gateway) stop() {
	g.setting.Lock()
	defer g.setting.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != draining {
		g.notify("STOPPING=1")
	}
	g.phase = over
	handover.CloseAll(g.inherited)
	g.inherited = nil
	if g.taken != nil {
		g.taken.Close()
		g.taken = nil
	}
}

// Drain has Run stop accepting at once, and end when no connection is left, at the latest after d; 0 is what the gateways' limits say.
func (g *Gateway) Drain(d time.Duration) {
	if d <= 0 {
		d = g.drainTime()
	}
	select {
	case g.leaving <- g.clk.Now().Add(d):
	default: // it is told already
	}
}

// drainTime is the longest that a gateway asks for.
func (g *Gateway) drainTime() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := time.Duration(0)
	for _, f := range g.fronts {
		d = max(d, f.now().drain)
	}
	if d == 0 {
		d = defaultDrain
	}
	return d
}

// Ready is closed when the first configuration is in force.
func (g *Gateway) Ready() <-chan struct{} { return g.settled }

// Leaving is closed when this process is told to drain, Config.Notice before Draining is.
func (g *Gateway) Leaving() <-chan struct{} { return g.noticed }

// Draining is closed when this process stops accepting and sees its connections out.
func (g *Gateway) Draining() <-chan struct{} { return g.drained }

// HandedOver is closed when another process has taken the gateway over; Draining is closed with it.
func (g *Gateway) HandedOver() <-chan struct{} { return g.handed }

func (g *Gateway) notify(states ...string) {
	if !g.cfg.Systemd {
		return
	}
	if err := notify(states...); err != nil {
		g.log.Warn("systemd is not told", "states", states, "error", fault.Message(err))
	}
}
