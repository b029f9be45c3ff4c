package resource_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// refusal is a change of a valid noun and the words it is refused with, in message or advice; empty words: it is valid.
type refusal[T any] struct {
	name   string
	change func(T)
	want   string
}

func refuse[T resource.Object](t *testing.T, valid func() T, cases []refusal[T]) {
	t.Helper()
	if err := valid().Validate(); err != nil {
		t.Fatalf("what is valid is refused: %v", err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := valid()
			c.change(o)
			err := o.Validate()
			if c.want == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("taken; want %q", c.want)
			}
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.TooLarge || fault.Next(err) == "" || !strings.Contains(fault.Message(err)+" > "+fault.Next(err), c.want) {
				t.Errorf("%s > %s\nwant %q and advice", fault.Message(err), fault.Next(err), c.want)
			}
		})
	}
}

func fresh[T resource.Object](k resource.Kind, m resource.Meta) T {
	o, _ := resource.New(k)
	o.Head().Metadata = m
	return o.(T)
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func validGateway() *resource.Gateway {
	g := fresh[*resource.Gateway](resource.KindGateway, resource.Meta{Tenant: "ot", Network: "ot-cloud", Name: "front"})
	g.Spec = resource.GatewaySpec{
		Agents: []string{"gw-1"},
		Listeners: []resource.GatewayListener{
			{Name: "mqtt", Port: 8883, TrustProxies: prefixes("10.1.0.0/24", "2001:db8::/32")},
			{Name: "raw", Address: netip.MustParseAddr("203.0.113.1"), Port: 8883, Protocol: resource.GatewayTCP},
		},
		Routes: []resource.GatewayRoute{
			{Names: []string{"contoso.azure-devices.net", "*.example.net"}, Listeners: []string{"mqtt"}, Endpoint: "contoso"},
			{Names: []string{"own.example.net"}, Service: "own"},
			{Group: "rest"},
		},
		Groups: []resource.TargetGroup{{Name: "rest", Targets: []string{"10.0.0.1:8883", "[2001:db8::1]:443", "2001:db8::2", "host.example.net"}}},
	}
	return g
}

func TestGatewayRules(t *testing.T) {
	type g = *resource.Gateway
	route := func(f func(r *resource.GatewayRoute)) func(g) { return func(o g) { f(&o.Spec.Routes[0]) } }
	group := func(f func(r *resource.TargetGroup)) func(g) { return func(o g) { f(&o.Spec.Groups[0]) } }
	listener := func(f func(r *resource.GatewayListener)) func(g) { return func(o g) { f(&o.Spec.Listeners[0]) } }
	targets := func(s ...string) func(g) { return group(func(t *resource.TargetGroup) { t.Targets = s }) }
	var many []string
	for i := range 257 {
		many = append(many, fmt.Sprintf("host-%d.example", i))
	}
	cases := []refusal[g]{
		{"no network", func(o g) { o.Metadata.Network = "" }, "metadata.network is missing"},
		{"agent's name", func(o g) { o.Spec.Agents = []string{"GW"} }, `spec.agents: "GW" is not a name`},
		{"no listeners", func(o g) { o.Spec.Listeners, o.Spec.Routes = nil, nil }, "spec.listeners is empty"},
		{"too many listeners", func(o g) { o.Spec.Listeners = make([]resource.GatewayListener, 65) }, "spec.listeners has 65"},
		{"listener without name", listener(func(l *resource.GatewayListener) { l.Name = "" }), "spec.listeners.name"},
		{"listener twice", func(o g) { o.Spec.Listeners[1].Name = "mqtt" }, `spec.listeners has "mqtt" twice`},
		{"listener without port", listener(func(l *resource.GatewayListener) { l.Port = 0 }), `the listener "mqtt" has no port`},
		{"protocol", listener(func(l *resource.GatewayListener) { l.Protocol = "udp" }), `has the protocol "udp" > write tls or tcp`},
		{"proxies with host bits", listener(func(l *resource.GatewayListener) {
			l.TrustProxies = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("10.1.0.1"), 24)}
		}), "10.1.0.1/24 has host bits set > write 10.1.0.0/24"},
		{"proxies of nothing", listener(func(l *resource.GatewayListener) { l.TrustProxies = make([]netip.Prefix, 1) }), "no address range"},
		{"proxies in disguise", listener(func(l *resource.GatewayListener) { l.TrustProxies = prefixes("::ffff:10.1.0.0/120") }), "IPv6 dress"},
		{"one address and port", func(o g) { o.Spec.Listeners[1].Address = netip.Addr{} }, `"mqtt" and "raw" have the same address and port`},
		{"group's name", group(func(t *resource.TargetGroup) { t.Name = "service/x" }), `spec.groups.name: "service/x" is not a name`},
		{"group twice", func(o g) { o.Spec.Groups = append(o.Spec.Groups, o.Spec.Groups[0]) }, `spec.groups has "rest" twice`},
		{"no targets", targets(), `the group "rest" has 0 targets`},
		{"many targets", targets(many...), `the group "rest" has 257 targets`},
		{"target with a scheme", targets("https://x"), `"https://x" is no target > write HOST:PORT`},
		{"target with port 0", targets("x.example:0"), "is no target"},
		{"target with a big port", targets("10.0.0.1:65536"), "is no target"},
		{"target of nothing", targets(""), "is no target"},
		{"target twice", targets("a.example", "a.example"), "has the target a.example twice"},
		{"balance", group(func(t *resource.TargetGroup) { t.Balance = "random" }), `has the balance "random"`},
		{"proxy protocol", group(func(t *resource.TargetGroup) { t.ProxyProtocol = "v3" }), `has the proxyProtocol "v3"`},
		{"health check", group(func(t *resource.TargetGroup) { t.Health.Check = "icmp" }), `has the health check "icmp"`},
		{"health number", group(func(t *resource.TargetGroup) { t.Health.Rise = 101 }), "has a number out of range"},
		{"connect time", group(func(t *resource.TargetGroup) { t.ConnectMillis = -1 }), "has a number out of range"},
		{"server name", group(func(t *resource.TargetGroup) { t.Health.ServerName = "A" }), "health.serverName"},
		{"no place", route(func(r *resource.GatewayRoute) { r.Endpoint = "" }), "spec.routes[0] leads to 0 places"},
		{"two places", route(func(r *resource.GatewayRoute) { r.Group = "rest" }), "spec.routes[0] leads to 2 places"},
		{"place's name", route(func(r *resource.GatewayRoute) { r.Endpoint = "ot/ot-cloud/x" }), `"ot/ot-cloud/x" is not a name`},
		{"no such group", route(func(r *resource.GatewayRoute) { r.Endpoint, r.Group = "", "other" }), `the group "other", which is not there`},
		{"no such listener", route(func(r *resource.GatewayRoute) { r.Listeners = []string{"amqp"} }), `names the listener "amqp", which is not there`},
		{"names without a hello", route(func(r *resource.GatewayRoute) { r.Listeners = []string{"raw"} }), `its listener "raw" is tcp`},
		{"a name twice", func(o g) { o.Spec.Routes[1].Names = []string{"*.example.net"} }, "spec.routes[1] and spec.routes[0] are both for *.example.net"},
		{"two defaults", func(o g) { o.Spec.Routes = append(o.Spec.Routes, resource.GatewayRoute{Service: "own"}) }, "every name no other route has"},
		{"a name of two listeners", func(o g) {
			o.Spec.Routes[1].Names, o.Spec.Routes[1].Listeners = []string{"*.example.net"}, []string{"other"}
			o.Spec.Listeners = append(o.Spec.Listeners, resource.GatewayListener{Name: "other", Port: 1})
		}, ""},
		{"pattern", route(func(r *resource.GatewayRoute) { r.Names = []string{"a.*.example"} }), "spec.routes[0].names"},
		{"pattern in upper case", route(func(r *resource.GatewayRoute) { r.Names = []string{"Contoso.net"} }), "write it in lower case"},
		{"source limit", func(o g) { o.Spec.Limits.Source.PerSecond = -1 }, "spec.limits.source has a number below 0"},
		{"name limit", func(o g) { o.Spec.Limits.Name.BytesPerSecond = -1 }, "spec.limits.name has a number below 0"},
	}
	for field, set := range map[string]func(*resource.GatewayLimits, int){
		"connections": func(l *resource.GatewayLimits, n int) { l.Connections = n }, "helloSeconds": func(l *resource.GatewayLimits, n int) { l.HelloSeconds = n },
		"helloBytes": func(l *resource.GatewayLimits, n int) { l.HelloBytes = n }, "idleSeconds": func(l *resource.GatewayLimits, n int) { l.IdleSeconds = n },
		"drainSeconds": func(l *resource.GatewayLimits, n int) { l.DrainSeconds = n },
	} {
		for _, n := range []int{-1, 100_000_000} {
			cases = append(cases, refusal[g]{fmt.Sprint(field, n), func(o g) { set(&o.Spec.Limits, n) }, fmt.Sprintf("spec.limits.%s is %d", field, n)})
		}
	}
	refuse(t, validGateway, cases)
}

func TestWhoCarries(t *testing.T) {
	o := validGateway()
	for _, c := range []struct {
		agents []string
		agent  string
		role   resource.AgentRole
		want   bool
	}{
		{nil, "a", resource.RoleGateway, true}, {nil, "a", resource.RoleAgent, false}, {nil, "a", resource.RoleHub, false},
		{[]string{"a"}, "a", resource.RoleGateway, true}, {[]string{"a"}, "a", resource.RoleAgent, true}, {[]string{"a"}, "a", resource.RoleHub, false}, {[]string{"a"}, "b", resource.RoleGateway, false},
	} {
		o.Spec.Agents = c.agents
		if got := o.Carries(c.agent, c.role); got != c.want {
			t.Errorf("%v: %s as %s carries it: %t", c.agents, c.agent, c.role, got)
		}
	}
}

func validAllowlist() *resource.Allowlist {
	a := fresh[*resource.Allowlist](resource.KindAllowlist, resource.Meta{Tenant: "ot", Network: "ot-cloud", Name: "fabrikam"})
	a.Spec = resource.AllowlistSpec{Owner: "Fabrikam", Gateways: []string{"front"}, Rules: []resource.AllowRule{
		{Name: "berlin", Sources: prefixes("203.0.113.0/24", "2001:db8::/48"), Ports: []uint16{8883}, Names: []string{"*.example.net"}, Expires: time.Unix(1, 0), Note: "n", Limit: resource.Limit{PerSecond: 1}},
		{Name: "not-him", Action: resource.Deny, Sources: prefixes("203.0.113.7/32")},
	}}
	return a
}

func TestAllowlistRules(t *testing.T) {
	type a = *resource.Allowlist
	rule := func(f func(r *resource.AllowRule)) func(a) { return func(o a) { f(&o.Spec.Rules[0]) } }
	refuse(t, validAllowlist, []refusal[a]{
		{"empty", func(o a) { o.Spec = resource.AllowlistSpec{} }, ""},
		{"no tenant", func(o a) { o.Metadata.Tenant = "" }, "metadata.tenant is missing"},
		{"gateway's name", func(o a) { o.Spec.Gateways = []string{"ot/front"} }, `spec.gateways: "ot/front" is not a name`},
		{"too many", func(o a) { o.Spec.Rules = make([]resource.AllowRule, resource.MaxRules+1) }, "spec.rules has 100001 rules"},
		{"without name", rule(func(r *resource.AllowRule) { r.Name = "" }), `spec.rules.name: "" is not a name`},
		{"twice", rule(func(r *resource.AllowRule) { r.Name = "not-him" }), `spec.rules has "not-him" twice`},
		{"action", rule(func(r *resource.AllowRule) { r.Action = "permit" }), `the rule berlin has the action "permit" > write allow or deny`},
		{"no sources", rule(func(r *resource.AllowRule) { r.Sources = nil }), "the rule berlin has no sources > give at least one range; everybody is 0.0.0.0/0 and ::/0"},
		{"host bits", rule(func(r *resource.AllowRule) {
			r.Sources = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("2001:db8::1"), 64)}
		}), "the rule berlin: 2001:db8::1/64 has host bits set"},
		{"port 0", rule(func(r *resource.AllowRule) { r.Ports = []uint16{0} }), "the rule berlin has a port 0"},
		{"name", rule(func(r *resource.AllowRule) { r.Names = []string{"*"} }), `the rule berlin: "*" is not a host name`},
		{"note", rule(func(r *resource.AllowRule) { r.Note = strings.Repeat("x", 501) }), "has a note of 501 bytes"},
		{"limit", rule(func(r *resource.AllowRule) { r.Limit.Connections = -1 }), "the rule berlin: limit has a number below 0"},
	})
}

func TestAllowRulesAreEqualWhenTheySayTheSame(t *testing.T) {
	base := validAllowlist().Spec.Rules[0]
	same := base
	same.Expires = base.Expires.In(time.FixedZone("x", 3600))
	if !base.Equal(same) {
		t.Error("the same moment in another zone is another rule")
	}
	for name, f := range map[string]func(*resource.AllowRule){
		"name": func(r *resource.AllowRule) { r.Name = "x" }, "action": func(r *resource.AllowRule) { r.Action = resource.Deny },
		"sources": func(r *resource.AllowRule) { r.Sources = r.Sources[:1] }, "ports": func(r *resource.AllowRule) { r.Ports = nil },
		"names": func(r *resource.AllowRule) { r.Names = nil }, "expires": func(r *resource.AllowRule) { r.Expires = time.Time{} },
		"note": func(r *resource.AllowRule) { r.Note = "" }, "limit": func(r *resource.AllowRule) { r.Limit.PerSecond = 2 },
	} {
		other := base
		if f(&other); base.Equal(other) {
			t.Errorf("a change of %s is not seen", name)
		}
	}
	one := validAllowlist()
	one.Metadata.Labels = map[string]string{"a": "b"}
	two := resource.Clone(one)
	two.Metadata.Labels["a"], two.Spec.Rules[0].Sources[0], two.Spec.Gateways[0] = "c", prefixes("10.0.0.0/8")[0], "x"
	if one.Metadata.Labels["a"] != "b" || one.Spec.Rules[0].Sources[0] != prefixes("203.0.113.0/24")[0] || one.Spec.Gateways[0] != "front" {
		t.Error("a copy shares what it holds")
	}
}

func validRuleset() *resource.Ruleset {
	r := fresh[*resource.Ruleset](resource.KindRuleset, resource.Meta{Tenant: "ot", Name: "rules"})
	r.Spec = resource.RulesetSpec{Networks: []string{"plant-7"}, Rules: []resource.ForwardingRule{
		{Name: "fabrikam", Domain: "Fabrikam.Azure-Devices.net.", Exact: true, Targets: []string{"10.20.0.4", "[fd00::1]:5353"}},
		{Name: "all-of-them", Domain: "fabrikam.azure-devices.net", Targets: []string{"10.20.0.4"}, State: resource.RuleDisabled},
		{Name: "rest", Domain: ".", Targets: []string{"192.0.2.1"}, Transport: resource.DNSOverTLS, TLSName: "dns.example.net"},
	}}
	return r
}

func TestRulesetRules(t *testing.T) {
	type s = *resource.Ruleset
	rule := func(f func(r *resource.ForwardingRule)) func(s) { return func(o s) { f(&o.Spec.Rules[0]) } }
	targets := func(list ...string) func(s) { return rule(func(r *resource.ForwardingRule) { r.Targets = list }) }
	refuse(t, validRuleset, []refusal[s]{
		{"empty", func(o s) { o.Spec = resource.RulesetSpec{} }, ""},
		{"a network on it", func(o s) { o.Metadata.Network = "plant-7" }, "metadata.network does not belong to a Ruleset"},
		{"network's name", func(o s) { o.Spec.Networks = []string{"Plant"} }, `spec.networks: "Plant" is not a name`},
		{"too many", func(o s) { o.Spec.Rules = make([]resource.ForwardingRule, 1001) }, "spec.rules has 1001 rules > a ruleset takes 1000"},
		{"without name", rule(func(r *resource.ForwardingRule) { r.Name = "" }), "spec.rules.name"},
		{"twice", rule(func(r *resource.ForwardingRule) { r.Name = "rest" }), `spec.rules has "rest" twice`},
		{"one domain twice", rule(func(r *resource.ForwardingRule) { r.Exact = false }), `"fabrikam" and "all-of-them" are both for`},
		{"domain", rule(func(r *resource.ForwardingRule) { r.Domain = "a b" }), "the rule fabrikam: domain"},
		{"wildcard", rule(func(r *resource.ForwardingRule) { r.Domain = "*.x.net" }), "the rule fabrikam: domain"},
		{"35 labels", rule(func(r *resource.ForwardingRule) { r.Domain = strings.Repeat("a.", 34) + "a" }), "the domain has 35 labels"},
		{"34 labels", rule(func(r *resource.ForwardingRule) { r.Domain = strings.Repeat("a.", 33) + "a." }), ""},
		{"exactly everything", rule(func(r *resource.ForwardingRule) { r.Domain = "." }), "is exact, and its domain is the root"},
		{"no targets", targets(), "the rule fabrikam has 0 targets > give 1 to 6"},
		{"seven targets", targets("1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6", "1.1.1.7"), "has 7 targets"},
		{"a name as target", targets("dns.example.net"), `the rule fabrikam: "dns.example.net" is not a DNS server's address`},
		{"Azure's own", targets("168.63.129.16"), "168.63.129.16 cannot be a target > it answers inside an Azure network only"},
		{"nobody", targets("0.0.0.0"), "the address of no server"},
		{"everybody", targets("224.0.0.251:5353"), "the address of no server"},
		{"a target twice", targets("10.0.0.1", "10.0.0.1:53"), "has the target 10.0.0.1:53 twice"},
		{"tls name without tls", rule(func(r *resource.ForwardingRule) { r.TLSName = "x.net" }), "has a tlsName, and its transport is not tls or https"},
		{"tls without name", rule(func(r *resource.ForwardingRule) { r.Transport = resource.DNSOverHTTPS }), "has no tlsName > give the name the servers' certificate carries"},
		{"tls with no name", rule(func(r *resource.ForwardingRule) { r.Transport, r.TLSName = resource.DNSOverTLS, "X" }), "the rule fabrikam: tlsName"},
		{"transport", rule(func(r *resource.ForwardingRule) { r.Transport = "quic" }), `has the transport "quic"`},
		{"state", rule(func(r *resource.ForwardingRule) { r.State = "On" }), `has the state "On" > write Enabled or Disabled`},
	})
	o := validRuleset()
	if r := &o.Spec.Rules[0]; r.Suffix() != "fabrikam.azure-devices.net" || !r.Enabled() || o.Spec.Rules[1].Enabled() || o.Spec.Rules[2].Suffix() != "." {
		t.Errorf("%+v", o.Spec.Rules)
	}
}

func TestDNSServersHaveTheTransportsPort(t *testing.T) {
	for _, c := range []struct {
		text string
		by   resource.DNSTransport
		want string
	}{
		{"10.0.0.1", "", "10.0.0.1:53"}, {"10.0.0.1", resource.DNSOverTCP, "10.0.0.1:53"}, {"10.0.0.1", resource.DNSOverTLS, "10.0.0.1:853"},
		{"fd00::1", resource.DNSOverHTTPS, "[fd00::1]:443"}, {"10.0.0.1:53", resource.DNSOverTLS, "10.0.0.1:53"}, {"10.0.0.1:0", "", ""},
	} {
		got, err := resource.ParseDNSServer(c.text, c.by)
		if (err == nil) != (c.want != "") || err == nil && got.String() != c.want {
			t.Errorf("%s over %q: %s, %v", c.text, c.by, got, err)
		}
	}
}

func TestZoneRules(t *testing.T) {
	type z = *resource.Zone
	valid := func() z {
		o := fresh[*resource.Zone](resource.KindZone, resource.Meta{Tenant: "ot", Name: "privatelink.azure-devices.net"})
		o.Spec = resource.ZoneSpec{Networks: []string{"plant-7"}, Links: []resource.ZoneLink{{Network: "plant-8", ResolutionPolicy: resource.NxDomainRedirect}, {Network: "plant-9"}}}
		return o
	}
	refuse(t, valid, []refusal[z]{
		{"network's name", func(o z) { o.Spec.Links[0].Network = "X" }, `spec.networks: "X" is not a name`},
		{"linked twice", func(o z) { o.Spec.Links[0].Network = "plant-7" }, "the network plant-7 is linked twice"},
		{"policy", func(o z) { o.Spec.Links[0].ResolutionPolicy = "Redirect" }, `the resolutionPolicy is "Redirect" > write Default or NxDomainRedirect`},
		{"redirect elsewhere", func(o z) { o.Metadata.Name = "corp.example" }, "corp.example is no privatelink zone, so its link to plant-8 cannot redirect"},
		{"a zone's zone", func(o z) { o.Metadata.Zone = "x.y" }, "metadata.zone does not belong"},
	})
	o := valid()
	if l, ok := o.LinkTo("plant-9"); !ok || l.ResolutionPolicy != resource.ResolutionDefault {
		t.Errorf("%+v, %t", l, ok)
	}
	if _, ok := o.LinkTo("plant-1"); ok || len(o.Linked()) != 3 {
		t.Errorf("links %+v", o.Linked())
	}
}

func TestRecordSetRules(t *testing.T) {
	type r = *resource.RecordSet
	valid := func() r {
		o := fresh[*resource.RecordSet](resource.KindRecordSet, resource.Meta{Tenant: "ot", Zone: "corp.example", Name: "www"})
		o.Spec = resource.RecordSetSpec{
			MX: []resource.MX{{Preference: 1, Exchange: "mail.corp.example"}}, SRV: []resource.SRV{{Port: 1, Target: "a.corp.example"}},
			PTR: []string{"a.corp.example"}, CAA: []resource.CAA{{Tag: "issue", Value: "ca.example"}}, A: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		}
		return o
	}
	refuse(t, valid, []refusal[r]{
		{"wildcard", func(o r) { o.Metadata.Name = "*" }, ""},
		{"wildcard below", func(o r) { o.Metadata.Name = "*.a" }, ""},
		{"wildcard inside", func(o r) { o.Metadata.Name = "a.*" }, "is not a host name"},
		{"empty", func(o r) { o.Spec = resource.RecordSetSpec{} }, "the record set is empty"},
		{"cname beside", func(o r) { o.Spec.CNAME = "x.example" }, "spec.cname stands beside other values"},
		{"cname of the zone", func(o r) { o.Spec, o.Metadata.Name = resource.RecordSetSpec{CNAME: "x.example"}, "@" }, "the zone itself cannot be a CNAME"},
		{"many", func(o r) { o.Spec.PTR = make([]string, 21) }, "more than 20 values of one type"},
		{"mx", func(o r) { o.Spec.MX[0].Exchange = "" }, "spec.mx"},
		{"srv", func(o r) { o.Spec.SRV[0].Target = "a b" }, "spec.srv"},
		{"ptr", func(o r) { o.Spec.PTR[0] = "A" }, "spec.ptr"},
		{"caa tag", func(o r) { o.Spec.CAA[0].Tag = "allow" }, `spec.caa has the tag "allow" > write issue`},
		{"caa value", func(o r) { o.Spec.CAA[0].Value = "a\nb" }, "control characters"},
	})
}

func TestNetworkClients(t *testing.T) {
	type n = *resource.Network
	valid := func() n {
		o := fresh[*resource.Network](resource.KindNetwork, resource.Meta{Tenant: "ot", Name: "plant-7"})
		o.Spec.DNS = resource.NetworkDNS{Upstreams: []string{"192.0.2.1"}, Clients: prefixes("10.7.0.0/16")}
		return o
	}
	refuse(t, valid, []refusal[n]{
		{"host bits", func(o n) {
			o.Spec.DNS.Clients = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("10.7.0.1"), 16)}
		}, "spec.dns.clients: 10.7.0.1/16 has host bits set"},
		{"upstream", func(o n) { o.Spec.DNS.Upstreams = []string{"dns"} }, "is not a DNS server's address"},
	})
}
