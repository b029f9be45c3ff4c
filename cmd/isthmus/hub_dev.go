package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/membership"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// devView is what a program has to know of a hub that runs.
type devView struct {
	HostName    string            `json:"hostName"`
	MQTT        []string          `json:"mqtt"`
	HTTPS       []string          `json:"https"`
	CA          string            `json:"ca"`
	DataDir     string            `json:"dataDir"`
	Service     string            `json:"serviceConnectionString"`
	Devices     map[string]string `json:"deviceConnectionStrings"`
	DPSHostName string            `json:"provisioningHostName,omitempty"`
	IDScope     string            `json:"idScope,omitempty"`
	DPSService  string            `json:"provisioningConnectionString,omitempty"`
}

func newHubDev(w *world) *cobra.Command {
	p := &process{w: w}
	var cfg node.LocalHubConfig
	var devices []string
	var fresh bool
	var out output
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a hub and a provisioning service on this machine, for development and CI",
		Long: `Run a hub, and a provisioning service beside it, on this machine alone: no deployment, no account, no network. Unmodified Azure IoT SDKs connect to it;
it prints the connection strings and the certificate to trust. What it keeps is in its data directory, and is there again the next time; --fresh keeps
nothing. The other commands of isthmus hub, run beside it, find it by the same data directory.

Devices use port 8883, and 443 for HTTPS and WebSockets: most SDKs cannot be told another one. Who may not open 443 gets 8443 instead, which does for the
commands here and for tools that take a port.`,
		Example: `  isthmus hub dev --device press-1
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
			if !c.Flags().Changed("https") {
				cfg.HTTPS = withPort(cfg.HTTPS, firstFree(c.Context(), cfg.HTTPS))
			}
			if !c.Flags().Changed("provisioning-host") && !has127002(c.Context()) {
				cfg.ProvisioningHosts = nil
				cfg.MQTT, cfg.HTTPS = cfg.MQTT[:1], cfg.HTTPS[:1]
			}
			return p.run(c.Context(), func(ctx context.Context, log *slog.Logger, reg *prometheus.Registry) error {
				cfg.DataDir, cfg.Version = p.dataDir, versionText()
				if !fresh {
					cfg.Database = w.getenv("ISTHMUS_HUB_DATABASE")
				}
				var told error
				ctx, cancel := context.WithCancelCause(ctx)
				defer cancel(nil)
				cfg.Ready = func(h *hub.Hub, p *provisioning.Service, ca string) {
					if told = tellDev(ctx, w, &out, h, p, cfg, devices, ca); told != nil {
						cancel(told)
					}
				}
				err := errors.Join(node.LocalHub(ctx, cfg, log, w.clock, reg), told)
				if errors.Is(err, syscall.EADDRINUSE) {
					return fault.New("isthmus.hub", fault.Unavailable, fault.Message(err)).
						Advise("another hub may run here already; end it, or take other ports: --mqtt 127.0.0.1:18883 --https 127.0.0.1:18443").Because(err)
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
	f.StringSliceVar(&cfg.HTTPS, "https", []string{"127.0.0.1:443", "127.0.0.2:443"}, "`HOST:PORT` for REST and WebSockets; port 8443 where 443 may not be opened")
	f.StringSliceVar(&devices, "device", nil, "`DEVICES` to create unless they exist, and to print connection strings of")
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

// has127002 tells whether the second loopback address can be listened on: everywhere on Linux, elsewhere only when somebody made it.
func has127002(ctx context.Context) bool {
	if runtime.GOOS == "linux" {
		return true
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.2:0")
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// tellDev creates the devices that are wanted and says how to reach everything.
func tellDev(ctx context.Context, w *world, out *output, h *hub.Hub, p *provisioning.Service, cfg node.LocalHubConfig, devices []string, ca string) error {
	v := devView{HostName: h.HostName(), MQTT: cfg.MQTT, HTTPS: cfg.HTTPS, CA: ca, DataDir: cfg.DataDir, Devices: map[string]string{}}
	if p != nil {
		var err error
		if v.DPSService, err = p.ConnectionString(provisioning.PolicyOwner); err != nil {
			return err
		}
		v.DPSHostName, v.IDScope = p.HostName(), p.Scope()
	}
	for _, id := range devices {
		if _, err := h.CreateDevice(ctx, hubstore.Device{ID: id}); err != nil && fault.KindOf(err) != fault.Conflict {
			return err
		}
		text, err := h.DeviceConnectionString(ctx, id)
		if err != nil {
			return err
		}
		// MQTT is the one protocol of which SDKs take another port from the connection string.
		if _, port, err := net.SplitHostPort(cfg.MQTT[0]); err == nil && port != "8883" {
			text = strings.Replace(text, "HostName="+h.HostName(), "HostName="+net.JoinHostPort(h.HostName(), port), 1)
		}
		v.Devices[id] = text
	}
	var err error
	if v.Service, err = h.PolicyConnectionString(hub.PolicyOwner); err != nil {
		return err
	}
	if out.structured() {
		return out.write(w, v)
	}
	w.printf("The hub serves devices on %s and HTTPS on %s.\n\n", list(cfg.MQTT), list(cfg.HTTPS))
	rows := [][2]string{{"Trust", "NODE_EXTRA_CA_CERTS=" + ca}}
	for _, id := range devices {
		rows = append(rows, [2]string{"Device " + id, v.Devices[id]})
	}
	rows = append(rows, [2]string{"Service", v.Service})
	if p != nil {
		rows = append(rows, [2]string{"Provisioning", v.DPSHostName + ", id scope " + v.IDScope}, [2]string{"Enrollments", v.DPSService})
	}
	w.pairs(rows...)
	here := ""
	if cfg.DataDir != defaultHubDir(w) {
		here = " --data-dir " + cfg.DataDir
	}
	if len(devices) == 0 {
		w.printf("\nMake a device:  isthmus hub device create press-1%s\n", here)
	}
	w.printf("\nWatch:          isthmus hub events --follow%s\nEnd with Ctrl-C.\n", here)
	return nil
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
