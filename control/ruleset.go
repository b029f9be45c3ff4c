package control

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// checkRuleset refuses a second ruleset for a network, and rules by which a question would come back to who asked it.
func (w *work) checkRuleset(r *resource.Ruleset) error {
	op := "control.checkRuleset"
	m := r.Metadata
	linked := map[string]bool{}
	for _, n := range r.Spec.Networks {
		if linked[n] {
			return fault.Newf(op, fault.Invalid, "spec.networks has %s twice", n).Advise("name it once")
		}
		linked[n] = true
		if err := w.mustExist(op, networkKey(m.Tenant, n)); err != nil {
			return err
		}
	}
	others, err := w.List(resource.KindRuleset, storeFilter(m.Tenant, ""))
	if err != nil {
		return err
	}
	for _, o := range others {
		other := o.(*resource.Ruleset)
		if other.Key() == r.Key() {
			continue
		}
		for _, n := range other.Spec.Networks {
			if linked[n] {
				return fault.Newf(op, fault.Conflict, "the network %s/%s follows %s already", m.Tenant, n, other.Key()).
					Advise("a network follows one ruleset: take %s out of spec.networks of one of the two, or put the rules into one set", n)
			}
		}
	}
	l, err := w.loops(m.Tenant)
	if err != nil {
		return err
	}
	l.follow(r)
	return l.check(r.Spec.Networks)
}

// checkUpstreams refuses upstreams of a network by which a question would come back to it.
func (w *work) checkUpstreams(n *resource.Network) error {
	if len(n.Spec.DNS.Upstreams) == 0 {
		return nil
	}
	l, err := w.loops(n.Metadata.Tenant)
	if err != nil {
		return err
	}
	l.network(n)
	return l.check([]string{n.Metadata.Name})
}

// loops is where the resolvers of a tenant's networks ask. A question goes in circles when it comes back to a network it was in.
type loops struct {
	tenant   string
	networks map[string]*resource.Network
	rules    map[string][]plan.Forward // by network
	sets     map[string]*resource.Ruleset
	zones    []*resource.Zone
	at       map[netip.AddrPort][]string // whose resolvers answer at an address: networks

	index map[string]map[domainRule]*plan.Forward // rules, by network
	leads map[string]bool                         // networks that ask another
}

func (w *work) loops(tenant string) (*loops, error) {
	l := &loops{
		tenant: tenant, networks: map[string]*resource.Network{}, rules: map[string][]plan.Forward{}, sets: map[string]*resource.Ruleset{}, at: map[netip.AddrPort][]string{},
	}
	for _, k := range []resource.Kind{resource.KindNetwork, resource.KindRuleset, resource.KindZone, resource.KindAgent} {
		list, err := w.List(k, storeFilter(tenant, ""))
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			switch o := o.(type) {
			case *resource.Network:
				l.network(o)
			case *resource.Ruleset:
				l.follow(o)
			case *resource.Zone:
				l.zones = append(l.zones, o)
			case *resource.Agent:
				for _, a := range o.Status.DNSAddresses {
					if !slices.Contains(l.at[a], o.Metadata.Network) {
						l.at[a] = append(l.at[a], o.Metadata.Network)
					}
				}
			}
		}
	}
	return l, nil
}

func (l *loops) network(n *resource.Network) { l.networks[n.Metadata.Name] = n }

// follow puts a ruleset in the place of what it was.
func (l *loops) follow(r *resource.Ruleset) {
	for n, other := range l.sets {
		if other.Key() == r.Key() {
			delete(l.sets, n)
			delete(l.rules, n)
		}
	}
	f := plan.ForwardsOf(r)
	for _, n := range r.Spec.Networks {
		l.sets[n], l.rules[n] = r, f
	}
}

// ask is who a network's resolver asks for a name: the rule's words, and its servers. No servers: it answers by itself, or refuses.
func (l *loops) ask(network, name string) (rule string, servers []netip.AddrPort) {
	redirected := false
	for _, z := range l.zones {
		if link, ok := z.LinkTo(network); ok && under(name, z.Metadata.Name) {
			if link.ResolutionPolicy != resource.NxDomainRedirect {
				return "", nil
			}
			redirected = true
		}
	}
	if !redirected {
		if f := l.ruleFor(network, name); f != nil {
			return "the rule " + f.Rule, f.Targets
		}
	}
	n := l.networks[network]
	if n == nil {
		return "", nil
	}
	return "spec.dns.upstreams of the network " + l.tenant + "/" + network, upstreams(n)
}

// ruleFor is the rule of a network that decides about a name, if there is one.
func (l *loops) ruleFor(network, name string) *plan.Forward {
	rules := l.index[network]
	if f := rules[domainRule{name, true}]; f != nil {
		return f
	}
	for rest, more := name, true; more; _, rest, more = strings.Cut(rest, ".") {
		if f := rules[domainRule{rest, false}]; f != nil {
			return f
		}
	}
	return rules[domainRule{".", false}]
}

// domainRule is what tells the rules of a set apart.
type domainRule struct {
	domain string
	exact  bool
}

// prepare makes rules quick to find, and tells which networks ask another at all.
func (l *loops) prepare() {
	l.index, l.leads = map[string]map[domainRule]*plan.Forward{}, map[string]bool{}
	meets := func(network string, servers []netip.AddrPort) {
		l.leads[network] = l.leads[network] || slices.ContainsFunc(servers, func(s netip.AddrPort) bool { return len(l.at[s]) > 0 })
	}
	for network, rules := range l.rules {
		index := make(map[domainRule]*plan.Forward, len(rules))
		for i := range rules {
			index[domainRule{rules[i].Domain, rules[i].Exact}] = &rules[i]
			meets(network, rules[i].Targets)
		}
		l.index[network] = index
	}
	for network, n := range l.networks {
		meets(network, upstreams(n))
	}
}

func upstreams(n *resource.Network) []netip.AddrPort {
	var out []netip.AddrPort
	for _, u := range n.Spec.DNS.Upstreams {
		if at, err := resource.ParseUpstream(u); err == nil { // validated when it was applied
			out = append(out, at)
		}
	}
	return out
}

func under(name, domain string) bool {
	return domain == "." || name == domain || strings.HasSuffix(name, "."+domain)
}

// somewhere stands for a name that no rule has.
const somewhere = "any-other-name"

// check walks from the networks for every name that rules tell apart. All writers wait meanwhile, so no way is gone twice.
func (l *loops) check(from []string) error {
	l.prepare()
	names := []string{somewhere}
	seen := map[string]bool{somewhere: true}
	for _, n := range sortedKeys(l.rules) {
		for _, f := range l.rules[n] {
			if f.Domain == "." {
				continue
			}
			for _, name := range []string{f.Domain, somewhere + "." + f.Domain} {
				if !seen[name] {
					seen[name] = true
					names = append(names, name)
				}
			}
		}
	}
	for _, n := range from {
		if err := l.ownRange(n); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(from, func(n string) bool { return l.leads[n] }) {
		return nil
	}
	for _, name := range names {
		done := map[string]bool{}
		for _, n := range from {
			if err := l.walk(name, n, []string{n}, nil, done); err != nil {
				return err
			}
		}
	}
	return nil
}

// walk follows a question from network to network; path is where it was, rules by what it got there, done where it was and came to
// an end.
func (l *loops) walk(name, network string, path, rules []string, done map[string]bool) error {
	if done[network] || !l.leads[network] {
		return nil
	}
	done[network] = true // what comes back to it from below is found by path
	rule, servers := l.ask(network, name)
	for _, s := range servers {
		for _, next := range l.at[s] {
			by := append(slices.Clip(rules), rule+" asks "+s.String()+", a resolver of "+l.tenant+"/"+next)
			if slices.Contains(path, next) {
				what := "names under " + strings.TrimPrefix(name, somewhere+".")
				switch {
				case name == somewhere:
					what = "names that no rule has"
				case !strings.HasPrefix(name, somewhere):
					what = name
				}
				return fault.Newf("control.checkLoops", fault.Conflict, "questions for %s would go in circles: %s", what, strings.Join(by, ", then ")).
					Advise("name a server outside of these networks as target, or take one of them out of the ruleset's spec.networks")
			}
			if err := l.walk(name, next, append(slices.Clip(path), next), by, done); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownRange refuses targets among the addresses a network gives to its endpoints: nobody answers DNS there but, over TCP, an endpoint.
func (l *loops) ownRange(network string) error {
	n, set := l.networks[network], l.sets[network]
	if n == nil || set == nil {
		return nil
	}
	for i := range set.Spec.Rules {
		rule := &set.Spec.Rules[i]
		if !rule.Enabled() || rule.Transport != "" && rule.Transport != resource.DNSOverUDP {
			continue
		}
		for _, at := range rule.Servers() {
			for _, r := range n.Spec.AddressRanges {
				if r.Contains(at.Addr()) {
					return fault.Newf("control.checkLoops", fault.Conflict, "the rule %s asks %s, which is in the range %s that %s/%s gives to its own endpoints", rule.Name, at, r, l.tenant, network).
						Advise("that leads back into the network, and endpoints carry no UDP: name a server outside, or, if an endpoint there leads to a DNS server, set transport to tcp or tls")
				}
			}
		}
	}
	return nil
}
