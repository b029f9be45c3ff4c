package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Hosts writes lines for a hosts file: every name with an address, as it is now.
func Hosts(s Site) (Output, error) {
	if err := s.check(Records); err != nil {
		return Output{}, err
	}
	var out Output
	var b strings.Builder
	for _, n := range s.Names {
		if strings.HasPrefix(n.Name, "*.") {
			out.note("%s is left out: a hosts file has no wildcards", n.Name)
			continue
		}
		for _, a := range s.addresses(n.Name) {
			fmt.Fprintf(&b, "%s\t%s\n", a, n.Name)
		}
	}
	out.note("containers do not read the host's file: use render docker for them")
	out.note("addresses are written down as they are now: render again when an endpoint comes or goes")
	out.add("hosts.isthmus", fmt.Sprintf("# Private names of %s. Append these lines to /etc/hosts.\n%s%s", s.Network, out.comments("#"), b.String()))
	return out, nil
}

// Docker writes what containers need, which do not read the host's hosts file: the daemon's DNS server (Forward), or extra hosts
// for Compose and for a module's createOptions (Records).
func Docker(s Site, mode Mode) (Output, error) {
	if err := s.check(mode); err != nil {
		return Output{}, err
	}
	var out Output
	if mode == Forward {
		servers := []string{}
		for _, r := range s.Resolvers {
			if r.Port() != 53 {
				out.note("%s is left out: Docker asks on port 53 only", r)
				continue
			}
			servers = append(servers, r.Addr().String())
		}
		out.note("the file is the whole of a new /etc/docker/daemon.json, or its dns goes into the one there is; restart Docker after it")
		return out, out.addJSON("daemon.json", map[string]any{"dns": servers})
	}
	hosts := []string{}
	for _, n := range s.Names {
		if strings.HasPrefix(n.Name, "*.") {
			out.note("%s is left out: extra hosts have no wildcards", n.Name)
			continue
		}
		for _, a := range s.addresses(n.Name) {
			hosts = append(hosts, n.Name+":"+a.String())
		}
	}
	slices.Sort(hosts)
	out.note("addresses are written down as they are now: render again when an endpoint comes or goes")
	out.note("create-options.json goes into createOptions of an IoT Edge module, edgeAgent among them; extra-hosts.txt holds the same for docker run --add-host and for extra_hosts of Compose")
	out.add("extra-hosts.txt", strings.Join(hosts, "\n")+"\n")
	return out, out.addJSON("create-options.json", map[string]any{"HostConfig": map[string]any{"ExtraHosts": hosts}})
}

func (o *Output) addJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	o.add(name, string(b)+"\n")
	return nil
}
