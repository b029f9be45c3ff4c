package agent

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver"
)

// nameserver answers the names of the network.
type nameserver interface {
	Run(ctx context.Context) error
	answer(p plan.Plan)
}

// planResolver is a resolver whose view follows plans.
type planResolver struct{ *resolver.Resolver }

func newNameserver(listen []string, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) nameserver {
	return planResolver{resolver.New(resolver.Config{Listen: listen}, log, clk, reg)}
}

func (r planResolver) answer(p plan.Plan) {
	r.Set(resolver.View{Names: p.Names, Zones: p.Zones, Upstreams: p.Upstreams})
}
