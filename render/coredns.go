package render

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/plan"
)

// CoreDNS writes server blocks for a Corefile, and a zone file for each zone in Records mode. dir is where the zone files will lie.
func CoreDNS(s Site, mode Mode, dir string) (Output, error) {
	if err := s.check(mode); err != nil {
		return Output{}, err
	}
	var out Output
	var b strings.Builder
	var files []File
	block := func(domain string, lines ...string) {
		fmt.Fprintf(&b, "%s {\n    acl {\n        allow net %s\n        block\n    }\n", domain, coreClients(s.Clients))
		for _, l := range lines {
			fmt.Fprintf(&b, "    %s\n", l)
		}
		b.WriteString("    errors\n}\n")
	}
	if mode == Forward {
		for _, d := range s.domains() {
			block(d, "forward . "+coreServers(s.Resolvers, "")+" {\n        policy sequential\n    }")
		}
	} else {
		s.primaries(&out, func(zone string, names []plan.Name) {
			file := "db." + zone
			block(zone, fmt.Sprintf("file %s/%s", strings.TrimSuffix(dir, "/"), file))
			files = append(files, File{Name: file, Body: []byte(zoneFile(zone, names))})
		})
		for _, f := range s.Forward {
			if f.Exact {
				out.note("the rule %s is for %s alone; CoreDNS also forwards the names under it", f.Rule, f.Domain)
			}
			if f.Transport == "https" {
				out.note("the rule %s asks over https, which CoreDNS cannot: it is left out", f.Rule)
				continue
			}
			tail := " {\n        policy sequential\n"
			scheme := ""
			if f.Transport == "tls" {
				scheme = "tls://"
				tail += "        tls_servername " + f.TLSName + "\n"
			}
			block(f.Domain, "forward . "+coreServers(f.Targets, scheme)+tail+"    }")
		}
		out.note("addresses are written down as they are now: render again when an endpoint comes or goes")
	}
	head := fmt.Sprintf("# Private names of %s. Import this file from the Corefile.\n%s", s.Network, out.comments("#"))
	out.add("Corefile.isthmus", head+b.String())
	out.Files = append(out.Files, files...)
	return out, nil
}

func coreServers(list []netip.AddrPort, scheme string) string {
	parts := make([]string, len(list))
	for i, a := range list {
		parts[i] = scheme + a.String()
	}
	return strings.Join(parts, " ")
}

func coreClients(list []netip.Prefix) string {
	if len(list) == 0 {
		list = privateRanges()
	}
	parts := make([]string, len(list))
	for i, p := range list {
		parts[i] = p.String()
	}
	return strings.Join(parts, " ")
}
