package agentnode

import (
	"context"
	"log/slog"

	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/membership"
	"github.com/isthmus-io/isthmus/node/accessnode"
)

// people is what stands behind the agent's gate; nil in it when nobody is let in.
type people struct{ access *accessnode.Access }

// openAccess fills in what the agent's gate needs. When the disk does not let it, nobody is let in, and the agent goes on without: it has
// more to do than that.
func openAccess(cfg *Config, m *membership.Member, log *slog.Logger, clk clock.Clock) people {
	if cfg.Agent.Access.Off {
		return people{}
	}
	a, err := accessnode.Open(cfg.DataDir, m, log, clk)
	if err != nil {
		log.Error("nobody is let in through this agent", "error", err, "next", fault.Next(err))
		cfg.Agent.Access.Off = true
		cfg.Agent.Access.Words = "what happens in sessions cannot be written down on its machine: " + fault.Message(err)
		return people{}
	}
	cfg.Agent.Access.Config = a.Gate(cfg.Agent.Access.Config)
	return people{a}
}

// run runs the agent, and what stands behind its gate for a little longer.
func (p people) run(ctx context.Context, a *agent.Agent) error {
	if p.access == nil {
		return a.Run(ctx)
	}
	return p.access.Run(ctx, a.Gate().SetOffset, a.Run)
}

func (p people) problems() []string {
	if p.access == nil {
		return nil
	}
	return p.access.Problems()
}

func (p people) close() {
	if p.access != nil {
		_ = p.access.Close() // a lock, which the process's end lets go of too
	}
}
