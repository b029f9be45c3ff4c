package agentnode

import (
	"context"
	"fmt"
	"sync"

	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/membership"
	"github.com/isthmus-io/isthmus/plan"
)

func openBridges(cfg Config, a *agent.Agent, m *membership.Member) (Bridges, error) {
	if cfg.Bridges == nil {
		return &noBridges{}, nil
	}
	return cfg.Bridges(a, m)
}

// noBridges is what a program has that links none of what carries them.
type noBridges struct {
	mu     sync.Mutex // guards the field below
	wanted []string
}

func (*noBridges) Run(ctx context.Context) error      { <-ctx.Done(); return nil }
func (*noBridges) Reports() []membership.BridgeReport { return nil }

func (n *noBridges) Set(list []plan.Bridge) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted = nil
	for _, b := range list {
		n.wanted = append(n.wanted, b.Name)
	}
}

func (n *noBridges) Problems() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for _, name := range n.wanted {
		out = append(out, fmt.Sprintf("the bridge %s is to run here, and this program carries none: run isthmus bridge run in the network, or isthmus agent run instead of isthmus-agent", name))
	}
	return out
}
