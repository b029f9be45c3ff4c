package resource

import (
	"net/netip"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// Bounds of a ruleset (Azure DNS Private Resolver: limits).
const (
	MaxForwardingRules = 1000
	MaxRuleTargets     = 6
)

// Ruleset holds DNS forwarding rules for the networks it is linked to. A network has at most one.
type Ruleset struct {
	Header
	Spec   RulesetSpec   `json:"spec"`
	Status RulesetStatus `json:"status,omitzero"`
}

// RulesetSpec lists the rules. Of the enabled rules whose domain holds a name the longest decides; private zones and endpoints' names come
// before any rule, the network's upstreams after.
type RulesetSpec struct {
	Networks []string         `json:"networks,omitempty" doc:"networks of the same tenant whose resolvers follow the rules" example:"[\"plant-7\"]"`
	Rules    []ForwardingRule `json:"rules,omitempty" doc:"the longest domain that holds a name decides"`
}

// ForwardingRule sends the names under one domain to servers.
type ForwardingRule struct {
	Name   string `json:"name" doc:"unique in the ruleset" example:"hub-of-fabrikam"`
	Domain string `json:"domain" doc:"names at and under it are forwarded; . is every name" example:"azure-devices.net"`
	// Exact narrows the rule to the one name, so that two tenants under one public suffix can be told apart.
	Exact bool `json:"exact,omitempty" doc:"only for the name itself, not for names under it"`
	// Targets are tried in order; one that fails is passed over for a while, doubling up to 30 minutes.
	Targets   []string     `json:"targets" doc:"1 to 6 servers in order of preference, as IP or IP:port" example:"[\"10.20.0.4:53\"]"`
	Transport DNSTransport `json:"transport,omitempty" enum:"udp,tcp,tls,https" doc:"how the targets are asked; udp when absent"`
	TLSName   string       `json:"tlsName,omitempty" doc:"the name the targets' certificate must carry, for tls and https" example:"dns.example.net"`
	State     RuleState    `json:"state,omitempty" enum:"Enabled,Disabled" doc:"Enabled when absent; a disabled rule is passed over"`
}

// DNSTransport is how a server is asked.
type DNSTransport string

const (
	DNSOverUDP   DNSTransport = "udp" // TCP when an answer does not fit; also the meaning of an absent value
	DNSOverTCP   DNSTransport = "tcp"
	DNSOverTLS   DNSTransport = "tls"   // RFC 7858, port 853
	DNSOverHTTPS DNSTransport = "https" // RFC 8484, port 443, path /dns-query
)

// DefaultPort is the port of a target that names none.
func (t DNSTransport) DefaultPort() uint16 {
	switch t {
	case DNSOverTLS:
		return 853
	case DNSOverHTTPS:
		return 443
	case DNSOverUDP, DNSOverTCP:
	}
	return 53
}

// RuleState turns a rule on and off.
type RuleState string

const (
	RuleEnabled  RuleState = "Enabled" // also the meaning of an absent value
	RuleDisabled RuleState = "Disabled"
)

// RulesetStatus counts the rules.
type RulesetStatus struct {
	Rules int `json:"rules" doc:"rules in the set"`
}

func (r *Ruleset) SpecAndStatus() (any, any) { return &r.Spec, &r.Status }

// azureWire is the address of Azure's own resolver inside a virtual network, which answers nobody outside; Azure refuses it as a target.
var azureWire = netip.AddrFrom4([4]byte{168, 63, 129, 16})

// Validate checks every rule. Whether a target leads back to a linked network is the control plane's to say.
func (r *Ruleset) Validate() error {
	op := "resource.Ruleset.Validate"
	if err := r.validate(); err != nil {
		return err
	}
	for _, n := range r.Spec.Networks {
		if err := ValidateName(n); err != nil {
			return within(op, "spec.networks", err)
		}
	}
	if len(r.Spec.Rules) > MaxForwardingRules {
		return fault.Newf(op, fault.TooLarge, "spec.rules has %d rules", len(r.Spec.Rules)).Advise("a ruleset takes %d", MaxForwardingRules)
	}
	type claim struct {
		domain string
		exact  bool
	}
	names, domains := map[string]bool{}, map[claim]string{}
	for i := range r.Spec.Rules {
		rule := &r.Spec.Rules[i]
		if err := rule.validate(op); err != nil {
			return err
		}
		if names[rule.Name] {
			return fault.Newf(op, fault.Invalid, "spec.rules has %q twice", rule.Name).Advise("give each rule its own name")
		}
		names[rule.Name] = true
		c := claim{rule.Suffix(), rule.Exact}
		if other, twice := domains[c]; twice {
			return fault.Newf(op, fault.Invalid, "the rules %q and %q are both for %s", other, rule.Name, rule.Domain).Advise("put their targets into one rule; they are tried in order")
		}
		domains[c] = rule.Name
	}
	return nil
}

func (f *ForwardingRule) validate(op string) error {
	if err := ValidateName(f.Name); err != nil {
		return within(op, "spec.rules.name", err)
	}
	where := "the rule " + f.Name
	if f.Domain != "." {
		if err := ValidateDomain(f.Suffix()); err != nil {
			return within(op, where+": domain", err)
		}
		if n := strings.Count(f.Suffix(), ".") + 1; n > 34 {
			return fault.Newf(op, fault.Invalid, "%s: the domain has %d labels", where, n).Advise("a rule takes 34")
		}
	} else if f.Exact {
		return fault.Newf(op, fault.Invalid, "%s is exact, and its domain is the root", where).Advise("take exact out: . stands for every name")
	}
	if len(f.Targets) == 0 || len(f.Targets) > MaxRuleTargets {
		return fault.Newf(op, fault.Invalid, "%s has %d targets", where, len(f.Targets)).Advise("give 1 to %d servers as IP or IP:port", MaxRuleTargets)
	}
	switch f.Transport {
	case "", DNSOverUDP, DNSOverTCP:
		if f.TLSName != "" {
			return fault.Newf(op, fault.Invalid, "%s has a tlsName, and its transport is not tls or https", where).Advise("take it out, or set the transport")
		}
	case DNSOverTLS, DNSOverHTTPS:
		if f.TLSName == "" {
			return fault.Newf(op, fault.Invalid, "%s has no tlsName", where).Advise("give the name the servers' certificate carries, or anybody on the way could answer")
		}
		if err := ValidateDomain(f.TLSName); err != nil {
			return within(op, where+": tlsName", err)
		}
	default:
		return fault.Newf(op, fault.Invalid, "%s has the transport %q", where, f.Transport).Advise("write udp, tcp, tls or https")
	}
	seen := map[netip.AddrPort]bool{}
	for _, t := range f.Targets {
		at, err := ParseDNSServer(t, f.Transport)
		switch {
		case err != nil:
			return within(op, where, err)
		case at.Addr() == azureWire:
			return fault.Newf(op, fault.Invalid, "%s: %s cannot be a target", where, at.Addr()).
				Advise("it answers inside an Azure network only; name the inbound endpoint of a private resolver there instead")
		case at.Addr().IsUnspecified() || at.Addr().IsMulticast():
			return fault.Newf(op, fault.Invalid, "%s: %s is the address of no server", where, at.Addr()).Advise("name one server")
		case seen[at]:
			return fault.Newf(op, fault.Invalid, "%s has the target %s twice", where, at).Advise("give each target once")
		}
		seen[at] = true
	}
	switch f.State {
	case "", RuleEnabled, RuleDisabled:
	default:
		return fault.Newf(op, fault.Invalid, "%s has the state %q", where, f.State).Advise("write Enabled or Disabled")
	}
	return nil
}

// Suffix is the domain without its trailing dot, in lower case; "." stays.
func (f *ForwardingRule) Suffix() string {
	if f.Domain == "." {
		return "."
	}
	return strings.ToLower(strings.TrimSuffix(f.Domain, "."))
}

// Servers are the targets of a valid rule as addresses.
func (f *ForwardingRule) Servers() []netip.AddrPort {
	var out []netip.AddrPort
	for _, t := range f.Targets {
		if at, err := ParseDNSServer(t, f.Transport); err == nil {
			out = append(out, at)
		}
	}
	return out
}

// Enabled tells whether the rule is followed.
func (f *ForwardingRule) Enabled() bool { return f.State != RuleDisabled }

// ParseDNSServer reads IP or IP:port, the port being the transport's when absent.
func ParseDNSServer(s string, t DNSTransport) (netip.AddrPort, error) {
	at, err := ParseUpstream(s)
	if err != nil {
		return at, err
	}
	if _, bare := parseAddr(s); bare {
		at = netip.AddrPortFrom(at.Addr(), t.DefaultPort())
	}
	return at, nil
}
