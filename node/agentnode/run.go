package agentnode

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/membership"
	"github.com/isthmus-io/isthmus/plan"
)

// Config is one agent.
type Config struct {
	DataDir string
	Servers []string // stand in for the addresses of the join token
	Proxy   string   // HTTP proxy for everything it dials; empty: HTTPS_PROXY and NO_PROXY of the environment; "none": no proxy
	Version string
	Force   bool // Join gives an identity up that is there already
	Agent   agent.Config
	// Direct is where other agents may dial this one without a relay, if anywhere; reported to the control plane.
	Direct string
	// Bridges makes what carries the bridges of the plan; nil: this program carries none. It is a function so that the slim agent links none of it.
	Bridges func(a *agent.Agent, m *membership.Member) (Bridges, error)
	// Ready is called once the agent carries out its plan, or waits for its first.
	Ready func(*agent.Agent)
}

// Bridges carries bridges; node/bridgenode makes one.
type Bridges interface {
	// Run returns when ctx ends and everything it started has ended.
	Run(ctx context.Context) error
	// Set makes it carry exactly these. What may not run any more has stopped when it returns.
	Set(list []plan.Bridge)
	Problems() []string
	Reports() []membership.BridgeReport
}

// Join trades a token for the identity of an agent or a hub.
func Join(ctx context.Context, cfg Config, token, name string, clk clock.Clock) error {
	return membership.Join(ctx, membership.Config{Dir: cfg.DataDir, Proxy: cfg.Proxy, Servers: cfg.Servers, Version: cfg.Version, Force: cfg.Force}, token,
		membership.JoinInfo{Name: name, Direct: cfg.Direct, Clock: clk})
}

// JoinOnce is Join for a directory that holds no identity yet, and nothing otherwise: for containers, which join when they first start.
// token is asked for the join token only when there is need; an empty one leaves everything as it is.
func JoinOnce(ctx context.Context, cfg Config, token func() (string, error), name string, clk clock.Clock) error {
	if membership.Joined(cfg.DataDir) {
		return nil
	}
	t, err := token()
	if err != nil || t == "" {
		return err
	}
	return Join(ctx, cfg, t, name, clk)
}

// Run runs an agent that has joined: it follows its plan, from the disk when the control plane is away.
func Run(ctx context.Context, cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) error {
	m, err := membership.Open(membership.Config{Dir: cfg.DataDir, Proxy: cfg.Proxy, Servers: cfg.Servers, Version: cfg.Version}, log, clk)
	if err != nil {
		return err
	}
	cfg.Agent.ProxyURL = cfg.Proxy
	cfg.Agent.Gateway.Admin = cfg.DataDir
	people := openAccess(&cfg, m, log, clk)
	defer people.close()
	a, err := agent.New(cfg.Agent, m.Credentials(), log, clk, reg)
	if err != nil {
		return err
	}
	bridges, err := openBridges(cfg, a, m)
	if err != nil {
		return err
	}
	m.Report(func() membership.Report {
		return membership.Report{
			Version: cfg.Version, Direct: cfg.Direct, PlanRevision: a.PlanRevision(), DNSAddresses: a.DNSAddresses(),
			Problems: slices.Concat(a.Problems(), people.problems(), bridges.Problems()), Bridges: bridges.Reports(),
		}
	})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return bridges.Run(ctx) })
	g.Go(func() error { return people.run(ctx, a) })
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case p := <-m.Updates():
				a.SetPlan(p)
				bridges.Set(p.Bridges)
				log.Info("carrying out a plan", "revision", p.Revision, "endpoints", len(p.Endpoints), "services", len(p.Services), "names", len(p.Names),
					"targets", len(p.Targets), "bridges", len(p.Bridges))
			}
		}
	})
	log.Info("the agent is ready", "id", string(m.Credentials().ID()))
	if cfg.Ready != nil {
		cfg.Ready(a)
	}
	err = g.Wait()
	if errors.Is(err, context.Canceled) || errors.Is(err, agent.ErrDrained) || errors.Is(err, gateway.ErrHandedOver) {
		return nil
	}
	return err
}
