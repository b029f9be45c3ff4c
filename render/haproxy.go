package render

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// HAProxyOptions say how an HAProxy configuration is to be used.
type HAProxyOptions struct {
	Dir     string                // where the map files will lie; /etc/haproxy when empty
	Now     time.Time             // rules that have expired by then are left out
	Address map[string]netip.Addr // endpoint uid to the address at which an agent listens for it
}

// HAProxy writes a configuration with the same decisions as a gateway: the same sources are let in to the same names on the same ports,
// and led to the same targets. The allowlists become map files, whose longest prefix decides in HAProxy as it does here. Written for
// HAProxy 2.6 and later.
func HAProxy(g plan.Gateway, opt HAProxyOptions) (Output, error) {
	if opt.Dir == "" {
		opt.Dir = "/etc/haproxy"
	}
	if err := harmlessGateway(&g); err != nil {
		return Output{}, err
	}
	h := haproxy{g: g, plan: decide.Compile(g, opt.Now), opt: opt, backends: map[string]bool{}}
	for _, l := range g.Listeners {
		if err := h.frontend(l); err != nil {
			return Output{}, err
		}
	}
	if h.soonest != (time.Time{}) {
		h.out.note("rules that expire go on here until the files are rendered again: the next one ends at %s", h.soonest.UTC().Format(time.RFC3339))
	}
	if g.Limits.Name != (resource.Limit{}) || g.Limits.Source.BytesPerSecond > 0 {
		h.out.note("limits on names and on bytes are not rendered: HAProxy has no limit in bytes in TCP mode")
	}
	h.out.note("an allowlist change needs a reload here, and established connections are not cut by one")
	var b strings.Builder
	fmt.Fprintf(&b, "# Gateway %s.\n%s", g.Name, h.out.comments("#"))
	if n := g.Limits.Connections; n > 0 { // else HAProxy takes what its limit of open files allows
		fmt.Fprintf(&b, "global\n    maxconn %d\n\n", n)
	}
	fmt.Fprintf(&b, "defaults\n    mode tcp\n    timeout client %ds\n    timeout server %ds\n    timeout connect 5s\n    timeout client-fin 5m\n    timeout server-fin 5m\n    retries 2\n    option redispatch 1\n\n",
		cmp.Or(g.Limits.IdleSeconds, 3600), cmp.Or(g.Limits.IdleSeconds, 3600))
	b.WriteString(h.front.String())
	b.WriteString(h.back.String())
	h.out.Files = append([]File{{Name: "haproxy.cfg", Body: []byte(b.String())}}, h.out.Files...)
	return h.out, nil
}

type haproxy struct {
	g           plan.Gateway
	plan        *decide.Plan
	opt         HAProxyOptions
	out         Output
	front, back strings.Builder
	backends    map[string]bool
	soonest     time.Time
}

func (h *haproxy) frontend(l resource.GatewayListener) error {
	tls := l.Protocol != resource.GatewayTCP
	at := "*"
	if l.Address.IsValid() {
		at = l.Address.String()
		if l.Address.Is6() {
			at = "[" + at + "]"
		}
	}
	b := &h.front
	fmt.Fprintf(b, "frontend %s\n    bind %s:%d\n", l.Name, at, l.Port)
	if len(l.TrustProxies) > 0 {
		parts := make([]string, len(l.TrustProxies))
		for i, p := range l.TrustProxies {
			parts[i] = p.String()
		}
		fmt.Fprintf(b, "    tcp-request connection expect-proxy layer4 if { src %s }\n", strings.Join(parts, " "))
	}
	if s := h.g.Limits.Source; s.Connections > 0 || s.PerSecond > 0 {
		b.WriteString("    stick-table type ipv6 size 1m expire 10s store conn_cur,conn_rate(1s)\n    tcp-request session track-sc0 src\n")
		if s.Connections > 0 {
			fmt.Fprintf(b, "    tcp-request session reject if { sc0_conn_cur gt %d }\n", s.Connections)
		}
		if s.PerSecond > 0 {
			fmt.Fprintf(b, "    tcp-request session reject if { sc0_conn_rate gt %d }\n", 2*s.PerSecond)
		}
	}
	if tls {
		fmt.Fprintf(b, "    tcp-request inspect-delay %ds\n", cmp.Or(h.g.Limits.HelloSeconds, 5))
	}
	if err := h.allow(l, tls); err != nil {
		return err
	}
	if tls {
		b.WriteString("    tcp-request content accept if { req.ssl_hello_type 1 }\n    tcp-request content reject\n")
	}
	if err := h.routes(l); err != nil {
		return err
	}
	b.WriteByte('\n')
	return nil
}

// allow writes, for each class of names that rules tell apart, a map from source to verdict.
func (h *haproxy) allow(l resource.GatewayListener, tls bool) error {
	var names []string
	for _, list := range h.g.Allowlists {
		for i := range list.Rules {
			if r := &list.Rules[i]; h.holds(r, l.Port) {
				names = append(names, r.Names...)
			}
		}
	}
	names = sortPatterns(names)
	if !tls {
		names = nil // no name can be read, so only rules without names hold
	}
	b := &h.front
	before := ""
	for i, pattern := range append(names, "") {
		file := fmt.Sprintf("%s-%s-%d.map", strings.ReplaceAll(h.g.Name, "/", "-"), l.Name, i)
		body, err := h.table(l.Port, pattern)
		if err != nil {
			return err
		}
		h.out.add(file, body)
		otherwise := "deny"
		if h.g.OpenToAll {
			otherwise = "allow"
		}
		verdict := fmt.Sprintf("{ src,map_ip(%s/%s,%s) -m str allow }", strings.TrimSuffix(h.opt.Dir, "/"), file, otherwise)
		hello := ""
		if tls {
			hello = " { req.ssl_hello_type 1 }"
		}
		cond := ""
		if pattern != "" {
			cond = " " + condition(pattern)
		}
		fmt.Fprintf(b, "    tcp-request content reject if%s%s%s !%s\n", hello, before, cond, verdict)
		if pattern != "" {
			before += " !" + condition(pattern)
		}
	}
	return nil
}

// holds tells whether a rule is in force for a port at the time of rendering.
func (h *haproxy) holds(r *resource.AllowRule, port uint16) bool {
	if !r.Expires.IsZero() {
		if !r.Expires.After(h.opt.Now) {
			return false
		}
		if h.soonest.IsZero() || r.Expires.Before(h.soonest) {
			h.soonest = r.Expires
		}
	}
	return len(r.Ports) == 0 || slices.Contains(r.Ports, port)
}

// table is the map for the names of one class: those whose longest pattern among all rules is the one given; "" is every other name.
func (h *haproxy) table(port uint16, pattern string) (string, error) {
	verdicts := map[netip.Prefix]string{}
	for _, list := range h.g.Allowlists {
		for i := range list.Rules {
			r := &list.Rules[i]
			if !h.holds(r, port) || len(r.Names) > 0 && !slices.ContainsFunc(r.Names, func(n string) bool { return covers(n, pattern) }) {
				continue
			}
			verdict := "allow"
			if r.Action == resource.Deny {
				verdict = "deny"
			}
			for _, p := range r.Sources {
				if !p.IsValid() {
					return "", fault.Newf("render.HAProxy", fault.Invalid, "the rule %s has a source that is no range", r.Name)
				}
				if verdicts[p] != "deny" {
					verdicts[p] = verdict
				}
			}
		}
	}
	lines := make([]string, 0, len(verdicts))
	for p, v := range verdicts {
		lines = append(lines, p.String()+" "+v+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, ""), nil
}

// covers tells whether a rule's pattern holds for every name of a class.
func covers(rule, class string) bool {
	if rule == class {
		return true
	}
	suffix, wild := strings.CutPrefix(rule, "*.")
	return wild && class != "" && strings.HasSuffix(strings.TrimPrefix(class, "*"), "."+suffix)
}

// sortPatterns puts exact names before wildcards and longer wildcards before shorter ones, each once.
func sortPatterns(list []string) []string {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b string) int {
		wildA, wildB := strings.HasPrefix(a, "*."), strings.HasPrefix(b, "*.")
		switch {
		case wildA != wildB && wildA:
			return 1
		case wildA != wildB:
			return -1
		case wildA:
			return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(list)
}

// condition is an anonymous ACL for a name pattern.
func condition(pattern string) string {
	if suffix, wild := strings.CutPrefix(pattern, "*."); wild {
		return "{ req.ssl_sni,lower -m end ." + suffix + " }"
	}
	return "{ req.ssl_sni,lower -m str " + pattern + " }"
}

// routes writes use_backend lines in the order in which the gateway looks.
func (h *haproxy) routes(l resource.GatewayListener) error {
	for _, c := range h.plan.Order(l.Name) {
		name, err := h.backend(c.Route.GatewayRoute, l)
		if err != nil {
			return err
		}
		if c.Pattern == "" {
			fmt.Fprintf(&h.front, "    default_backend %s\n", name)
			continue
		}
		if err := resource.ValidatePattern(c.Pattern); err != nil {
			return err
		}
		fmt.Fprintf(&h.front, "    use_backend %s if %s\n", name, condition(c.Pattern))
	}
	return nil
}

// backend writes a backend once and returns its name. A route that leads nowhere gets one without servers, which refuses.
func (h *haproxy) backend(r plan.GatewayRoute, l resource.GatewayListener) (string, error) {
	port := cmp.Or(r.Port, l.Port)
	suffix := "-" + strconv.Itoa(int(port))
	switch {
	case r.Problem != "":
		h.out.note("a route leads nowhere: %s", r.Problem)
		return h.once("nowhere", func() error { return nil })
	case r.Endpoint != nil:
		return h.once("endpoint-"+strings.ReplaceAll(r.Endpoint.Name, "/", "-")+suffix, func() error {
			a, ok := h.opt.Address[r.Endpoint.ID]
			if !ok {
				h.out.note("the private endpoint %s is reached through an agent: HAProxy needs the endpoint's address on its network", r.Endpoint.Name)
				return nil
			}
			fmt.Fprintf(&h.back, "    server endpoint %s check\n", netip.AddrPortFrom(a, port))
			return nil
		})
	}
	i := slices.IndexFunc(h.g.Groups, func(g resource.TargetGroup) bool { return g.Name == r.Group })
	if i < 0 {
		return "", fault.Newf("render.HAProxy", fault.Invalid, "a route leads to the group %q, which is not there", r.Group)
	}
	return h.once(r.Group+suffix, func() error { return h.servers(&h.g.Groups[i], port) })
}

func (h *haproxy) once(name string, body func() error) (string, error) {
	if h.backends[name] {
		return name, nil
	}
	h.backends[name] = true
	fmt.Fprintf(&h.back, "backend %s\n", name)
	err := body()
	h.back.WriteByte('\n')
	return name, err
}

func (h *haproxy) servers(g *resource.TargetGroup, port uint16) error {
	b := &h.back
	if g.Balance == resource.BySource {
		b.WriteString("    balance source\n    hash-type consistent\n")
	} else {
		b.WriteString("    balance leastconn\n")
	}
	if g.ConnectMillis > 0 {
		fmt.Fprintf(b, "    timeout connect %dms\n", g.ConnectMillis)
	}
	check := fmt.Sprintf(" check inter %ds rise %d fall %d", cmp.Or(g.Health.EverySeconds, 5), cmp.Or(g.Health.Rise, 2), cmp.Or(g.Health.Fall, 3))
	switch g.Health.Check {
	case resource.CheckNone:
		check = ""
	case resource.CheckTLS:
		check += " check-ssl verify none"
		if g.Health.ServerName != "" {
			check += " check-sni " + g.Health.ServerName
		}
	case "", resource.CheckTCP:
	}
	proxy := map[resource.ProxyVersion]string{resource.ProxyV1: " send-proxy", resource.ProxyV2: " send-proxy-v2"}[g.ProxyProtocol]
	for i, t := range g.Targets {
		host, p, err := resource.ParseTarget(t)
		if err != nil {
			return err
		}
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		fmt.Fprintf(b, "    server t%d %s:%d%s%s\n", i+1, host, cmp.Or(p, port), check, proxy)
	}
	return nil
}
