package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/envflag"
	"github.com/isthmus-io/isthmus/node/agentnode"
	"github.com/isthmus-io/isthmus/node/bridgenode"
)

func newBridgeRun(w *world) *cobra.Command {
	p := &process{w: w}
	var cfg agentnode.Config
	var folders []string
	j := joining{process: process{w: w}}
	c := &cobra.Command{
		Use:   "run",
		Short: "Run a process that carries the bridges of its network",
		Long: `Run a process that has joined to carry bridges: those of its network which name it, or no process at all. It only dials out, listens nowhere, and reaches
private endpoints without anybody's addresses. Its last plan is kept on disk, so that it goes on while the control plane is away.

Below --data-dir it reads secrets/NAME (connection strings), modules/NAME (WebAssembly) and references/NAME (tables), and keeps bridges/: where each bridge
stands, and its dead letters. Do not lose it: without, a bridge goes on from what was last reported, and marks what may have been sent.

Every flag may be given by the environment instead: --folder as ISTHMUS_BRIDGE_FOLDER, a list with commas. With a join token, in ISTHMUS_JOIN_TOKEN or
--token-file, a process that has not joined does so first.`,
		Example: "  isthmus bridge run --data-dir /var/lib/isthmus/bridge\n  isthmus bridge run --folder /srv/lake",
		Args:    cobra.NoArgs,
		PreRunE: func(c *cobra.Command, _ []string) error { return envflag.Fill(c.Flags(), bridgeEnvironment, w.getenv) },
		RunE: func(c *cobra.Command, _ []string) error {
			return p.run(c.Context(), func(ctx context.Context, log *slog.Logger, reg *prometheus.Registry) error {
				cfg.DataDir, cfg.Version = p.dataDir, versionText()
				cfg.Agent.Access.Off = true
				cfg.Bridges = bridgenode.New(bridgenode.Config{Dir: p.dataDir, Folders: folders}, log, w.clock, reg)
				if err := agentnode.JoinOnce(ctx, cfg, j.tokenIfAny, j.name, w.clock); err != nil {
					return err
				}
				return agentnode.Run(ctx, cfg, log, w.clock, reg)
			})
		},
	}
	p.addTo(c, "bridge")
	f := c.Flags()
	f.StringSliceVar(&folders, "folder", nil, "`FOLDER` below which bridges may write files on this machine; may be repeated; none when absent")
	f.StringSliceVar(&cfg.Servers, "server", nil, "`HOST:PORT` of the control plane instead of the addresses it joined with")
	f.StringVar(&cfg.Proxy, "proxy", "", "`URL` of an HTTP proxy; HTTPS_PROXY when absent (the place for one with a password), none for none")
	f.StringVar(&j.name, "name", "", "`NAME` to join under, when it has not joined; the token's when absent")
	f.StringVar(&j.tokenFile, "token-file", "", "`FILE` with the join token, for a process that has not joined (or the token itself in ISTHMUS_JOIN_TOKEN)")
	return c
}

// bridgeEnvironment is what the variables that stand in for a bridge process's flags begin with.
const bridgeEnvironment = "ISTHMUS_BRIDGE_"
