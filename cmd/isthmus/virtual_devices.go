package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/virtualdevice"
	"github.com/isthmus-io/isthmus/agent"
	"github.com/isthmus-io/isthmus/link/transport"
)

func newVirtualDevices(w *world) *cobra.Command {
	p := &process{w: w}
	var proxy string
	c := &cobra.Command{
		Use:   "virtual-devices",
		Short: "Play devices of a hub whose streams lead to addresses",
		Long: `Play devices of an IoT hub that accept device streams and lead each to one address, for machines that know nothing of hubs. Nothing listens; every
connection is dialled out, on 8883, or on 443 where that is all there is.

Which devices there are is said by the environment, as a container has it:

  ISTHMUS_VIRTUAL_DEVICES       a JSON list of devices
  ISTHMUS_VIRTUAL_DEVICES_FILE  instead: a file with such a list
  ISTHMUS_VIRTUAL_DEVICE_NAME   one device as JSON, called NAME; as many as there are
  ISTHMUS_VIRTUAL_DEVICES_CA    a file of authorities (PEM) to trust beside the system's

A device is {"connectionString": "HostName=…;DeviceId=…;SharedAccessKey=…", "streams": {"ssh": "127.0.0.1:22", "plc": "192.168.0.10:502"}}. Instead of a connection
string it may have "connectionStringVariable", the name of a variable that holds one, or "hub", "id", "module" and "key". A stream leads to HOST:PORT or
unix:/PATH. "name" calls it something else than its id, "enabled": false switches it off, and "sessions" says how many there may be at a time; 64 when absent.

As a module of Azure IoT Edge, which is known by IOTEDGE_WORKLOADURI and the variables beside it, or by EdgeHubConnectionString, it follows the module's twin
as well: the desired property virtualDevices holds devices by name, which change those of the environment or come on top, at once; the reported one says of
each whether it is connected, how many sessions it has, and what is wrong. ISTHMUS_VIRTUAL_DEVICES_TWIN=off leaves the twin alone.`,
		Example: `  ISTHMUS_VIRTUAL_DEVICE_PRESS_4='{"connectionString":"HostName=…","streams":{"ssh":"127.0.0.1:22"}}' isthmus virtual-devices`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dial, err := transport.DialProxy(proxyURL(proxy), proxy == "")
			if err != nil {
				return err
			}
			return p.run(c.Context(), func(ctx context.Context, log *slog.Logger, _ *prometheus.Registry) error {
				return virtualdevice.Run(ctx, virtualdevice.Config{Dial: dial}, w.environ(), log, w.clock)
			})
		},
	}
	p.addLog(c)
	c.Flags().StringVar(&proxy, "proxy", "", "`URL` of an HTTP proxy to the hub; HTTPS_PROXY when absent (the place for one with a password), none for none")
	return c
}

// proxyURL is a flag's text as DialProxy has it.
func proxyURL(text string) string {
	if text == agent.NoProxy {
		return ""
	}
	return text
}
