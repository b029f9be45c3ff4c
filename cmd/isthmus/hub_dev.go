package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/membership"
	"github.com/isthmus-io/isthmus/node"
)

func newHubDev(w *world) *cobra.Command {
	p := &process{w: w}
	var cfg node.LocalHubConfig
	var devices, eventHubs []string
	var fresh, storage bool
	var out output
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a hub and a provisioning service on this machine, for development and CI",
		Long: `Run a hub, and a provisioning service beside it, on this machine alone: no deployment, no account, no network. Unmodified Azure IoT
and Event Hubs SDKs connect to it, for a namespace of event hubs is there too; it prints the connection strings and the certificate to trust. What it keeps is
in its data directory, and is there again the next time; --fresh keeps nothing. The other commands of isthmus hub, run beside it, find it by the same data
directory.

Devices use port 8883 or 5671, and 443 for HTTPS and WebSockets: most SDKs cannot be told another one. Who may not open 443 gets 8443 instead, which does
for the commands here and for tools that take a port. On port 5672 the namespace speaks AMQP without TLS, for connection strings that say
UseDevelopmentEmulator=true; it is open to this machine only. With --storage there is a blob service too, for unmodified Azure Blob Storage SDKs.`,
		Example: `  isthmus hub dev --device press-1
  isthmus hub dev --device press-1 --event-hub telemetry
  isthmus hub dev --storage --container checkpoints
  isthmus hub dev --fresh --device press-1 -o json > hub.json &`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if fresh {
				dir, err := os.MkdirTemp("", "isthmus-hub-")
				if err != nil {
					return fault.Wrap("isthmus.hub", fault.Invalid, err, "no temporary directory can be made")
				}
				defer os.RemoveAll(dir) //nolint:errcheck // it is in the system's temporary place
				p.dataDir = dir
			}
			if err := ownData(p.dataDir); err != nil {
				return err
			}
			devStorage(c, &cfg, storage)
			if !c.Flags().Changed("https") {
				cfg.HTTPS = withPort(cfg.HTTPS, firstFree(c.Context(), cfg.HTTPS))
			}
			if err := fitDev(c, &cfg); err != nil {
				return err
			}
			return p.run(c.Context(), func(ctx context.Context, log *slog.Logger, reg *prometheus.Registry) error {
				cfg.DataDir, cfg.Version = p.dataDir, versionText()
				if !fresh {
					cfg.Database = w.getenv("ISTHMUS_HUB_DATABASE")
				}
				var told error
				ctx, cancel := context.WithCancelCause(ctx)
				defer cancel(nil)
				cfg.Ready = func(s node.LocalServices) {
					if told = tellDev(ctx, w, &out, s, cfg, devices, eventHubs); told != nil {
						cancel(told)
					}
				}
				err := errors.Join(node.LocalHub(ctx, cfg, log, w.clock, reg), told)
				if errors.Is(err, syscall.EADDRINUSE) {
					return fault.New("isthmus.hub", fault.Unavailable, fault.Message(err)).
						Advise("another hub may run here already; end it, or take other ports: --mqtt 127.0.0.1:18883 --https 127.0.0.1:18443 --amqp 127.0.0.1:15671").Because(err)
				}
				return err
			})
		},
	}
	p.addTo(c, "hub")
	out.addTo(c, "text", outJSON)
	f := c.Flags()
	f.Lookup("log-level").DefValue, p.logLevel = "warn", "warn"
	f.StringSliceVar(&cfg.Hosts, "host", []string{"localhost", "127.0.0.1", "::1"}, "`NAMES` of the hub; the first goes into connection strings")
	f.StringSliceVar(&cfg.ProvisioningHosts, "provisioning-host", []string{"127.0.0.2"}, "`NAMES` of the provisioning service")
	f.StringSliceVar(&cfg.MQTT, "mqtt", []string{"127.0.0.1:8883", "127.0.0.2:8883"}, "`HOST:PORT` for devices, MQTT over TLS")
	f.StringSliceVar(&cfg.HTTPS, "https", []string{"127.0.0.1:443", "127.0.0.2:443", "127.0.0.3:443"}, "`HOST:PORT` for REST and WebSockets; port 8443 where 443 may not be opened")
	f.StringSliceVar(&cfg.AMQP, "amqp", []string{"127.0.0.1:5671", "127.0.0.2:5671", "127.0.0.3:5671"}, "`HOST:PORT` for AMQP over TLS: devices, back ends, event hubs")
	f.StringSliceVar(&cfg.NamespaceHosts, "event-hubs-host", []string{"127.0.0.3"}, "`NAMES` of the namespace of event hubs")
	f.StringSliceVar(&cfg.PlainAMQP, "event-hubs-plain", []string{"127.0.0.1:5672"}, "`HOST:PORT` of this machine where the namespace speaks AMQP without TLS, if it is free")
	f.StringVar(&cfg.TestToken, "event-hubs-test-token", "", "`TEXT` that stands for every right in the namespace: only to test clients that cannot be given a key")
	f.StringSliceVar(&eventHubs, "event-hub", nil, "`EVENT HUBS` to make unless they exist, and to print connection strings of")
	f.StringSliceVar(&devices, "device", nil, "`DEVICES` to create unless they exist, and to print connection strings of")
	addDevStorage(c, &cfg, &storage)
	f.BoolVar(&fresh, "fresh", false, "begin with nothing and keep nothing")
	return c
}

// ownData refuses the data directory of a hub that belongs to a deployment.
func ownData(dir string) error {
	if membership.Joined(dir) {
		return fault.Newf("isthmus.hub", fault.Conflict, "%s belongs to a hub that has joined a deployment", dir).Advise("give another directory with --data-dir")
	}
	return nil
}

// firstFree returns the port to use instead of 443.
func firstFree(ctx context.Context, addresses []string) string {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addresses[0])
	if err == nil {
		_ = l.Close() // it was only a question
		return "443"
	}
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EADDRINUSE) {
		return "8443"
	}
	return "443"
}

func withPort(addresses []string, port string) []string {
	out := slices.Clone(addresses)
	for i, a := range out {
		if host, _, err := net.SplitHostPort(a); err == nil {
			out[i] = net.JoinHostPort(host, port)
		}
	}
	return out
}

// loopback tells whether a loopback address can be listened on: everywhere on Linux, elsewhere only when somebody made it.
func loopback(ctx context.Context, address string) bool {
	return runtime.GOOS == "linux" || isFree(ctx, net.JoinHostPort(address, "0"))
}

func isFree(ctx context.Context, address string) bool {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func list(addresses []string) string {
	text := ""
	for i, a := range addresses {
		switch {
		case i > 0 && i == len(addresses)-1:
			text += " and "
		case i > 0:
			text += ", "
		}
		text += a
	}
	return text
}

// defaultHubDir is what hub commands use when nobody says otherwise.
func defaultHubDir(w *world) string {
	p := &process{w: w}
	p.addDir(&cobra.Command{}, "hub")
	return p.dataDir
}
