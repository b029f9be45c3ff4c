package bridgenode

import (
	"context"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/membership"
	"github.com/isthmus-io/isthmus/node/agentnode"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/workload"
)

// Config is what a process that carries bridges is told on its own machine.
type Config struct {
	Dir     string   // its data directory
	Folders []string // below which destinations on disk may write; none when empty
	// Ready is called with the bridges before the first plan.
	Ready func(*bridge.Bridges)
}

// New returns what agentnode.Config.Bridges asks for. reg may be nil.
func New(cfg Config, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) func(*agent.Agent, *membership.Member) (agentnode.Bridges, error) {
	return func(a *agent.Agent, m *membership.Member) (agentnode.Bridges, error) {
		minter := workload.NewMinter(m.Credentials(), clk)
		out := bridge.Outside{
			Dial: func(ctx context.Context, e plan.BridgeEnd, port uint16) (net.Conn, error) {
				return a.Dial(ctx, e.ID, port, e.Providers)
			},
			TLS: trust(m.Credentials()),
			Token: func(ctx context.Context, id, audience string) (end.Token, error) {
				text, expires, err := minter.Token(ctx, id, audience)
				return end.Token{Text: text, Expires: expires}, err
			},
		}
		b, err := bridge.New(Parts(cfg), out, log, clk, reg)
		if err != nil {
			return nil, err
		}
		if cfg.Ready != nil {
			cfg.Ready(b)
		}
		return &carrier{b, cfg, string(m.Credentials().ID()), log}, nil
	}
}

// carrier is the bridges of one process, with the socket through which this machine's owner looks at them.
type carrier struct {
	*bridge.Bridges
	cfg  Config
	self string
	log  *slog.Logger
}

// Reports implements agentnode.Bridges.
func (c *carrier) Reports() []membership.BridgeReport {
	all := c.Status()
	out := make([]membership.BridgeReport, len(all))
	for i, s := range all {
		out[i] = membership.BridgeReport{ID: s.ID, Status: s.BridgeStatus}
	}
	return out
}
