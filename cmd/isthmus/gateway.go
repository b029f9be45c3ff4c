package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/node/agentnode"
	"github.com/isthmus-io/isthmus/plan"
)

func newGateway(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "gateway",
		Short: "Carry a static address in front of services, and explain what it does",
		Long: `A gateway is one address in front of services. It reads the name a client asks for from the TLS ClientHello, asks the allowlists whether that source may
reach that name, and leads the connection there. TLS passes through untouched.`,
		Example: `  isthmus gateway run --config front.yaml
  isthmus gateway why --gateway ot/ot-cloud/front --source 203.0.113.9 --sni contoso.azure-devices.net --port 8883`,
	}
	c.AddCommand(newAgentJoin(w, "gateway"), newGatewayRun(w), newGatewayWhy(w), newGatewayStatus(w), newGatewayRefusals(w), newGatewayDrain(w))
	return c
}

// defaultNotice is longer than two probes of the usual balancers, five seconds apart.
const defaultNotice = 15 * time.Second

func newGatewayRun(w *world) *cobra.Command {
	p := &process{w: w, shared: true}
	var (
		files   []string
		ready   string
		notice  time.Duration
		workers int
		joined  agentnode.Config
	)
	c := &cobra.Command{
		Use:   "run",
		Short: "Carry gateways: those of a file, or those the control plane gives to this member",
		Long: `Carry gateways. With --config they come from manifests (Gateway, Allowlist), which SIGHUP reads again; a file with an error changes nothing and the log
says why. Without it this process has joined (isthmus gateway join) and follows the control plane.

Start it again with the same --data-dir, for instance with a newer program: it takes the listening sockets over from the process that runs, which then
drains. SIGTERM drains, too, for at most limits.drainSeconds; a second one, or SIGINT, ends at once.`,
		Example: `  isthmus gateway run --config front.yaml --ready-listen :8080
  isthmus gateway run --data-dir /var/lib/isthmus/gateway`,
		Args: cobra.NoArgs,
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		gc := gateway.Config{Dir: p.dataDir, Systemd: true, Workers: workers, Notice: notice}
		if ready != "" && !c.Flags().Changed("notice") {
			gc.Notice = defaultNotice
		}
		if _, err := net.ResolveTCPAddr("tcp", ready); ready != "" && err != nil {
			return usagef("--ready-listen %q is no address to listen at", ready).advise("write HOST:PORT or :PORT, such as :8080")
		}
		if err := os.MkdirAll(p.dataDir, 0o700); err != nil {
			return usagef("--data-dir cannot be made: %v", err).advise("name a directory this user may make")
		}
		running := make(chan *gateway.Gateway, 1)
		ctx, stop := drainOnTerm(c.Context(), running)
		defer stop()
		return p.run(ctx, func(ctx context.Context, log *slog.Logger, reg *prometheus.Registry) error {
			up := func(g *gateway.Gateway) {
				running <- g
				serveReady(ctx, ready, g, log)
				go func() {
					select {
					case <-g.HandedOver():
						p.leaveMetrics()
					case <-ctx.Done():
					}
				}()
			}
			if len(files) > 0 {
				again, stop := reloads()
				defer stop()
				cfg := node.GatewayConfig{Gateway: gc, Reload: again, Ready: up, Load: func() ([]plan.Gateway, error) { return gatewaysOf(w, files) }}
				return node.Gateway(ctx, cfg, log, w.clock, reg)
			}
			joined.DataDir, joined.Version, joined.Agent.Gateway = p.dataDir, versionText(), gc
			joined.Ready = func(a *agent.Agent) {
				go func() { // the first plan may be long in coming
					select {
					case <-a.Gateway().Ready():
						log.Info("the gateway is ready", "id", string(a.Status().ID))
						up(a.Gateway())
					case <-ctx.Done():
					}
				}()
			}
			return agentnode.Run(ctx, joined, log, w.clock, reg)
		})
	}
	p.addTo(c, "gateway")
	f := c.Flags()
	f.StringSliceVarP(&files, "config", "f", nil, "`FILE` or directory with a Gateway and its Allowlists, instead of a control plane")
	f.StringVar(&ready, "ready-listen", "", "`HOST:PORT` on which /ready says 200, and 503 while it drains; none when absent")
	f.DurationVar(&notice, "notice", 0, "how long, as a `DURATION`, it goes on accepting while /ready says 503 already, so that a balancer in front has noticed; "+defaultNotice.String()+" with --ready-listen")
	f.IntVar(&workers, "workers", 0, "how `MANY` threads carry; one for each processor when 0")
	f.StringSliceVar(&joined.Servers, "server", nil, "`HOST:PORT` of the control plane instead of the addresses it joined with")
	f.StringVar(&joined.Proxy, "proxy", "", "`URL` of an HTTP proxy for links; HTTPS_PROXY when absent, none for none")
	return c
}

// gatewaysOf reads manifests as a gateway without a control plane understands them.
func gatewaysOf(w *world, files []string) ([]plan.Gateway, error) {
	set, err := loadManifests(w, files)
	if err != nil {
		return nil, err
	}
	return gateway.FromResources(set.Objects())
}
