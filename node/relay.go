package node

import (
	"context"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/relay"
	"github.com/isthmus-io/isthmus/membership"
)

// RelayConfig is one relay.
type RelayConfig struct {
	DataDir string
	Listen  string // :443 when empty
	Address string // host:port that agents dial; used when joining
	Control string // host:port of the control plane, for agents and people who know only the relay; none: they are refused
	Servers []string
	Version string
	Force   bool // JoinRelay gives an identity up that is there already
	// Ready is called with the address once connections are paired.
	Ready func(addr string)
}

// JoinRelay trades a token for the relay's identity.
func JoinRelay(ctx context.Context, cfg RelayConfig, token, name string, clk clock.Clock) error {
	if _, _, err := net.SplitHostPort(cfg.Address); err != nil {
		return fault.Newf("node.JoinRelay", fault.Invalid, "%q is not where agents can dial a relay", cfg.Address).Advise("give host:port with --address, such as relay.example.net:443")
	}
	return membership.Join(ctx, membership.Config{Dir: cfg.DataDir, Servers: cfg.relayServers(), Version: cfg.Version, Force: cfg.Force}, token,
		membership.JoinInfo{Name: name, Address: cfg.Address, Clock: clk})
}

// relayServers prefers the control plane the relay was told of: its advertised address may be this very relay's.
func (cfg RelayConfig) relayServers() []string {
	if cfg.Control != "" {
		return append([]string{cfg.Control}, cfg.Servers...)
	}
	return cfg.Servers
}

// Relay runs a relay that has joined.
func Relay(ctx context.Context, cfg RelayConfig, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) error {
	if cfg.Listen == "" {
		cfg.Listen = ":443"
	}
	m, err := membership.Open(membership.Config{Dir: cfg.DataDir, Servers: cfg.relayServers(), Version: cfg.Version}, log, clk)
	if err != nil {
		return err
	}
	l, err := listen(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	defer l.Close()
	r := relay.New(relay.Config{Control: cfg.Control}, m.Credentials(), log, clk, reg)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error { return r.Serve(ctx, l) })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case p := <-m.Updates(): // its roots membership has applied
				revoked := make([]identity.ID, len(p.Revoked))
				for i, id := range p.Revoked {
					revoked[i] = identity.ID(id)
				}
				r.SetRevoked(revoked)
			}
		}
	})
	log.Info("the relay is ready", "address", l.Addr().String(), "id", string(m.Credentials().ID()))
	if cfg.Ready != nil {
		cfg.Ready(l.Addr().String())
	}
	return ended(g.Wait())
}
