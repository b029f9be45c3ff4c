package node

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver"
	"github.com/isthmus-io/isthmus/resource"
)

// DNSConfig is a resolver by itself, without a control plane.
type DNSConfig struct {
	Resolver resolver.Config
	// Load gives what it is to know; it is called at the start and for each receive from Reload. What fails to load later changes nothing.
	Load   func() (resolver.View, error)
	Reload <-chan struct{}
	Ready  func(*resolver.Resolver)
}

// DNS runs a resolver until ctx ends.
func DNS(ctx context.Context, cfg DNSConfig, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) error {
	v, err := cfg.Load()
	if err != nil {
		return err
	}
	r := resolver.New(cfg.Resolver, log, clk, reg)
	r.Set(v)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.Run(ctx) })
	g.Go(func() error {
		select {
		case <-r.Ready():
			log.Info("the resolver is ready", "address", r.Addr(), "names", len(v.Names), "zones", len(v.Zones))
			if cfg.Ready != nil {
				cfg.Ready(r)
			}
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error { return reload(ctx, cfg.Reload, cfg.Load, r.Set, log) })
	return ended(g.Wait())
}

// reload loads again for each receive and gives what it got to set; what fails to load changes nothing.
func reload[T any](ctx context.Context, again <-chan struct{}, load func() (T, error), set func(T), log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
			reloadOnce(load, set, log)
			debug.FreeOSMemory() // reading takes many times what is kept: 100,000 rules, half a gigabyte
		}
	}
}

func reloadOnce[T any](load func() (T, error), set func(T), log *slog.Logger) {
	v, err := load()
	if err != nil {
		log.Error("nothing was reloaded", "error", fault.Message(err))
		return
	}
	set(v)
	log.Info("reloaded")
}

// DNSView is what the resolver of a network knows by manifests alone: zones linked to it with their record sets, the ruleset and the
// network's own settings. Endpoints need a control plane. network is TENANT/NAME; empty where the objects hold one network or none.
func DNSView(objects []resource.Object, network string) (resolver.View, error) {
	op := "node.DNSView"
	var here *resource.Network
	for _, o := range objects {
		n, ok := o.(*resource.Network)
		if !ok || network != "" && n.Key().Path() != network {
			continue
		}
		if here != nil {
			return resolver.View{}, fault.Newf(op, fault.Invalid, "the manifests hold the networks %s and %s", here.Key().Path(), n.Key().Path()).
				Advise("say which with --network TENANT/NAME")
		}
		here = n
	}
	if here == nil && network != "" {
		return resolver.View{}, fault.Newf(op, fault.NotFound, "the manifests hold no network %s", network).Advise("write TENANT/NAME of one that is there, or leave it out to use every zone")
	}
	linked := func(tenant string, networks []string) bool {
		return here == nil || tenant == here.Metadata.Tenant && slices.Contains(networks, here.Metadata.Name)
	}
	var v resolver.View
	zones := map[string]bool{}
	for _, o := range objects {
		switch o := o.(type) {
		case *resource.Zone:
			var networks []string
			redirect := false
			for _, l := range o.Linked() {
				networks = append(networks, l.Network)
				redirect = redirect || l.ResolutionPolicy == resource.NxDomainRedirect && (here == nil || l.Network == here.Metadata.Name)
			}
			if !linked(o.Metadata.Tenant, networks) {
				continue
			}
			zones[o.Metadata.Tenant+"/"+o.Metadata.Name] = true
			v.Zones = append(v.Zones, o.Metadata.Name)
			if redirect {
				v.Redirect = append(v.Redirect, o.Metadata.Name)
			}
		case *resource.Ruleset:
			if linked(o.Metadata.Tenant, o.Spec.Networks) {
				v.Forward = append(v.Forward, plan.ForwardsOf(o)...)
			}
		}
	}
	for _, o := range objects {
		if r, ok := o.(*resource.RecordSet); ok && zones[r.Metadata.Tenant+"/"+r.Metadata.Zone] {
			v.Names = append(v.Names, plan.NameOf(r))
		}
	}
	if here != nil {
		v.Clients = here.Spec.DNS.Clients
		for _, u := range here.Spec.DNS.Upstreams {
			at, err := resource.ParseUpstream(u)
			if err != nil {
				return resolver.View{}, err
			}
			v.Upstreams = append(v.Upstreams, at)
		}
	}
	return v, nil
}
