package main

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/dialer"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// defaultSocks is where SOCKS servers are by custom (RFC 1928 clause 3).
const defaultSocks = "127.0.0.1:1080"

func newSocks(w *world) *cobra.Command {
	var (
		out   output
		local string
	)
	c := &cobra.Command{
		Use:   "socks NETWORK",
		Short: "Let programs of this machine find targets by their names and addresses, over SOCKS5",
		Long: `Serve SOCKS5 to programs of this machine. What they ask for by name, or by a target's own address, is taken into those targets of the site,
[TENANT/]NETWORK, that a grant lets you into and whose policy allows this; everything else is refused. A target press-4-web of the network plant-7
of the tenant ot is known as press-4-web, press-4-web.plant-7, press-4-web.plant-7.ot and press-4-web.plant-7.ot.isthmus.`,
		Example: `  isthmus socks plant-7
  isthmus socks ot/plant-7 --local 127.0.0.1:1081
  curl --socks5-hostname 127.0.0.1:1080 http://press-4-web.plant-7.ot/`,
		Args: cobra.ExactArgs(1),
	}
	a := addAccessWay(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVar(&local, "local", defaultSocks, "`ADDRESS` of this machine to listen at")
	c.ValidArgsFunction = func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.n.completing(c, func(ctx context.Context, s *session) []string { return paths(ctx, s, resource.KindNetwork) })
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		site, err := parseSite(args[0])
		if err != nil {
			return err
		}
		at, err := localAddress(local, false)
		if err != nil {
			return err
		}
		s, err := a.open()
		if err != nil {
			return err
		}
		defer s.Close()
		return s.socks(c.Context(), site, at, out)
	}
	return c
}

// site is a network, or all of that name.
type site struct{ tenant, network string }

func parseSite(text string) (site, error) {
	tenant, network, both := strings.Cut(text, "/")
	if !both {
		tenant, network = "", text
	}
	if resource.ValidateName(network) != nil || both && resource.ValidateName(tenant) != nil {
		return site{}, usagef("%q names no network", text).advise("write [TENANT/]NETWORK, such as plant-7")
	}
	return site{tenant, network}, nil
}

// of tells whether a target is one of the site's.
func (s site) of(g dialer.PassGrant) bool {
	p := strings.Split(g.Target, "/")
	return len(p) == 3 && p[1] == s.network && (s.tenant == "" || p[0] == s.tenant)
}

func (s *accessSession) socks(ctx context.Context, at site, local string, out output) error {
	w := s.w
	done := s.wait()
	p, err := s.dialer.Renew(ctx)
	if k := fault.KindOf(err); k == fault.Unavailable || k == fault.Timeout {
		p, err = s.dialer.Pass(ctx)
	}
	done()
	if err != nil {
		return err
	}
	open, closed := s.reachable(p, at)
	if len(open) == 0 && len(closed) > 0 {
		return fault.Newf("isthmus.socks", fault.Denied, "the policies of %s do not allow SOCKS", strings.Join(closed, ", ")).
			Advise("make each reachable by itself: isthmus connect %s --local 127.0.0.1:0", closed[0])
	}
	if len(open) == 0 {
		return fault.Newf("isthmus.socks", fault.Denied, "no grant lets you into %s now", at.network).
			Advise("ask to be let in: isthmus access request TARGET --reason TEXT; targets: isthmus get targets")
	}
	l, err := listenHere(ctx, local)
	if err != nil {
		return err
	}
	defer l.Close()
	if out.structured() {
		err = out.write(w, struct {
			Address string   `json:"address"`
			Targets []string `json:"targets"`
		}{l.Addr().String(), open})
		if err != nil {
			return err
		}
	} else {
		w.printf("SOCKS5 at %s for %s\n", l.Addr(), strings.Join(open, ", "))
	}
	live := w.beginBlock(s.dialer)
	defer live.end()
	resolve := func(host string, port uint16) (string, error) { return s.resolve(ctx, at, host, port) }
	return s.running(ctx, func(ctx context.Context, d *dialer.Dialer) error {
		return d.Socks(ctx, l, resolve, func(err error) { live.say("%s", fault.Message(err)) })
	})
}

// reachable lists the targets of a site that may be reached this way, and those that may be reached otherwise.
func (s *accessSession) reachable(p dialer.Pass, at site) (open, closed []string) {
	for _, g := range p.Grants {
		if _, now := p.For(g.Target, s.w.clock.Now()); !now || !at.of(g) {
			continue
		}
		list := &closed
		if g.Socks {
			list = &open
		}
		if !slices.Contains(*list, g.Target) {
			*list = append(*list, g.Target)
		}
	}
	slices.Sort(open)
	slices.Sort(closed)
	return open, closed
}

// resolve finds the grant for what a program asks for.
func (s *accessSession) resolve(ctx context.Context, at site, host string, port uint16) (string, error) {
	p, err := s.dialer.Pass(ctx)
	if err != nil {
		return "", err
	}
	for _, g := range p.Grants {
		if !at.of(g) || !g.Socks || !leadsTo(g, host, port) {
			continue
		}
		if best, ok := p.For(g.Target, s.w.clock.Now()); ok {
			return best.ID, nil
		}
	}
	return "", fault.Newf("isthmus.socks", fault.NotFound, "%s is no target of %s that lets you in", net.JoinHostPort(host, strconv.Itoa(int(port))), at.network)
}

// leadsTo tells whether a grant's target is what a host and a port name: by the target's name, or by its own address, where that means
// something on another machine. A port that is not the target's leads nowhere.
func leadsTo(g dialer.PassGrant, host string, port uint16) bool {
	theirs, at, err := net.SplitHostPort(g.Address)
	known := err == nil && !strings.HasPrefix(g.Address, "unix:")
	if known && at != strconv.Itoa(int(port)) {
		return false
	}
	if t, err := parseTarget(host); err == nil && t.login == "" && t.fits(g.Target) {
		return true
	}
	if !known {
		return false
	}
	if a, err := netip.ParseAddr(theirs); err == nil {
		b, err := netip.ParseAddr(host)
		return err == nil && !a.IsLoopback() && a.Unmap() == b.Unmap()
	}
	return theirs != "localhost" && strings.EqualFold(theirs, host)
}
