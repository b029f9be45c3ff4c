package view

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resolver/message"
	"github.com/isthmus-io/isthmus/resource"
)

// Target is who is asked for a name: the servers of a forwarding rule, or the network's upstreams. Within one Table each rule has one
// Target; they are never changed.
type Target struct {
	Rule    string // ot/rules/hub-of-fabrikam; empty for the upstreams
	Domain  string // what the rule is for, without last dot; "." is every name
	Exact   bool   // only that name
	Servers []Server
	Reason  string // for logs: "rule ot/rules/hub-of-fabrikam for azure-devices.net"
	// Key is equal for targets with the same servers asked in the same way, also from table to table: what one answered is as good for
	// the other.
	Key string
}

// Server is one server to ask.
type Server struct {
	Address   netip.AddrPort
	Transport resource.DNSTransport // never empty
	Name      string                // what its certificate must carry, for tls and https
}

func (s Server) String() string {
	if s.Name != "" {
		return fmt.Sprintf("%s %v (%s)", s.Transport, s.Address, s.Name)
	}
	return fmt.Sprintf("%s %v", s.Transport, s.Address)
}

// Targets returns the rules and then the upstreams, if there are any.
func (t *Table) Targets() []*Target {
	out := slices.Clone(t.rules[1:])
	if t.upstream != nil {
		out = append(out, t.upstream)
	}
	return out
}

// Upstreams returns the target for names that no rule holds, or nil.
func (t *Table) Upstreams() *Target { return t.upstream }

// Recursion tells whether any name is forwarded.
func (t *Table) Recursion() bool { return t.upstream != nil || len(t.rules) > 1 }

// rule adds a forwarding rule. One without a server that can be asked stays, and its names fail: were it left out, they would be told
// to servers which they are not for.
func (b *builder) rule(f *plan.Forward) {
	name, err := b.wire(f.Domain)
	if err != nil {
		b.problem("rule %s is left out: its domain %q: %v", f.Rule, f.Domain, err)
		return
	}
	n := &b.nodes[b.node(name)]
	at := &n.suffix
	if f.Exact {
		at = &n.exact
	}
	if *at != 0 {
		b.problem("rule %s is left out: %s is for the same names", f.Rule, b.rules[*at].Rule)
		return
	}
	target := &Target{Rule: f.Rule, Domain: strings.TrimSuffix(message.Text(name), "."), Exact: f.Exact}
	if target.Domain == "" {
		target.Domain = "."
	}
	target.Reason = fmt.Sprintf("rule %s for %s", f.Rule, target.Domain)
	b.servers(target, f.Targets, f.Transport, f.TLSName)
	if len(target.Servers) == 0 {
		b.problem("rule %s has no server that can be asked: its names fail", f.Rule)
	}
	*at = uint32(len(b.rules))
	b.rules = append(b.rules, target)
}

func (b *builder) upstreams(at []netip.AddrPort) {
	target := &Target{Domain: ".", Reason: "foreign name"}
	b.servers(target, at, "", "")
	if len(target.Servers) > 0 {
		b.upstream = target
	}
}

func (b *builder) servers(target *Target, at []netip.AddrPort, transport resource.DNSTransport, name string) {
	if transport == "" {
		transport = resource.DNSOverUDP
	}
	var key strings.Builder
	for _, a := range at {
		if !a.IsValid() || a.Port() == 0 {
			who := "upstream"
			if target.Rule != "" {
				who = "rule " + target.Rule + ": target"
			}
			b.problem("%s %v is left out: it is no address with port", who, a)
			continue
		}
		s := Server{Address: a, Transport: transport, Name: name}
		if !slices.Contains(target.Servers, s) {
			target.Servers = append(target.Servers, s)
			fmt.Fprintf(&key, "%s, ", s)
		}
	}
	target.Key = strings.TrimSuffix(key.String(), ", ")
}
