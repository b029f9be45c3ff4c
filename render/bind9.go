package render

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/plan"
)

// BIND9 writes a file to include into named.conf, and a zone file for each zone in Records mode. dir is where the zone files will lie.
func BIND9(s Site, mode Mode, dir string) (Output, error) {
	if err := s.check(mode); err != nil {
		return Output{}, err
	}
	var out Output
	var zones strings.Builder
	var files []File
	if mode == Forward {
		for _, d := range s.domains() {
			fmt.Fprintf(&zones, "zone %q { type forward; forward only; forwarders { %s }; };\n", d, bindServers(s.Resolvers))
		}
	} else {
		s.primaries(&out, func(zone string, names []plan.Name) {
			file := "db." + zone
			fmt.Fprintf(&zones, "zone %q { type primary; file %q; notify no; allow-transfer { none; }; };\n", zone, strings.TrimSuffix(dir, "/")+"/"+file)
			files = append(files, File{Name: file, Body: []byte(zoneFile(zone, names))})
		})
		for _, f := range s.Forward {
			switch {
			case f.Transport != "" && f.Transport != "udp" && f.Transport != "tcp":
				out.note("the rule %s asks over %s, which BIND 9.18 cannot: its names go without encryption here", f.Rule, f.Transport)
			case f.Exact:
				out.note("the rule %s is for %s alone; BIND also forwards the names under it", f.Rule, f.Domain)
			}
			if f.Domain == "." {
				out.note("the rule %s for every name belongs into options: forwarders { %s }; forward only;", f.Rule, bindServers(f.Targets))
				continue
			}
			fmt.Fprintf(&zones, "zone %q { type forward; forward only; forwarders { %s }; };\n", f.Domain, bindServers(f.Targets))
		}
		out.note("addresses are written down as they are now: render again when an endpoint comes or goes")
	}
	out.note("options needs: allow-query and allow-recursion { isthmus_clients; }; and validate-except { %s };", bindNames(s.domains()))
	var b strings.Builder
	fmt.Fprintf(&b, "// Private names of %s. Include this file from named.conf.\n%s", s.Network, out.comments("//"))
	fmt.Fprintf(&b, "acl \"isthmus_clients\" { %s };\n", bindClients(s.Clients))
	b.WriteString(zones.String())
	out.add("named.conf.isthmus", b.String())
	out.Files = append(out.Files, files...)
	return out, nil
}

func bindServers(list []netip.AddrPort) string {
	parts := make([]string, len(list))
	for i, a := range list {
		parts[i] = a.Addr().String()
		if a.Port() != 53 {
			parts[i] += fmt.Sprintf(" port %d", a.Port())
		}
		parts[i] += ";"
	}
	return strings.Join(parts, " ")
}

func bindNames(list []string) string {
	parts := make([]string, len(list))
	for i, n := range list {
		parts[i] = fmt.Sprintf("%q;", n)
	}
	return strings.Join(parts, " ")
}

func bindClients(list []netip.Prefix) string {
	if len(list) == 0 {
		return "localhost; localnets; 10.0.0.0/8; 172.16.0.0/12; 192.168.0.0/16; 100.64.0.0/10; fc00::/7;"
	}
	parts := make([]string, len(list))
	for i, p := range list {
		parts[i] = p.String() + ";"
	}
	return strings.Join(parts, " ")
}
