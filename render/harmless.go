package render

import (
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// What is rendered becomes part of another program's configuration. The control plane has checked all of it when it was written; here it is
// checked once more for what could be anything else than a name once it stands in a file.

// harmless looks at everything but texts, which are quoted where they are written.
func (s *Site) harmless() error {
	if !isWord(s.Network) {
		return cannot("the network", s.Network, nil)
	}
	for i := range s.Names {
		if err := harmlessName(&s.Names[i]); err != nil {
			return err
		}
	}
	for _, z := range s.Zones {
		if err := resource.ValidateDomain(z); err != nil {
			return cannot("the zone", z, err)
		}
	}
	for i := range s.Forward {
		f := &s.Forward[i]
		if !isWord(f.Rule) {
			return cannot("the rule", f.Rule, nil)
		}
		if f.Domain != "." {
			if err := resource.ValidateDomain(f.Domain); err != nil {
				return cannot("the domain", f.Domain, err)
			}
		}
		if f.TLSName != "" {
			if err := resource.ValidateDomain(f.TLSName); err != nil {
				return cannot("the tlsName", f.TLSName, err)
			}
		}
		if err := harmlessServers(f.Targets); err != nil {
			return err
		}
	}
	return harmlessServers(s.Resolvers)
}

func harmlessName(n *plan.Name) error {
	if err := resource.ValidatePattern(n.Name); err != nil {
		return cannot("the name", n.Name, err)
	}
	var targets []string
	if n.CNAME != "" {
		targets = append(targets, n.CNAME)
	}
	for _, m := range n.MX {
		targets = append(targets, m.Exchange)
	}
	for _, v := range n.SRV {
		targets = append(targets, v.Target)
	}
	for _, t := range append(targets, n.PTR...) {
		if err := resource.ValidateDomain(t); err != nil {
			return cannot("the target of "+n.Name, t, err)
		}
	}
	for _, a := range n.AAAA {
		if a.Zone() != "" {
			return cannot("the address of "+n.Name, a.String(), nil)
		}
	}
	for _, c := range n.CAA {
		if !isWord(c.Tag) || oneLine(c.Value) != c.Value {
			return cannot("the CAA record of "+n.Name, c.Tag+" "+c.Value, nil)
		}
	}
	return nil
}

func harmlessServers(list []netip.AddrPort) error {
	for _, a := range list {
		if _, err := resource.ParseUpstream(a.String()); err != nil {
			return cannot("the server", a.String(), err)
		}
	}
	return nil
}

// harmlessGateway is the same for a gateway.
func harmlessGateway(g *plan.Gateway) error {
	words := []string{g.Name}
	var names []string
	for i := range g.Listeners {
		l := &g.Listeners[i]
		words = append(words, l.Name)
		if l.Address.IsValid() {
			if _, _, err := resource.ParseTarget(l.Address.String()); err != nil {
				return cannot("the listener's address", l.Address.String(), err)
			}
		}
	}
	for i := range g.Groups {
		words = append(words, g.Groups[i].Name)
		if name := g.Groups[i].Health.ServerName; name != "" {
			names = append(names, name)
		}
	}
	for i := range g.Routes {
		names = append(names, g.Routes[i].Names...)
		if e := g.Routes[i].Endpoint; e != nil {
			words = append(words, e.Name)
		}
	}
	for i := range g.Allowlists {
		for j := range g.Allowlists[i].Rules {
			names = append(names, g.Allowlists[i].Rules[j].Names...)
		}
	}
	for _, w := range words {
		if !isWord(w) {
			return cannot("the name", w, nil)
		}
	}
	for _, n := range names {
		if err := resource.ValidatePattern(n); err != nil {
			return cannot("the name", n, err)
		}
	}
	return nil
}

// isWord tells whether a text is what names and paths of nouns are made of.
func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./", r)
	})
}

func cannot(what, value string, err error) error {
	return fault.Newf("render.harmless", fault.Invalid, "%s %q cannot be rendered", what, value).Because(err).
		Advise("mend the noun it stands in: isthmus describe shows it")
}
