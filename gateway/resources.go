package gateway

import (
	"fmt"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// FromResources makes the plan of a process that carries gateways on its own, without a control plane: every Gateway given, with the
// Allowlists that hold for it. An Allowlist holds for the gateways of its own network. Routes to services and private endpoints need a control plane to
// be looked up, and are refused, as are other nouns. A fault names all that is wrong.
func FromResources(objects []resource.Object) ([]plan.Gateway, error) {
	const op = "gateway.FromResources"
	var wrong []string
	next := ""
	add := func(err error) {
		wrong = append(wrong, fault.Message(err))
		if next == "" {
			next = fault.Next(err)
		}
	}
	var gateways []*resource.Gateway
	var lists []*resource.Allowlist
	var strange []string
	for _, o := range objects {
		if err := o.Validate(); err != nil {
			add(naming(o, err))
			continue
		}
		switch n := o.(type) {
		case *resource.Gateway:
			gateways = append(gateways, n)
		case *resource.Allowlist:
			lists = append(lists, n)
		default:
			strange = append(strange, string(o.Head().Kind)+" "+o.Head().Metadata.Name)
		}
	}
	if len(strange) > 0 {
		add(fault.Newf(op, fault.Invalid, "a gateway without a control plane has no use for %s", strings.Join(strange, ", ")).
			Advise("give Gateways and Allowlists only, or have the process join a deployment"))
	}
	if len(gateways) == 0 && len(wrong) == 0 {
		add(fault.New(op, fault.Invalid, "there is no Gateway in the configuration").Advise("add one: kind: Gateway"))
	}
	var out []plan.Gateway
	seen := map[string]bool{}
	for _, g := range gateways {
		name := pathOf(g)
		if seen[name] {
			add(fault.Newf(op, fault.Conflict, "the Gateway %s is there twice", name).Advise("give each gateway its own name"))
		}
		seen[name] = true
		p, err := alone(g, lists)
		if err != nil {
			add(err)
			continue
		}
		out = append(out, p)
	}
	for _, l := range lists {
		for _, name := range l.Spec.Gateways {
			if !slices.ContainsFunc(gateways, func(g *resource.Gateway) bool { return g.Metadata.Name == name && sameNetwork(g, l) }) {
				add(fault.Newf(op, fault.Invalid, "the Allowlist %s is for the gateway %s, which is not there", pathOf(l), name).
					Advise("add the gateway, or take its name out of spec.gateways"))
			}
		}
	}
	if len(wrong) > 0 {
		return nil, fault.New(op, fault.Invalid, strings.Join(wrong, "; ")).Advise("%s", next)
	}
	return out, nil
}

// alone makes one gateway.
func alone(g *resource.Gateway, lists []*resource.Allowlist) (plan.Gateway, error) {
	const op = "gateway.FromResources"
	p := plan.Gateway{
		ID: pathOf(g), Name: pathOf(g), Listeners: g.Spec.Listeners, Groups: g.Spec.Groups, Limits: g.Spec.Limits, OpenToAll: g.Spec.OpenToAll,
	}
	for i, r := range g.Spec.Routes {
		what := ""
		switch {
		case r.Service != "":
			what = "the service " + r.Service
		case r.Endpoint != "":
			what = "the private endpoint " + r.Endpoint
		}
		if what != "" {
			return p, fault.Newf(op, fault.Invalid, "the Gateway %s: spec.routes[%d] leads to %s, which only a control plane can look up", p.Name, i, what).
				Advise("lead to a group with targets as HOST:PORT, or have the process join a deployment")
		}
		p.Routes = append(p.Routes, plan.GatewayRoute{Names: r.Names, Listeners: r.Listeners, Group: r.Group, Port: r.Port})
	}
	names := map[string]bool{}
	for _, l := range lists {
		if !sameNetwork(g, l) || len(l.Spec.Gateways) > 0 && !slices.Contains(l.Spec.Gateways, g.Metadata.Name) {
			continue
		}
		name := pathOf(l)
		if names[name] {
			return p, fault.Newf(op, fault.Conflict, "the Allowlist %s is there twice", name).Advise("give each allowlist its own name")
		}
		names[name] = true
		p.Allowlists = append(p.Allowlists, plan.Allowlist{Name: name, Owner: l.Spec.Owner, Rules: l.Spec.Rules})
	}
	return p, nil
}

func sameNetwork(a, b resource.Object) bool {
	x, y := a.Head().Metadata, b.Head().Metadata
	return x.Tenant == y.Tenant && x.Network == y.Network
}

// pathOf names a noun: ot/ot-cloud/front.
func pathOf(o resource.Object) string {
	return o.Head().Key().Path()
}

func naming(o resource.Object, err error) error {
	e := fault.New("gateway.FromResources", fault.KindOf(err), fmt.Sprintf("the %s %s: %s", o.Head().Kind, o.Head().Metadata.Name, fault.Message(err)))
	return e.Advise("%s", fault.Next(err))
}
