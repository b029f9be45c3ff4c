package render

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// Nothing of a plan becomes a line of its own in another program's file, whatever it holds: it stands in its place, or is refused.
func TestNothingInAPlanBecomesALine(t *testing.T) {
	const evil = "evil-line"
	payloads := []string{"x\n" + evil, "x\r\n" + evil, "x'\n" + evil, "x\"\n" + evil, "x\"; };\n" + evil, "x\x00\n" + evil, "x\\\n" + evil}
	site := func() Site {
		return Site{
			Network: "ot/plant-7", Names: []plan.Name{{Name: "a.corp.example", TTL: 60, A: []netip.Addr{netip.MustParseAddr("10.7.0.4")}}},
			Zones: []string{"corp.example"}, Resolvers: []netip.AddrPort{netip.MustParseAddrPort("10.7.0.2:53")},
			Forward: []plan.Forward{{Rule: "ot/set/r", Domain: "far.example", Targets: []netip.AddrPort{netip.MustParseAddrPort("10.1.0.1:853")}, Transport: "tls", TLSName: "dns.example"}},
		}
	}
	for what, put := range map[string]func(s *Site, evil string){
		"network":   func(s *Site, p string) { s.Network = p },
		"name":      func(s *Site, p string) { s.Names[0].Name = p },
		"cname":     func(s *Site, p string) { s.Names[0].CNAME, s.Names[0].A = p, nil },
		"txt":       func(s *Site, p string) { s.Names[0].TXT = []string{p} },
		"mx":        func(s *Site, p string) { s.Names[0].MX = []resource.MX{{Exchange: p}} },
		"srv":       func(s *Site, p string) { s.Names[0].SRV = []resource.SRV{{Target: p, Port: 1}} },
		"ptr":       func(s *Site, p string) { s.Names[0].PTR = []string{p} },
		"caa":       func(s *Site, p string) { s.Names[0].CAA = []resource.CAA{{Tag: "issue", Value: p}} },
		"caa's tag": func(s *Site, p string) { s.Names[0].CAA = []resource.CAA{{Tag: p, Value: "ca.example"}} },
		"zone":      func(s *Site, p string) { s.Zones[0] = p },
		"rule":      func(s *Site, p string) { s.Forward[0].Rule, s.Forward[0].Exact = p, true },
		"domain":    func(s *Site, p string) { s.Forward[0].Domain = p },
		"tls name":  func(s *Site, p string) { s.Forward[0].TLSName = p },
		"target": func(s *Site, p string) {
			s.Forward[0].Targets[0] = netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(p), 853)
		},
		"resolver": func(s *Site, p string) {
			s.Resolvers[0] = netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(p), 53)
		},
		"address": func(s *Site, p string) { s.Names[0].AAAA = []netip.Addr{netip.MustParseAddr("fe80::1").WithZone(p)} },
	} {
		for _, p := range payloads {
			for _, mode := range []Mode{Forward, Records} {
				s := site()
				put(&s, p)
				for program, render := range map[string]func() (Output, error){
					"bind9": func() (Output, error) { return BIND9(s, mode, "/etc/bind") }, "unbound": func() (Output, error) { return Unbound(s, mode) },
					"dnsmasq": func() (Output, error) { return Dnsmasq(s, mode) }, "coredns": func() (Output, error) { return CoreDNS(s, mode, "/etc/coredns") },
					"docker": func() (Output, error) { return Docker(s, mode) }, "hosts": func() (Output, error) { return Hosts(s) },
				} {
					out, err := render()
					if err == nil {
						noLine(t, program+", "+what, out, evil)
					}
				}
			}
		}
	}
}

func noLine(t *testing.T, what string, out Output, evil string) {
	t.Helper()
	for _, f := range out.Files {
		for line := range strings.Lines(strings.ReplaceAll(string(f.Body), "\r", "\n")) {
			if strings.HasPrefix(strings.TrimLeft(line, " \t\"'"), evil) || strings.Contains(line, "\x00") {
				t.Errorf("%s: %s has a line %q", what, f.Name, line)
			}
		}
		if strings.ContainsAny(f.Name, "/\n\x00") {
			t.Errorf("%s: a file is called %q", what, f.Name)
		}
	}
}

func TestNothingInAGatewayBecomesALine(t *testing.T) {
	const evil = "evil-line"
	p := "x\n" + evil
	gateway := func() plan.Gateway {
		return plan.Gateway{
			Name: "ot/cloud/front", Listeners: []resource.GatewayListener{{Name: "mqtt", Port: 8883}},
			Routes:     []plan.GatewayRoute{{Names: []string{"a.example"}, Group: "g"}, {Names: []string{"b.example"}, Problem: "none"}},
			Groups:     []resource.TargetGroup{{Name: "g", Targets: []string{"10.0.0.1:8883"}, Health: resource.Health{Check: resource.CheckTLS}}},
			Allowlists: []plan.Allowlist{{Name: "ot/cloud/list", Rules: []resource.AllowRule{{Name: "r", Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Names: []string{"a.example"}}}}},
		}
	}
	for what, put := range map[string]func(g *plan.Gateway){
		"name":            func(g *plan.Gateway) { g.Name = p },
		"listener":        func(g *plan.Gateway) { g.Listeners[0].Name = p },
		"address":         func(g *plan.Gateway) { g.Listeners[0].Address = netip.MustParseAddr("fe80::1").WithZone(p) },
		"route":           func(g *plan.Gateway) { g.Routes[0].Names[0] = p },
		"problem":         func(g *plan.Gateway) { g.Routes[1].Problem = p },
		"group":           func(g *plan.Gateway) { g.Groups[0].Name, g.Routes[0].Group = p, p },
		"target":          func(g *plan.Gateway) { g.Groups[0].Targets[0] = p },
		"target's zone":   func(g *plan.Gateway) { g.Groups[0].Targets[0] = "[fe80::1%" + p + "]:1" },
		"the check's SNI": func(g *plan.Gateway) { g.Groups[0].Health.ServerName = p },
		"rule's name":     func(g *plan.Gateway) { g.Allowlists[0].Rules[0].Names[0] = p },
		"an endpoint's name": func(g *plan.Gateway) {
			g.Routes[0] = plan.GatewayRoute{Names: []string{"a.example"}, Endpoint: &plan.GatewayEndpoint{ID: "1", Name: p, Ports: []uint16{8883}}}
		},
	} {
		g := gateway()
		put(&g)
		if out, err := HAProxy(g, HAProxyOptions{Now: time.Now()}); err == nil {
			noLine(t, what, out, evil)
		}
	}
}
