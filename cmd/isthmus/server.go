package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/node"
)

func newServer(w *world) *cobra.Command {
	p := &process{w: w}
	var cfg node.ServerConfig
	var relayListen, relayAddress string
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the control plane",
		Long: `Run the control plane: it keeps the resources, answers the API, issues certificates, and tells each member what to do. The first start prints
an administrator token once; only its hash is kept.

State is kept in SQLite in the data directory, or in the PostgreSQL database that ISTHMUS_DATABASE names (postgres://...).

With --relay-listen it is also a relay, and that one port is all that agents and people need to reach.`,
		Example: `  isthmus server --relay-listen :443 --relay-address relay.example.net:443
  isthmus server --listen 127.0.0.1:7444 --advertise relay.example.net:443`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if (relayListen == "") != (relayAddress == "") {
				return usagef("--relay-listen and --relay-address go together").advise("the first is where the relay listens, the second what agents dial")
			}
			return p.run(c.Context(), func(ctx context.Context, log *slog.Logger, reg *prometheus.Registry) error {
				cfg.DataDir, cfg.Version, cfg.Database = p.dataDir, versionText(), w.getenv("ISTHMUS_DATABASE")
				if relayListen != "" {
					cfg.Relay = &node.RelayConfig{Listen: relayListen, Address: relayAddress, Version: versionText()}
					if len(cfg.Advertise) == 0 {
						cfg.Advertise = []string{relayAddress}
					}
				}
				cfg.Ready = func(r node.ServerReady) {
					if r.AdminToken != "" {
						w.printf("administrator token: %s\n", r.AdminToken)
						w.note("this is its only appearance: keep it safe. Fingerprint of the authority: %s", r.Pin)
					}
				}
				return node.Server(ctx, cfg, log, w.clock, reg)
			})
		},
	}
	p.addTo(c, "server")
	f := c.Flags()
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:7444", "`HOST:PORT` of the API")
	f.StringSliceVar(&cfg.Advertise, "advertise", nil, "`HOST:PORT` that agents and people dial, the relay's usually; goes into join tokens")
	f.StringVar(&cfg.TrustDomain, "trust-domain", "isthmus.local", "`NAME` in every identity; fixed by the first start")
	f.DurationVar(&cfg.KeepRecordings, "keep-recordings", 365*24*time.Hour, "how long recordings of sessions are kept")
	f.BoolVar(&cfg.PrivateWebhooks, "private-webhooks", false, "let webhooks of tenants go to private addresses: owners of tenants could look around in this machine's network")
	f.BoolVar(&cfg.PrivateSignIn, "private-sign-in", false, "let identity providers of tenants be at private addresses")
	f.StringVar(&relayListen, "relay-listen", "", "`HOST:PORT` on which this process is also a relay")
	f.StringVar(&relayAddress, "relay-address", "", "`HOST:PORT` at which agents reach that relay")
	return c
}
