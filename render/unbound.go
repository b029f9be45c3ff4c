package render

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/plan"
)

// Unbound writes a file for unbound.conf.d.
func Unbound(s Site, mode Mode) (Output, error) {
	if err := s.check(mode); err != nil {
		return Output{}, err
	}
	var out Output
	var server, forward strings.Builder
	for _, d := range s.domains() {
		// Private addresses in answers are taken out as rebinding, and unsigned answers refused below a signed zone, unless told.
		fmt.Fprintf(&server, "    private-domain: %q\n    domain-insecure: %q\n", d+".", d+".")
	}
	if mode == Forward {
		for _, d := range s.domains() {
			unboundForward(&forward, d, s.Resolvers, "")
		}
	} else {
		zone := func(name, kind string, names []plan.Name) {
			fmt.Fprintf(&server, "    local-zone: %q %s\n", name+".", kind)
			for _, n := range names {
				if strings.HasPrefix(n.Name, "*.") {
					out.note("%s is left out: Unbound has no wildcard in local data", n.Name)
					continue
				}
				for _, rr := range recordsOf(s.flatten(n)) { // Unbound does not follow a CNAME in local data
					fmt.Fprintf(&server, "    local-data: '%s. %d IN %s'\n", n.Name, n.TTL, strings.ReplaceAll(strings.ReplaceAll(rr, "\t", " "), "'", "\\039"))
				}
			}
		}
		for _, n := range s.loose() {
			if !strings.HasPrefix(n.Name, "*.") {
				zone(n.Name, "static", []plan.Name{n})
			}
		}
		for _, z := range s.Zones {
			kind := "static"
			if slices.Contains(s.Redirect, z) {
				kind = "transparent"
			}
			zone(z, kind, s.inside(z))
		}
		for _, f := range s.Forward {
			if f.Exact {
				out.note("the rule %s is for %s alone; Unbound also forwards the names under it", f.Rule, f.Domain)
			}
			if f.Transport == "https" {
				out.note("the rule %s asks over https, which Unbound cannot: it is left out", f.Rule)
				continue
			}
			tls := ""
			if f.Transport == "tls" {
				tls = f.TLSName
			}
			unboundForward(&forward, f.Domain, f.Targets, tls)
		}
		out.note("addresses are written down as they are now: render again when an endpoint comes or goes")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Private names of %s. Put this file into unbound.conf.d.\n%sserver:\n", s.Network, out.comments("#"))
	clients := s.Clients
	if len(clients) == 0 {
		clients = privateRanges()
	}
	for _, c := range clients {
		fmt.Fprintf(&b, "    access-control: %s allow\n", c)
	}
	b.WriteString(server.String())
	b.WriteString(forward.String())
	out.add("isthmus.conf", b.String())
	return out, nil
}

func unboundForward(b *strings.Builder, domain string, servers []netip.AddrPort, tlsName string) {
	if domain != "." {
		domain += "."
	}
	fmt.Fprintf(b, "forward-zone:\n    name: %q\n", domain)
	for _, a := range servers {
		if tlsName != "" {
			fmt.Fprintf(b, "    forward-addr: %s@%d#%s\n", a.Addr(), a.Port(), tlsName)
			continue
		}
		fmt.Fprintf(b, "    forward-addr: %s@%d\n", a.Addr(), a.Port())
	}
	if tlsName != "" {
		b.WriteString("    forward-tls-upstream: yes\n")
	}
}

// privateRanges are who may ask where nobody says otherwise.
func privateRanges() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
