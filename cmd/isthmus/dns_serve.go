package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/node"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver"
	"github.com/isthmus-io/isthmus/resolver/zonefile"
	"github.com/isthmus-io/isthmus/resource"
)

// dnsFiles is what a resolver without a control plane is told.
type dnsFiles struct {
	w         *world
	manifests []string
	zones     []string
	network   string
	upstreams []string
	clients   []string
}

func newDNSServe(w *world) *cobra.Command {
	p := &process{w: w}
	files := dnsFiles{w: w}
	var cfg node.DNSConfig
	var secure dnsSecure
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer names from files, without a control plane",
		Long: `Answer names from manifests (Network, Zone, RecordSet, Ruleset) and zone files, over UDP and TCP. An agent does the same for its network by itself
(isthmus agent run --dns). SIGHUP reads the files again; a file with an error changes nothing and the log says why.`,
		Example: `  isthmus dns serve --listen 10.7.0.2:53 --config dns.yaml --network ot/plant-7
  isthmus dns serve --listen 127.0.0.1:5353 --zone-file corp.example=db.corp --upstream 192.168.1.1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := secure.apply(&cfg.Resolver); err != nil {
				return err
			}
			return p.run(c.Context(), func(ctx context.Context, log *slog.Logger, reg *prometheus.Registry) error {
				again, stop := reloads()
				defer stop()
				cfg.Reload, cfg.Load = again, files.view
				return node.DNS(ctx, cfg, log, w.clock, reg)
			})
		},
	}
	p.addLog(c)
	f := c.Flags()
	f.StringSliceVar(&cfg.Resolver.Listen, "listen", []string{"127.0.0.1:5353"}, "`HOST:PORT` to answer on, UDP and TCP")
	secure.addTo(c, "")
	f.IntVar(&cfg.Resolver.RatePerSource, "rate-per-source", 5000, "`N` queries a second are answered over UDP to one IPv4 address or IPv6 /56, twice as many at once; -1 is no limit")
	f.BoolVar(&cfg.Resolver.LimitLoopback, "limit-loopback", false, "hold addresses of this machine's loopback to --rate-per-source as well")
	f.StringSliceVar(&files.manifests, "config", nil, "`FILE` or directory with manifests")
	f.StringSliceVar(&files.zones, "zone-file", nil, "`ZONE=FILE`: a zone and its zone file")
	f.StringVar(&files.network, "network", "", "`TENANT/NAME` of the network to answer for, where the manifests hold several")
	f.StringSliceVar(&files.upstreams, "upstream", nil, "`ADDRESS` asked for every other name, instead of the network's upstreams")
	f.StringSliceVar(&files.clients, "client", nil, "`CIDR` that may ask, instead of the network's clients; private addresses when absent")
	return c
}

func (d *dnsFiles) view() (resolver.View, error) {
	var objects []resource.Object
	if len(d.manifests) > 0 {
		set, err := loadManifests(d.w, d.manifests)
		if err != nil {
			return resolver.View{}, err
		}
		objects = set.Objects()
	}
	for _, o := range objects {
		if err := o.Validate(); err != nil {
			return resolver.View{}, err
		}
	}
	v, err := node.DNSView(objects, d.network)
	if err != nil {
		return resolver.View{}, err
	}
	for _, z := range d.zones {
		zone, file, ok := strings.Cut(z, "=")
		if !ok {
			return resolver.View{}, usagef("--zone-file %q is not ZONE=FILE", z).advise("such as corp.example=db.corp")
		}
		got, err := readZone(zone, file)
		if err != nil {
			return resolver.View{}, err
		}
		v.Zones = append(v.Zones, zone)
		for _, s := range got.Sets {
			v.Names = append(v.Names, plan.NameOf(s))
		}
	}
	if len(d.upstreams) > 0 {
		v.Upstreams = nil
	}
	for _, u := range d.upstreams {
		at, err := resource.ParseUpstream(u)
		if err != nil {
			return resolver.View{}, err
		}
		v.Upstreams = append(v.Upstreams, at)
	}
	if len(d.clients) > 0 {
		v.Clients = nil
	}
	for _, s := range d.clients {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return resolver.View{}, usagef("--client %q is no address range", s).advise("such as 10.7.0.0/16")
		}
		v.Clients = append(v.Clients, p.Masked())
	}
	return v, nil
}

func readZone(zone, file string) (zonefile.Result, error) {
	f, err := os.Open(file)
	if err != nil {
		return zonefile.Result{}, fault.Wrap("isthmus.dns", fault.Invalid, err, fmt.Sprintf("the zone file cannot be read: %v", err))
	}
	defer f.Close()
	return zonefile.Read(strings.ToLower(strings.TrimSuffix(zone, ".")), file, f)
}
