package render

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Dnsmasq writes a file for dnsmasq.d.
func Dnsmasq(s Site, mode Mode) (Output, error) {
	if err := s.check(mode); err != nil {
		return Output{}, err
	}
	var out Output
	var lines []string
	put := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, d := range s.domains() {
		put("rebind-domain-ok=/%s/", d) // or its answers would be taken for rebinding where that is stopped
	}
	if mode == Forward {
		for _, d := range s.domains() {
			for _, r := range s.Resolvers {
				put("server=/%s/%s", d, dnsmasqServer(r))
			}
		}
	} else {
		for _, z := range s.Zones {
			if !slices.Contains(s.Redirect, z) {
				put("local=/%s/", z)
			}
		}
		for _, n := range s.Names {
			if strings.HasPrefix(n.Name, "*.") {
				for _, a := range s.addresses(n.Name) {
					put("address=/%s/%s", strings.TrimPrefix(n.Name, "*."), a)
				}
				out.note("%s also answers for %s itself: dnsmasq has no other wildcard", n.Name, strings.TrimPrefix(n.Name, "*."))
				continue
			}
			if s.zoneOf(n.Name) == "" {
				put("local=/%s/", n.Name) // other types of the name are answered here too, with nothing
			}
			dnsmasqName(put, &s, n.Name)
			for _, t := range n.TXT {
				put("txt-record=%s,%s", n.Name, quoted(t))
			}
			for _, m := range n.MX {
				put("mx-host=%s,%s,%d", n.Name, m.Exchange, m.Preference)
			}
			for _, v := range n.SRV {
				put("srv-host=%s,%s,%d,%d,%d", n.Name, v.Target, v.Port, v.Priority, v.Weight)
			}
			for _, p := range n.PTR {
				put("ptr-record=%s,%s", n.Name, p)
			}
			for _, c := range n.CAA {
				put("caa-record=%s,%d,%s,%s", n.Name, c.Flags, c.Tag, c.Value)
			}
		}
		for _, f := range s.Forward {
			if f.Transport == "tls" || f.Transport == "https" {
				out.note("the rule %s asks over %s, which dnsmasq cannot: it is left out", f.Rule, f.Transport)
				continue
			}
			if f.Exact {
				out.note("the rule %s is for %s alone; dnsmasq also forwards the names under it", f.Rule, f.Domain)
			}
			for _, a := range f.Targets {
				if f.Domain == "." {
					put("server=%s", dnsmasqServer(a))
					continue
				}
				put("server=/%s/%s", f.Domain, dnsmasqServer(a))
			}
		}
		out.note("addresses are written down as they are now: render again when an endpoint comes or goes")
	}
	out.add("isthmus.conf", fmt.Sprintf("# Private names of %s. Put this file into dnsmasq.d.\n%s%s\n", s.Network, out.comments("#"), strings.Join(lines, "\n")))
	return out, nil
}

// dnsmasqName gives a name the addresses its CNAMEs end at: a CNAME there may only lead to names of the same program.
func dnsmasqName(put func(string, ...any), s *Site, name string) {
	if addrs := s.addresses(name); len(addrs) > 0 {
		parts := make([]string, len(addrs))
		for i, a := range addrs {
			parts[i] = a.String()
		}
		for _, a := range parts {
			put("host-record=%s,%s,%d", name, a, serverTTL/30)
		}
	}
}

func dnsmasqServer(a netip.AddrPort) string {
	if a.Port() == 53 {
		return a.Addr().String()
	}
	return fmt.Sprintf("%s#%d", a.Addr(), a.Port())
}
