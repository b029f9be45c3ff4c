package main

import (
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/render"
	"github.com/isthmus-io/isthmus/resource"
)

func newRender(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "render",
		Short: "Write what another program needs to stand in: HAProxy, BIND, Unbound, dnsmasq, CoreDNS, Docker, hosts",
		Long: `Write configuration for other programs: for a site that keeps its own DNS server, or its own proxy. Without --out everything goes to standard output.
What the other program cannot do is said in comments at the top and on standard error.`,
		Example: `  isthmus render bind9 --network ot/plant-7 --out /etc/bind
  isthmus render haproxy --gateway ot/ot-cloud/front --out /etc/haproxy`,
	}
	for _, p := range []struct {
		name, short string
		render      func(s render.Site, m render.Mode, dir string) (render.Output, error)
		only        render.Mode
	}{
		{"bind9", "Zones and forwarders for BIND 9", render.BIND9, ""},
		{"unbound", "Local zones and forwarders for Unbound", func(s render.Site, m render.Mode, _ string) (render.Output, error) { return render.Unbound(s, m) }, ""},
		{"dnsmasq", "Records and servers for dnsmasq", func(s render.Site, m render.Mode, _ string) (render.Output, error) { return render.Dnsmasq(s, m) }, ""},
		{"coredns", "Server blocks for CoreDNS", render.CoreDNS, ""},
		{"docker", "DNS or extra hosts for containers, which do not read the host's hosts file", func(s render.Site, m render.Mode, _ string) (render.Output, error) { return render.Docker(s, m) }, ""},
		{"hosts", "Lines for a hosts file", func(s render.Site, _ render.Mode, _ string) (render.Output, error) { return render.Hosts(s) }, render.Records},
	} {
		c.AddCommand(newRenderDNS(w, p.name, p.short, p.only, p.render))
	}
	c.AddCommand(newRenderHAProxy(w))
	return c
}

// rendered is where an output goes.
type rendered struct {
	w   *world
	dir string
}

func (r *rendered) addTo(c *cobra.Command) {
	c.Flags().StringVar(&r.dir, "out", "", "`DIR` to write the files to, instead of standard output")
}

// write leaves a file alone that is as it should be, so that a reload can depend on a change.
func (r *rendered) write(out render.Output) error {
	for _, n := range out.Notes {
		r.w.note("%s", n)
	}
	if r.dir != "" {
		if err := os.MkdirAll(r.dir, 0o755); err != nil { //nolint:gosec // the other program reads it under its own user
			return fault.Wrap("isthmus.render", fault.Invalid, err, "the directory "+r.dir+" cannot be made: "+err.Error())
		}
	}
	for i, f := range out.Files {
		if r.dir == "" {
			if len(out.Files) > 1 {
				if i > 0 {
					r.w.printf("\n")
				}
				r.w.printf("### %s\n", f.Name)
			}
			r.w.printf("%s", f.Body)
			continue
		}
		path := filepath.Join(r.dir, f.Name)
		if have, err := os.ReadFile(path); err == nil && string(have) == string(f.Body) {
			r.w.printf("%s unchanged\n", path)
			continue
		}
		temporary := path + ".new"
		err := os.WriteFile(temporary, f.Body, 0o644) //nolint:gosec // the other program reads it under its own user, and no secret is in it
		if err == nil {
			err = os.Rename(temporary, path)
		}
		if err != nil {
			return fault.Wrap("isthmus.render", fault.Invalid, err, "cannot write "+path+": "+err.Error())
		}
		r.w.printf("%s written\n", path)
	}
	return nil
}

func newRenderDNS(w *world, name, short string, only render.Mode, f func(render.Site, render.Mode, string) (render.Output, error)) *cobra.Command {
	var (
		network, mode string
		resolvers     []string
		dir           string
		to            = rendered{w: w}
	)
	c := &cobra.Command{
		Use: name + " --network TENANT/NETWORK", Short: short,
		Example: "  isthmus render " + name + " --network ot/plant-7",
		Args:    cobra.NoArgs,
	}
	n := addConnection(w, c)
	c.Flags().StringVar(&network, "network", "", "`TENANT/NETWORK` whose names are wanted")
	completeFlag(n, c, "network", resource.KindNetwork)
	to.addTo(c)
	if only == "" {
		c.Flags().StringVar(&mode, "mode", "", "`MODE`: forward sends private names to the network's resolvers, which know every change at once; records writes addresses down as they are now. forward when a resolver is known")
		_ = c.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{string(render.Forward), string(render.Records)}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
		c.Flags().StringSliceVar(&resolvers, "resolver", nil, "`ADDRESS` of the network's resolver, instead of those its agents reported")
	}
	if name == "bind9" || name == "coredns" {
		c.Flags().StringVar(&dir, "dir", map[string]string{"bind9": "/etc/bind", "coredns": "/etc/coredns"}[name], "`DIR` in which the zone files will lie")
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if network == "" {
			return usagef("--network is missing").advise("isthmus render %s --network TENANT/NETWORK", name)
		}
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		key, err := parseName(resource.KindNetwork, network, s.tenant)
		if err != nil {
			return err
		}
		done := s.wait()
		got, err := s.NetworkNames(c.Context(), key)
		done()
		if err != nil {
			return err
		}
		site := render.Site{
			Network: got.Network, Names: got.Names, Zones: got.Zones, Redirect: got.Redirect, Forward: got.Forward,
			Upstreams: got.Upstreams, Clients: got.Clients, Resolvers: got.Resolvers,
		}
		if len(resolvers) > 0 {
			site.Resolvers = nil
		}
		for _, r := range resolvers {
			at, err := resource.ParseUpstream(r)
			if err != nil {
				return err
			}
			site.Resolvers = append(site.Resolvers, at)
		}
		site.Resolvers = dialable(site.Resolvers)
		as := render.Mode(mode)
		switch {
		case only != "":
			as = only
		case as == "" && len(site.Resolvers) > 0:
			as = render.Forward
		case as == "":
			as = render.Records
		}
		if to.dir != "" && !c.Flags().Changed("dir") {
			if dir, err = filepath.Abs(to.dir); err != nil {
				return err
			}
		}
		out, err := f(site, as, dir)
		if err != nil {
			return err
		}
		return to.write(out)
	}
	return c
}

// dialable leaves out what an agent reported and nobody else can ask: its loopback.
func dialable(list []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range list {
		if !a.Addr().IsLoopback() && !a.Addr().IsUnspecified() || len(list) == 1 {
			out = append(out, a)
		}
	}
	return out
}

func newRenderHAProxy(w *world) *cobra.Command {
	var (
		gateway, dir string
		to           = rendered{w: w}
	)
	c := &cobra.Command{
		Use:   "haproxy --gateway TENANT/NETWORK/NAME",
		Short: "An HAProxy configuration with the same decisions as a gateway",
		Long: `Write an HAProxy configuration (2.6 or later) that lets the same sources in to the same names on the same ports as a gateway does, and leads them to
the same targets. Allowlists become map files. Private endpoints are reached at the address an agent holds for them.`,
		Example: "  isthmus render haproxy --gateway ot/ot-cloud/front --out /etc/haproxy",
		Args:    cobra.NoArgs,
	}
	n := addConnection(w, c)
	c.Flags().StringVar(&gateway, "gateway", "", "`TENANT/NETWORK/NAME` of the gateway")
	completeFlag(n, c, "gateway", resource.KindGateway)
	c.Flags().StringVar(&dir, "dir", "/etc/haproxy", "`DIR` in which the map files will lie")
	to.addTo(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if gateway == "" {
			return usagef("--gateway is missing").advise("isthmus render haproxy --gateway TENANT/NETWORK/NAME")
		}
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		key, err := parseName(resource.KindGateway, gateway, s.tenant)
		if err != nil {
			return err
		}
		done := s.wait()
		got, err := s.GatewayOutline(c.Context(), key)
		done()
		if err != nil {
			return err
		}
		if to.dir != "" && !c.Flags().Changed("dir") {
			if dir, err = filepath.Abs(to.dir); err != nil {
				return err
			}
		}
		out, err := render.HAProxy(got.Gateway, render.HAProxyOptions{Dir: dir, Now: w.clock.Now(), Address: got.Addresses})
		if err != nil {
			return err
		}
		return to.write(out)
	}
	return c
}
