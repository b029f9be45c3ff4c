package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/node"
)

func newRelay(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:     "relay",
		Short:   "Run a relay, where outbound connections meet",
		Example: "  isthmus relay join --address relay.example.net:443 --control 10.0.0.5:7444 --token-file join.token\n  isthmus relay run --control 10.0.0.5:7444",
	}
	c.AddCommand(newRelayJoin(w), newRelayRun(w))
	return c
}

func newRelayJoin(w *world) *cobra.Command {
	j := &joining{process: process{w: w}}
	var cfg node.RelayConfig
	c := &cobra.Command{
		Use:     "join --address HOST:PORT",
		Short:   "Trade a join token for this relay's identity",
		Example: "  isthmus relay join --address relay.example.net:443 --control 10.0.0.5:7444 < join.token",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			token, err := j.token()
			if err != nil {
				return err
			}
			cfg.DataDir, cfg.Servers, cfg.Version, cfg.Force = j.dataDir, j.servers, versionText(), j.force
			if err := node.JoinRelay(c.Context(), cfg, token, j.nameOr(), j.clock()); err != nil {
				return err
			}
			w.printf("joined\n")
			w.note("now run it: isthmus relay run --data-dir %s", j.dataDir)
			return nil
		},
	}
	j.addTo(c, "relay")
	c.Flags().StringVar(&cfg.Address, "address", "", "`HOST:PORT` at which agents will dial this relay")
	c.Flags().StringVar(&cfg.Control, "control", "", "`HOST:PORT` of the control plane, when the token's addresses are this relay's own")
	_ = c.MarkFlagRequired("address")
	return c
}

func newRelayRun(w *world) *cobra.Command {
	p := &process{w: w}
	var cfg node.RelayConfig
	c := &cobra.Command{
		Use:   "run",
		Short: "Run a relay that has joined",
		Long: `Run a relay that has joined. It pairs outbound connections of agents and cannot read what passes. TLS that is not for it goes on to the
control plane at --control, so agents and people need this one address only.`,
		Example: "  isthmus relay run --listen :443 --control 10.0.0.5:7444",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.run(c.Context(), func(ctx context.Context, log *slog.Logger, reg *prometheus.Registry) error {
				cfg.DataDir, cfg.Version = p.dataDir, versionText()
				return node.Relay(ctx, cfg, log, w.clock, reg)
			})
		},
	}
	p.addTo(c, "relay")
	c.Flags().StringVar(&cfg.Listen, "listen", ":443", "`HOST:PORT` of its one port")
	c.Flags().StringVar(&cfg.Control, "control", "", "`HOST:PORT` of the control plane; without it, only agents' links are served")
	return c
}
