package control

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/decide"
	"github.com/isthmus-io/isthmus/resolver/view"
	"github.com/isthmus-io/isthmus/resource"
)

// NameExplanation is how the resolvers of a network decide a question, and what the control plane knows beside that.
type NameExplanation struct {
	Network   string           `json:"network"` // ot/plant-7
	Name      string           `json:"name"`
	Type      string           `json:"type"`
	Steps     []NameStep       `json:"steps" nullable:"false" doc:"what had a say, in order"`
	Notes     []NameStep       `json:"notes" nullable:"false" doc:"what could have had a say and has not, and why"`
	Resolvers []netip.AddrPort `json:"resolvers,omitempty" doc:"where the network's resolvers answer"`
}

// NameStep is one thing that had a say.
type NameStep struct {
	What   string `json:"what" doc:"question, name, zone, rule, shorter, upstreams, answer or note; endpoint, service and ruleset among the notes"`
	Detail string `json:"detail" doc:"in words"`
	Next   string `json:"next,omitempty" doc:"what to do about it"`
}

// types of questions people ask by name (RFC 1035 3.2.2 and later; the rest as TYPE and a number, RFC 3597 5).
var questionTypes = map[string]uint16{
	"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DS": 43, "DNSKEY": 48, "SVCB": 64, "HTTPS": 65, "ANY": 255, "CAA": 257,
}

func questionType(s string) (name string, number uint16, err error) {
	s = strings.ToUpper(s)
	if s == "" {
		s = "A"
	}
	if n, ok := questionTypes[s]; ok {
		return s, n, nil
	}
	if n, err := strconv.ParseUint(strings.TrimPrefix(s, "TYPE"), 10, 16); err == nil && n > 0 {
		return s, uint16(n), nil
	}
	return "", 0, fault.Newf("control.ExplainName", fault.Invalid, "%q is no type of record", s[:min(len(s), 40)]).
		Advise("write A, AAAA, CNAME, MX, SRV, PTR, TXT, CAA, or TYPE and a number")
}

// ExplainName says how a network's resolvers decide a question and why, and what is missing for another answer: an endpoint that nobody
// approved, a zone that is not linked. qtype is A when empty. NotFound for a network that is not there or may not be seen, Invalid for
// what is no name or no type.
func (c *Control) ExplainName(ctx context.Context, p Principal, network resource.Key, name, qtype string) (NameExplanation, error) {
	op := "control.ExplainName"
	if _, err := c.Get(ctx, p, network); err != nil {
		return NameExplanation{}, err
	}
	qtype, number, err := questionType(qtype)
	if err != nil {
		return NameExplanation{}, err
	}
	if name = strings.ToLower(strings.TrimSuffix(name, ".")); resource.ValidateDomain(strings.TrimPrefix(name, "*.")) != nil {
		return NameExplanation{}, fault.Newf(op, fault.Invalid, "%q is no domain name", name[:min(len(name), 300)]).
			Advise("write a whole name, such as contoso.azure-devices.net")
	}
	out := NameExplanation{Network: network.Path(), Name: name, Type: qtype, Steps: []NameStep{}, Notes: []NameStep{}}
	here := placeKey{network.Tenant, network.Name}
	c.mu.RLock()
	at := c.world.at(here)
	n := at.names.get(func() names { return compileNames(c.world, here) })
	for _, a := range at.agents {
		out.Resolvers = append(out.Resolvers, a.Status.DNSAddresses...)
	}
	out.Notes = append(out.Notes, c.world.notes(here, name)...)
	c.mu.RUnlock()
	// The lists are shared and never change, so the lock need not be held while a table is made of them.
	table := view.New(view.View{Names: n.names, Zones: n.zones, Redirect: n.redirect, Forward: n.forward, Upstreams: n.upstreams}, 1)
	for _, s := range table.Explain(name, number) {
		out.Steps = append(out.Steps, NameStep{What: s.What, Detail: s.Detail})
	}
	return out, nil
}

// notes are what only the control plane knows of a name in a network.
func (w *world) notes(here placeKey, name string) []NameStep {
	return slices.Concat(w.endpointNotes(here, name), w.zoneNotes(here, name), w.ruleNotes(here, name))
}

// endpointNotes tell of endpoints of the network that would answer for a name, or, when there is none, of services one could be made for.
func (w *world) endpointNotes(here placeKey, name string) []NameStep {
	var out []NameStep
	p := w.at(here)
	for _, e := range p.endpoints {
		s := w.services[w.targets[e.Metadata.UID]]
		if s == nil || !slices.Contains(certifiable(s), name) {
			continue
		}
		path := e.Key().Path()
		problem := shut(e, s)
		switch {
		case problem != "" && e.Status.Connection.State == resource.Disconnected:
			out = append(out, NameStep{"endpoint", problem, "isthmus delete endpoint " + path + " --reason ..., and make it again"})
		case problem != "":
			out = append(out, NameStep{"endpoint", problem, "the service's owner runs: isthmus endpoint approve " + path})
		case e.Spec.WithoutNames:
			out = append(out, NameStep{"endpoint", fmt.Sprintf("the private endpoint %s leads to a service of this name and stays out of DNS, because it says withoutNames", path),
				"take spec.withoutNames out of it, if no other endpoint of the network has the name"})
		case e.Spec.Agent == "" && p.listener() == nil:
			out = append(out, NameStep{"endpoint", fmt.Sprintf("the private endpoint %s answers for the name, and no agent listens on its address", path),
				"let one join: isthmus token join --for agent --network " + here.tenant + "/" + here.network})
		default:
			out = append(out, NameStep{"endpoint", fmt.Sprintf("the private endpoint %s is Approved and listens on %s", path, e.Status.Address), ""})
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, s := range w.servicesNamed(here.tenant, name) {
		path := s.Key().Path()
		out = append(out, NameStep{"service", fmt.Sprintf("the service %s has this name, and no private endpoint of the network %s leads to it", path, here.network),
			"make a PrivateEndpoint in " + here.tenant + "/" + here.network + " with spec.service: " + path})
	}
	return out
}

// servicesNamed are the services with a name that a tenant may see.
func (w *world) servicesNamed(tenant, name string) []*resource.Service {
	var out []*resource.Service
	for _, s := range w.services {
		if s.VisibleTo(tenant) && slices.Contains(certifiable(s), name) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *resource.Service) int { return strings.Compare(a.Key().Path(), b.Key().Path()) })
	return out
}

// zoneNotes tell of zones that hold the name and are not linked.
func (w *world) zoneNotes(here placeKey, name string) []NameStep {
	var out []NameStep
	for key, z := range w.zones {
		if key.Tenant != here.tenant || z.noun == nil || !under(name, key.Name) {
			continue
		}
		if _, linked := z.noun.LinkTo(here.network); linked {
			continue
		}
		words := "the zone " + key.Path() + " holds names under " + key.Name
		if z.records[recordKey(here.tenant, key.Name, name).Name] != nil {
			words = "the zone " + key.Path() + " has a record set for the name"
		}
		out = append(out, NameStep{"zone", words + ", and is not linked to the network " + here.network, "add " + here.network + " to spec.networks of the zone"})
	}
	slices.SortFunc(out, func(a, b NameStep) int { return strings.Compare(a.Detail, b.Detail) })
	return out
}

// ruleNotes tell of rules that hold the name and are not followed.
func (w *world) ruleNotes(here placeKey, name string) []NameStep {
	var out []NameStep
	for key, set := range w.rulesets {
		if key.Tenant != here.tenant {
			continue
		}
		linked := slices.Contains(set.Spec.Networks, here.network)
		for i := range set.Spec.Rules {
			r := &set.Spec.Rules[i]
			if d := r.Suffix(); d != name && (r.Exact || !under(name, d)) {
				continue
			}
			switch at := key.Path() + "/" + r.Name; {
			case linked && !r.Enabled():
				out = append(out, NameStep{"ruleset", "the rule " + at + " holds the name and is Disabled", "set its state to Enabled"})
			case !linked && r.Enabled() && r.Domain != ".":
				out = append(out, NameStep{"ruleset", fmt.Sprintf("the rule %s holds the name, and its ruleset is not linked to the network %s", at, here.network),
					"add " + here.network + " to spec.networks of the ruleset, if it follows no other"})
			}
		}
	}
	slices.SortFunc(out, func(a, b NameStep) int { return strings.Compare(a.Detail, b.Detail) })
	return out
}

// GatewayExplanation is what a gateway does with a connection and why, and who carries it.
type GatewayExplanation struct {
	decide.Explanation
	CarriedBy []string `json:"carriedBy" nullable:"false" doc:"the processes that carry the gateway"`
	Notes     []string `json:"notes" nullable:"false" doc:"what only the control plane knows"`
}

// ExplainGateway says what a gateway does with a connection. It decides by the gateway's newest plan; limits and the health of targets
// are the processes' own. NotFound for a gateway that is not there or may not be seen, Invalid for a source that is no address.
func (c *Control) ExplainGateway(ctx context.Context, p Principal, gateway resource.Key, q decide.Question) (GatewayExplanation, error) {
	op := "control.ExplainGateway"
	o, err := c.Get(ctx, p, gateway)
	if err != nil {
		return GatewayExplanation{}, err
	}
	g, ok := o.(*resource.Gateway)
	if !ok {
		return GatewayExplanation{}, fault.Newf(op, fault.Invalid, "%s is no gateway", gateway).Advise("name a gateway as TENANT/NETWORK/NAME")
	}
	if !q.Source.IsValid() {
		return GatewayExplanation{}, fault.New(op, fault.Invalid, "the source is no IP address").Advise("give the address the client comes from, such as 203.0.113.9")
	}
	c.mu.RLock()
	pg := c.compiler.gateway(c.world, c.world.at(placeOf(g)), g)
	c.mu.RUnlock()
	now := c.clock.Now()
	out := GatewayExplanation{Explanation: decide.Why(pg, q, now), CarriedBy: emptyNotNil(g.Status.Agents), Notes: []string{}}
	if len(g.Status.Agents) == 0 {
		out.Notes = append(out.Notes, nobodyCarries(g))
	}
	for _, a := range pg.Allowlists {
		if n := expired(a.Rules, now); n > 0 {
			out.Notes = append(out.Notes, fmt.Sprintf("of the rules of the allowlist %s, %d expired and hold for nobody", a.Name, n))
		}
	}
	if o, err := c.List(ctx, p, resource.KindAgent, Filter{Tenant: gateway.Tenant, Scope: gateway.Scope}); err == nil {
		for _, o := range o {
			a := o.(*resource.Agent)
			if slices.Contains(g.Status.Agents, a.Metadata.Name) && !a.Status.Connected {
				out.Notes = append(out.Notes, fmt.Sprintf("%s does not follow its plan now and may go by an older one", a.Metadata.Name))
			}
		}
	}
	return out, nil
}
