package resource

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// Gateway is a static public address in front of services: it reads the name a client asks for from the TLS ClientHello, which passes
// through untouched, asks the allowlists, and leads to one place. Several processes may carry the same gateway; they share nothing.
type Gateway struct {
	Header
	Spec   GatewaySpec   `json:"spec"`
	Status GatewayStatus `json:"status,omitzero"`
}

// GatewaySpec says where a gateway listens and where each name leads.
type GatewaySpec struct {
	// Agents names the agents of the network that carry it. When empty, every process of the network that joined as a gateway does.
	Agents    []string          `json:"agents,omitempty" doc:"agents of the network that carry the gateway; when empty, every process that joined as a gateway" example:"[\"gw-1\"]"`
	Listeners []GatewayListener `json:"listeners" doc:"the addresses and ports it listens on"`
	Routes    []GatewayRoute    `json:"routes,omitempty" doc:"where names and listeners lead; an exact name before a wildcard, a longer wildcard before a shorter one, a route without names last"`
	Groups    []TargetGroup     `json:"groups,omitempty" doc:"targets given as host:port"`
	Limits    GatewayLimits     `json:"limits,omitzero" doc:"limits on every source and name, and time limits"`
	// OpenToAll turns the allowlists off: whoever reaches the address is let in. Never the default.
	OpenToAll bool `json:"openToAll,omitempty" doc:"let in every source that no rule denies; without it, sources that no rule allows are refused"`
}

// GatewayListener is one address and port.
type GatewayListener struct {
	Name    string     `json:"name" doc:"unique in the gateway" example:"mqtt"`
	Address netip.Addr `json:"address,omitzero" doc:"an address of the machine; every address when absent" example:"203.0.113.10"`
	Port    uint16     `json:"port" minimum:"1" doc:"the port clients dial" example:"8883"`
	// Protocol is tls, or tcp for protocols in which no ClientHello comes first; these are routed by listener only.
	Protocol GatewayProtocol `json:"protocol,omitempty" enum:"tls,tcp" doc:"tls reads the ClientHello; tcp decides by source and port alone; tls when absent"`
	// TrustProxies are balancers in front of the gateway, which must send a PROXY header with the true source.
	TrustProxies []netip.Prefix `json:"trustProxies,omitempty" doc:"balancers that must send a PROXY protocol header (v1 or v2) with the true source" example:"[\"10.1.0.0/24\"]"`
}

// GatewayProtocol is what a listener expects.
type GatewayProtocol string

const (
	GatewayTLS GatewayProtocol = "tls" // also the meaning of an absent value
	GatewayTCP GatewayProtocol = "tcp"
)

// GatewayRoute leads names to one place: exactly one of Endpoint, Service and Group.
type GatewayRoute struct {
	// Names are host names as a ClientHello carries them, "*.example.net" for any one or more labels in front. A route without names is for
	// clients that send no name and for names no other route has.
	Names     []string `json:"names,omitempty" doc:"host names, or *.suffix; a route without names is the default, also for clients that send no name" example:"[\"contoso.azure-devices.net\"]"`
	Listeners []string `json:"listeners,omitempty" doc:"the listeners it holds for; all when absent" example:"[\"mqtt\"]"`
	Endpoint  string   `json:"endpoint,omitempty" doc:"a private endpoint of the same network to lead to" example:"contoso"`
	Service   string   `json:"service,omitempty" doc:"a service of the same network to lead to" example:"contoso"`
	Group     string   `json:"group,omitempty" doc:"a target group of this gateway to lead to" example:"hub"`
	// Port is the port of the target when it is not the listener's, such as 8883 behind a listener on 443.
	Port uint16 `json:"port,omitempty" doc:"the port there when it is not the listener's own" example:"8883"`
}

// Balance is how a group chooses among its targets.
type Balance string

const (
	LeastConnections Balance = "least-connections" // also the meaning of an absent value
	BySource         Balance = "source"            // consistent hashing of the source's address
)

// TargetGroup is a set of targets for the same names.
type TargetGroup struct {
	Name    string   `json:"name" doc:"unique in the gateway" example:"hub"`
	Targets []string `json:"targets" doc:"HOST:PORT, or HOST to use the port of the route or listener" example:"[\"10.7.0.4:8883\"]"`
	Balance Balance  `json:"balance,omitempty" enum:"least-connections,source" doc:"least-connections when absent"`
	Health  Health   `json:"health,omitzero" doc:"how targets are checked"`
	// ProxyProtocol has the gateway tell targets who is calling.
	ProxyProtocol ProxyVersion `json:"proxyProtocol,omitempty" enum:"v1,v2" doc:"write a PROXY protocol header of this version before the first byte"`
	ConnectMillis int          `json:"connectMillis,omitempty" doc:"how long one target may take to answer a connection; 5000 when absent" minimum:"0" maximum:"60000"`
}

// ProxyVersion is a version of the PROXY protocol.
type ProxyVersion string

const (
	ProxyV1 ProxyVersion = "v1"
	ProxyV2 ProxyVersion = "v2"
)

// HealthCheck is what proves that a target lives.
type HealthCheck string

const (
	CheckTCP  HealthCheck = "tcp"  // it accepts a connection; also the meaning of an absent value
	CheckTLS  HealthCheck = "tls"  // it completes a TLS handshake, whatever its certificate
	CheckNone HealthCheck = "none" // only real connections tell
)

// Health is how a group's targets are checked.
type Health struct {
	Check        HealthCheck `json:"check,omitempty" enum:"tcp,tls,none" doc:"tcp when absent"`
	ServerName   string      `json:"serverName,omitempty" doc:"the name a tls check asks for; the target's host when absent"`
	EverySeconds int         `json:"everySeconds,omitempty" doc:"5 when absent" minimum:"0" maximum:"3600"`
	Rise         int         `json:"rise,omitempty" doc:"successes in a row that bring a target back; 2 when absent" minimum:"0" maximum:"100"`
	Fall         int         `json:"fall,omitempty" doc:"failures in a row that take a target out; 3 when absent" minimum:"0" maximum:"100"`
}

// GatewayLimits bound what one client may take. 0 is no limit, except for times, where it is the default.
type GatewayLimits struct {
	Source       Limit `json:"source,omitzero" doc:"on each source address (IPv6: each /64)"`
	Name         Limit `json:"name,omitzero" doc:"on each host name"`
	Connections  int   `json:"connections,omitempty" doc:"on all connections of one gateway process; 100000 when absent" minimum:"0" maximum:"10000000"`
	HelloSeconds int   `json:"helloSeconds,omitempty" doc:"for a whole ClientHello to arrive; 5 when absent" minimum:"0" maximum:"60"`
	HelloBytes   int   `json:"helloBytes,omitempty" doc:"the longest ClientHello; 16384 when absent" minimum:"0" maximum:"32768"`
	IdleSeconds  int   `json:"idleSeconds,omitempty" doc:"after which a connection without a byte is closed; 3600 when absent" minimum:"0" maximum:"604800"`
	DrainSeconds int   `json:"drainSeconds,omitempty" doc:"how long open connections may go on after a new process took over; 300 when absent" minimum:"0" maximum:"86400"`
}

// Limit bounds one source, rule or name. 0 is no limit.
type Limit struct {
	Connections    int   `json:"connections,omitempty" doc:"open at once; 0 is no limit" minimum:"0"`
	PerSecond      int   `json:"perSecond,omitempty" doc:"new connections a second, with a burst of twice that; 0 is no limit" minimum:"0"`
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty" doc:"bytes a second, both directions together; 0 is no limit" minimum:"0"`
}

// GatewayStatus is what Isthmus says of a gateway.
type GatewayStatus struct {
	Agents   []string `json:"agents,omitempty" doc:"the processes that carry it"`
	Rules    int      `json:"rules" doc:"rules of the allowlists in force"`
	Problems []string `json:"problems,omitempty" doc:"routes that lead nowhere at the moment, in words"`
}

func (g *Gateway) SpecAndStatus() (any, any) { return &g.Spec, &g.Status }

// Validate checks what needs no look at the network.
func (g *Gateway) Validate() error {
	op := "resource.Gateway.Validate"
	if err := g.validate(); err != nil {
		return err
	}
	s := &g.Spec
	for _, a := range s.Agents {
		if err := ValidateName(a); err != nil {
			return within(op, "spec.agents", err)
		}
	}
	listeners, err := s.validateListeners(op)
	if err != nil {
		return err
	}
	groups := map[string]bool{}
	for i := range s.Groups {
		if err := s.Groups[i].validate(op); err != nil {
			return err
		}
		if groups[s.Groups[i].Name] {
			return fault.Newf(op, fault.Invalid, "spec.groups has %q twice", s.Groups[i].Name).Advise("give each group its own name")
		}
		groups[s.Groups[i].Name] = true
	}
	if err := s.validateRoutes(op, listeners, groups); err != nil {
		return err
	}
	return s.Limits.validate(op)
}

func (s *GatewaySpec) validateListeners(op string) (map[string]GatewayListener, error) {
	if len(s.Listeners) == 0 {
		return nil, fault.New(op, fault.Invalid, "spec.listeners is empty").Advise("give at least one, such as {name: mqtt, port: 8883}")
	}
	if len(s.Listeners) > 64 {
		return nil, fault.Newf(op, fault.Invalid, "spec.listeners has %d", len(s.Listeners)).Advise("use at most 64")
	}
	out := map[string]GatewayListener{}
	taken := map[netip.AddrPort]string{}
	for _, l := range s.Listeners {
		if err := ValidateName(l.Name); err != nil {
			return nil, within(op, "spec.listeners.name", err)
		}
		if _, twice := out[l.Name]; twice {
			return nil, fault.Newf(op, fault.Invalid, "spec.listeners has %q twice", l.Name).Advise("give each listener its own name")
		}
		if l.Port == 0 {
			return nil, fault.Newf(op, fault.Invalid, "the listener %q has no port", l.Name).Advise("ports are 1 to 65535, such as 8883")
		}
		switch l.Protocol {
		case "", GatewayTLS, GatewayTCP:
		default:
			return nil, fault.Newf(op, fault.Invalid, "the listener %q has the protocol %q", l.Name, l.Protocol).Advise("write tls or tcp")
		}
		for _, p := range l.TrustProxies {
			if err := validatePrefix(op, "spec.listeners.trustProxies", p); err != nil {
				return nil, err
			}
		}
		if !zoneFits(l.Address) {
			return nil, fault.Newf(op, fault.Invalid, "the listener %q has the address %q, whose zone is no interface", l.Name, l.Address).Advise("write the interface's name or number behind %%")
		}
		at := netip.AddrPortFrom(l.Address, l.Port)
		if other, clash := taken[at]; clash {
			return nil, fault.Newf(op, fault.Invalid, "the listeners %q and %q have the same address and port", other, l.Name).Advise("one listener for each address and port")
		}
		taken[at] = l.Name
		out[l.Name] = l
	}
	return out, nil
}

func (s *GatewaySpec) validateRoutes(op string, listeners map[string]GatewayListener, groups map[string]bool) error {
	type claim struct{ name, listener string }
	taken := map[claim]int{}
	for i, r := range s.Routes {
		where := "spec.routes[" + strconv.Itoa(i) + "]"
		n := 0
		for _, to := range []string{r.Endpoint, r.Service, r.Group} {
			if to == "" {
				continue
			}
			n++
			if err := ValidateName(to); err != nil {
				return within(op, where, err)
			}
		}
		if n != 1 {
			return fault.Newf(op, fault.Invalid, "%s leads to %d places", where, n).Advise("give exactly one of endpoint, service and group")
		}
		if r.Group != "" && !groups[r.Group] {
			return fault.Newf(op, fault.Invalid, "%s leads to the group %q, which is not there", where, r.Group).Advise("add it to spec.groups")
		}
		on := r.Listeners
		if len(on) == 0 {
			for name := range listeners {
				on = append(on, name)
			}
		}
		names := r.Names
		if len(names) == 0 {
			names = []string{""}
		}
		for _, l := range on {
			listener, ok := listeners[l]
			if !ok {
				return fault.Newf(op, fault.Invalid, "%s names the listener %q, which is not there", where, l).Advise("add it to spec.listeners")
			}
			if listener.Protocol == GatewayTCP && len(r.Names) > 0 && len(r.Listeners) > 0 {
				return fault.Newf(op, fault.Invalid, "%s has names, and its listener %q is tcp, where no name can be read", where, l).Advise("take the names out, or make the listener tls")
			}
			for _, name := range names {
				if other, clash := taken[claim{name, l}]; clash {
					return fault.Newf(op, fault.Invalid, "%s and spec.routes[%d] are both for %s on the listener %q", where, other, orDefault(name), l).
						Advise("a name leads to one place: take it out of one of the two")
				}
				taken[claim{name, l}] = i
			}
		}
		for _, name := range r.Names {
			if err := ValidatePattern(name); err != nil {
				return within(op, where+".names", err)
			}
		}
	}
	return nil
}

func orDefault(name string) string {
	if name == "" {
		return "every name no other route has"
	}
	return name
}

// ValidatePattern checks a host name, or "*." and the suffix under which every name fits.
func ValidatePattern(s string) error { return ValidateDomain(strings.TrimPrefix(s, "*.")) }

func validatePrefix(op, field string, p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fault.Newf(op, fault.Invalid, "%s holds something that is no address range", field).Advise("write CIDR ranges, such as 203.0.113.0/24 or 2001:db8::/48")
	case p != p.Masked():
		return fault.Newf(op, fault.Invalid, "%s: %s has host bits set", field, p).Advise("write %s", p.Masked())
	case p.Addr().Is4In6():
		return fault.Newf(op, fault.Invalid, "%s: %s is an IPv4 address in IPv6 dress", field, p).Advise("write the IPv4 range")
	}
	return nil
}

func (t *TargetGroup) validate(op string) error {
	if err := ValidateName(t.Name); err != nil {
		return within(op, "spec.groups.name", err)
	}
	if len(t.Targets) == 0 || len(t.Targets) > 256 {
		return fault.Newf(op, fault.Invalid, "the group %q has %d targets", t.Name, len(t.Targets)).Advise("give 1 to 256 as HOST:PORT")
	}
	seen := map[string]bool{}
	for _, target := range t.Targets {
		if _, _, err := ParseTarget(target); err != nil {
			return within(op, "the group "+strconv.Quote(t.Name), err)
		}
		if seen[target] {
			return fault.Newf(op, fault.Invalid, "the group %q has the target %s twice", t.Name, target).Advise("give each target once")
		}
		seen[target] = true
	}
	switch t.Balance {
	case "", LeastConnections, BySource:
	default:
		return fault.Newf(op, fault.Invalid, "the group %q has the balance %q", t.Name, t.Balance).Advise("write least-connections or source")
	}
	switch t.ProxyProtocol {
	case "", ProxyV1, ProxyV2:
	default:
		return fault.Newf(op, fault.Invalid, "the group %q has the proxyProtocol %q", t.Name, t.ProxyProtocol).Advise("write v1 or v2, or take it out")
	}
	h := t.Health
	switch h.Check {
	case "", CheckTCP, CheckTLS, CheckNone:
	default:
		return fault.Newf(op, fault.Invalid, "the group %q has the health check %q", t.Name, h.Check).Advise("write tcp, tls or none")
	}
	if h.EverySeconds < 0 || h.EverySeconds > 3600 || h.Rise < 0 || h.Rise > 100 || h.Fall < 0 || h.Fall > 100 || t.ConnectMillis < 0 || t.ConnectMillis > 60_000 {
		return fault.Newf(op, fault.Invalid, "the group %q has a number out of range", t.Name).
			Advise("everySeconds is at most 3600, rise and fall at most 100, connectMillis at most 60000, none below 0")
	}
	if h.ServerName != "" {
		if err := ValidateDomain(h.ServerName); err != nil {
			return within(op, "the group "+strconv.Quote(t.Name)+": health.serverName", err)
		}
	}
	return nil
}

// ParseTarget reads HOST:PORT or HOST, where port is then 0. An IPv6 address with a port stands in brackets.
func ParseTarget(s string) (host string, port uint16, err error) {
	op := "resource.ParseTarget"
	bad := fault.Newf(op, fault.Invalid, "%q is no target", s).Advise("write HOST:PORT or HOST, such as 10.7.0.4:8883 or [2001:db8::1]:443")
	if a, ok := parseAddr(s); ok {
		return a.String(), 0, nil
	}
	host = s
	if h, p, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", 0, bad
		}
		host, port = h, uint16(n)
	}
	if _, ok := parseAddr(host); ok {
		return host, port, nil
	}
	if ValidateDomain(host) != nil {
		return "", 0, bad
	}
	return host, port, nil
}

func (l GatewayLimits) validate(op string) error {
	for _, n := range []struct {
		field string
		value int
		most  int
	}{
		{"connections", l.Connections, 10_000_000}, {"helloSeconds", l.HelloSeconds, 60}, {"helloBytes", l.HelloBytes, 32_768},
		{"idleSeconds", l.IdleSeconds, 604_800}, {"drainSeconds", l.DrainSeconds, 86_400},
	} {
		if n.value < 0 || n.value > n.most {
			return fault.Newf(op, fault.Invalid, "spec.limits.%s is %d", n.field, n.value).Advise("use 0 to %d; 0 is the default", n.most)
		}
	}
	if err := l.Source.validate(op, "spec.limits.source"); err != nil {
		return err
	}
	return l.Name.validate(op, "spec.limits.name")
}

func (l Limit) validate(op, field string) error {
	if l.Connections < 0 || l.PerSecond < 0 || l.BytesPerSecond < 0 {
		return fault.Newf(op, fault.Invalid, "%s has a number below 0", field).Advise("0 is no limit")
	}
	return nil
}

// Carries tells whether a process of the gateway's network carries it.
func (g *Gateway) Carries(agent string, role AgentRole) bool {
	if len(g.Spec.Agents) == 0 {
		return role == RoleGateway
	}
	return role != RoleHub && role != RoleBridge && slices.Contains(g.Spec.Agents, agent)
}
