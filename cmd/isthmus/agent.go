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

func newAgent(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:     "agent",
		Short:   "Run an agent, which joins a network and follows its plan",
		Example: "  isthmus agent join --token-file join.token\n  isthmus agent run --interface eth0 --dns 192.168.1.2:53",
	}
	c.AddCommand(newAgentJoin(w, "agent"), newAgentRun(w), newAgentToken(w))
	return c
}

// newAgentJoin serves agents, hubs, gateways and bridges: all join a network in the same way.
func newAgentJoin(w *world, role string) *cobra.Command {
	j := &joining{process: process{w: w}}
	var cfg agentnode.Config
	article := map[string]string{"agent": "agent run", "hub": "hub serve", "gateway": "gateway run", "bridge": "bridge run"}[role]
	c := &cobra.Command{
		Use:   "join",
		Short: "Trade a join token for this " + role + "'s identity",
		Long: `Trade a one-time join token for an identity. The key is made on this machine and never leaves it. The token comes from --token-file, from
ISTHMUS_JOIN_TOKEN or from standard input, never from the command line.`,
		Example: "  isthmus " + role + " join --token-file join.token\n  isthmus " + role + " join --name " + role + "-1 < join.token",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			token, err := j.token()
			if err != nil {
				return err
			}
			cfg.DataDir, cfg.Servers, cfg.Proxy, cfg.Version = j.dataDir, j.servers, j.proxy, versionText()
			cfg.Force = j.force
			if err := agentnode.Join(c.Context(), cfg, token, j.nameOr(), j.clock()); err != nil {
				return err
			}
			w.printf("joined\n")
			w.note("now run it: isthmus %s --data-dir %s", article, j.dataDir)
			return nil
		},
	}
	j.addTo(c, role)
	if role == "agent" {
		c.Flags().StringVar(&cfg.Direct, "direct", "", "`HOST:PORT` at which other agents can reach this one without a relay")
	}
	return c
}

func newAgentRun(w *world) *cobra.Command {
	p := &process{w: w}
	var cfg agentnode.Config
	var secure dnsSecure
	var rate agentnode.Rate
	var folders []string
	j := joining{process: process{w: w}}
	c := &cobra.Command{
		Use:   "run",
		Short: "Run an agent that has joined",
		Long: `Run an agent that has joined: it holds the addresses of private endpoints, answers their names, and dials the services of its network for
others. It only dials out. Its last plan is kept on disk, so that it goes on while the control plane is away.

People come through it into machines, as far as targets and grants of its plan say; --access-allow narrows what targets may be, --no-access lets nobody
in. What happens in sessions is kept below --data-dir until the control plane has it. It carries bridges that name it in spec.agent, as isthmus bridge run does.

Every flag may be given by the environment instead: --access-rate as ISTHMUS_AGENT_ACCESS_RATE, a list with commas. With a join token, in
ISTHMUS_JOIN_TOKEN or --token-file, an agent that has not joined does so first.`,
		Example: "  isthmus agent run --access-allow 127.0.0.1:22 --access-allow 192.168.10.0/24 --access-rate 2MB\n  isthmus agent run --interface eth0 --dns 192.168.1.2:53\n  isthmus agent run --direct-listen :7443 --direct 10.0.0.7:7443",
		Args:    cobra.NoArgs,
		PreRunE: func(c *cobra.Command, _ []string) error { return envflag.Fill(c.Flags(), agentEnvironment, w.getenv) },
		RunE: func(c *cobra.Command, _ []string) error {
			if err := secure.apply(&cfg.Agent.DNS); err != nil {
				return err
			}
			cfg.Agent.Access.BytesPerSecond = int64(rate)
			return p.run(c.Context(), func(ctx context.Context, log *slog.Logger, reg *prometheus.Registry) error {
				cfg.DataDir, cfg.Version = p.dataDir, versionText()
				cfg.Bridges = bridgenode.New(bridgenode.Config{Dir: p.dataDir, Folders: folders}, log, w.clock, reg)
				if err := agentnode.JoinOnce(ctx, cfg, j.tokenIfAny, j.name, w.clock); err != nil {
					return err
				}
				return agentnode.Run(ctx, cfg, log, w.clock, reg)
			})
		},
	}
	p.addTo(c, "agent")
	f := c.Flags()
	f.StringVar(&cfg.Agent.Interface, "interface", "", "`NAME` of the interface that gets the addresses of private endpoints; absent: they are there already")
	f.StringSliceVar(&cfg.Agent.DNSListen, "dns", nil, "`HOST:PORT` to answer DNS on, UDP and TCP")
	secure.addTo(c, "dns-")
	f.StringVar(&cfg.Agent.DirectListen, "direct-listen", "", "`HOST:PORT` for tunnels that come without a relay; none when absent")
	f.StringVar(&cfg.Direct, "direct", "", "`HOST:PORT` at which other agents reach --direct-listen")
	f.StringSliceVar(&cfg.Servers, "server", nil, "`HOST:PORT` of the control plane instead of the addresses it joined with")
	f.StringVar(&cfg.Proxy, "proxy", "", "`URL` of an HTTP proxy; HTTPS_PROXY when absent (the place for one with a password), none for none")
	f.StringVar(&j.name, "name", "", "`NAME` to join under, when it has not joined; the token's when absent")
	f.StringVar(&j.tokenFile, "token-file", "", "`FILE` with the join token, for an agent that has not joined (or the token itself in ISTHMUS_JOIN_TOKEN)")
	f.StringSliceVar(&cfg.Agent.Access.Allow, "access-allow", nil, "what targets of people may be: `PATTERN` such as 127.0.0.1:22, 192.168.10.0/24 or unix:/run/; may be repeated; everything the plan says when absent")
	f.BoolVar(&cfg.Agent.Access.Off, "no-access", false, "let nobody in, whatever the plan says")
	f.StringSliceVar(&folders, "bridge-folder", nil, "`FOLDER` below which bridges may write files on this machine; may be repeated; none when absent")
	f.Var(&rate, "access-rate", "bytes per second of all people's sessions together, as a `RATE` such as 500k or 2MB; no limit when absent")
	return c
}

// agentEnvironment is what the variables that stand in for an agent's flags begin with.
const agentEnvironment = "ISTHMUS_AGENT_"

// tokenIfAny is token without looking at standard input unless told so; empty when nobody gave one.
func (j *joining) tokenIfAny() (string, error) {
	if j.tokenFile == "" && j.w.getenv("ISTHMUS_JOIN_TOKEN") == "" {
		return "", nil
	}
	return j.token()
}
