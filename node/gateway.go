package node

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/plan"
)

// GatewayConfig is a gateway process by itself, without a control plane.
type GatewayConfig struct {
	Gateway gateway.Config
	// Load gives the gateways; it is called at the start and for each receive from Reload. What fails to load later changes nothing.
	Load   func() ([]plan.Gateway, error)
	Reload <-chan struct{}
	Ready  func(*gateway.Gateway)
}

// Gateway runs gateways from files until ctx ends, or until it has drained.
func Gateway(ctx context.Context, cfg GatewayConfig, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) error {
	list, err := cfg.Load()
	if err != nil {
		return err
	}
	gw := gateway.New(cfg.Gateway, nil, log, clk, reg)
	gw.Set(list)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := gw.Run(ctx)
		if err == nil {
			return context.Canceled // the others end with it
		}
		return err
	})
	g.Go(func() error {
		select {
		case <-gw.Ready():
			log.Info("the gateway is ready", "gateways", len(list))
			if cfg.Ready != nil {
				cfg.Ready(gw)
			}
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error { return reload(ctx, cfg.Reload, cfg.Load, gw.Set, log) })
	if err := g.Wait(); !errors.Is(err, gateway.ErrHandedOver) {
		return ended(err)
	}
	log.Info("drained, another process carries on")
	return nil
}
