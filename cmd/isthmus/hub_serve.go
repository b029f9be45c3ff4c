package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/eventhub/bearer"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/node"
)

func newHubServe(w *world) *cobra.Command {
	p := &process{w: w}
	var cfg node.HubConfig
	var issuerCA string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the hubs that name this process in servedBy",
		Long: `Serve the hubs of this member's plan: every service of type iothub whose spec.servedBy is this process. Devices come over MQTT or AMQP,
people and programs over HTTPS or AMQP; an unmodified Azure IoT SDK works with both. Services of type dps, eventhubs and blob are served beside them.

Devices, twins and enrollments are kept in SQLite in the data directory, or in the PostgreSQL database that ISTHMUS_HUB_DATABASE names (postgres://...).`,
		Example: "  isthmus hub serve --mqtt :8883 --https :443 --amqp :5671",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Tokens.SignIn.Private = true // whoever runs the process knows where his provider is
			if issuerCA != "" {
				pem, err := os.ReadFile(issuerCA)
				if err != nil {
					return fault.Wrap("isthmus.hub", fault.Invalid, err, "the provider's authority cannot be read: "+err.Error())
				}
				cfg.Tokens.CA = string(pem)
			}
			return p.run(c.Context(), func(ctx context.Context, log *slog.Logger, reg *prometheus.Registry) error {
				cfg.DataDir, cfg.Version, cfg.Database = p.dataDir, versionText(), w.getenv("ISTHMUS_HUB_DATABASE")
				return node.Hub(ctx, cfg, log, w.clock, reg)
			})
		},
	}
	p.addTo(c, "hub")
	f := c.Flags()
	f.StringSliceVar(&cfg.MQTT, "mqtt", []string{":8883"}, "`HOST:PORT` for devices, MQTT over TLS")
	f.StringSliceVar(&cfg.HTTPS, "https", []string{":443"}, "`HOST:PORT` for REST")
	f.StringSliceVar(&cfg.AMQP, "amqp", []string{":5671"}, "`HOST:PORT` for AMQP over TLS: devices, back ends, event hubs")
	f.IntVar(&cfg.DevicePort, "device-port", 0, "`PORT` at which devices find HTTPS, for the addresses of their streams; that of --https when 0")
	f.IntVar(&cfg.Log.Partitions, "partitions", 0, "partitions of a new hub's event log; 4 when 0")
	f.DurationVar(&cfg.Log.Retention.Age, "keep", node.DefaultRetention, "how long events are kept, as a `DURATION`")
	f.Int64Var(&cfg.Log.Retention.Bytes, "keep-bytes", 0, "how many `BYTES` each partition may hold at most; no limit but the disk when 0")
	f.StringVar(&cfg.Files.Blobs.Bucket, "files", "", "`URL` of a bucket for files from devices, such as s3://name?region=eu-central-1; a folder of the data directory when absent")
	f.StringVar(&cfg.Storage.Blobs.Bucket, "storage", "", "`URL` of a bucket for the contents of blob services; a folder of the data directory when absent")
	f.Int64Var(&cfg.Storage.MaxBytes, "max-storage", 0, "how many `BYTES` the blobs of one blob service may have together; 0 leaves it to the disk")
	f.Int64Var(&cfg.Files.Blobs.MaxBlob, "max-file", 16<<30, "how many `BYTES` a file from a device may have at most")
	f.StringVar(&cfg.Tokens.Issuer, "event-hubs-issuer", "", "`URL` of the identity provider whose access tokens open event hubs; none when absent")
	f.StringVar(&cfg.Tokens.Audience, "event-hubs-audience", bearer.Audience, "`AUDIENCE` such tokens are for")
	f.StringVar(&issuerCA, "event-hubs-issuer-ca", "", "`FILE` with the authority of the provider, instead of this machine's")
	f.StringSliceVar(&cfg.Tokens.Names, "event-hubs-namespace", nil, "`NAMES` of the namespaces that take them, such as ot/ot-cloud/lake; all of this process when absent")
	f.StringSliceVar(&cfg.TransferHosts, "transfer-host", nil, "`HOSTS` whose blob containers import and export jobs may reach, such as *.blob.core.windows.net; none but the hub itself when absent")
	f.StringSliceVar(&cfg.Servers, "server", nil, "`HOST:PORT` of the control plane instead of the addresses it joined with")
	f.StringVar(&cfg.Proxy, "proxy", "", "`URL` of an HTTP proxy; HTTPS_PROXY when absent (the place for one with a password), none for none")
	return c
}
