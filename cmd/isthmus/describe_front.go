package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

// describeGateway tells where names lead, what leads nowhere, and who carries it.
func describeGateway(ctx context.Context, w *world, s *session, g *resource.Gateway) (next []string) {
	open := ""
	if g.Spec.OpenToAll {
		open = "yes: every source that no rule denies is let in"
	}
	w.pairs(
		[2]string{"Listeners", strings.ReplaceAll(listeners(g), ",", ", ")},
		[2]string{"Carried by", first(carriers(ctx, w, s, g), "nobody")},
		[2]string{"Rules in force", strconv.Itoa(g.Status.Rules)},
		[2]string{"Open to all", open},
	)
	if len(g.Spec.Routes) > 0 {
		w.printf("\nRoutes:\n")
		var rows [][]cell
		for _, r := range g.Spec.Routes {
			port := ""
			if r.Port != 0 {
				port = strconv.Itoa(int(r.Port))
			}
			rows = append(rows, cells(first(strings.Join(r.Names, ", "), "(every other name)"), first(strings.Join(r.Listeners, ", "), "(all)"), routeTarget(r), port))
		}
		w.table([]string{"NAMES", "LISTENERS", "LEADS TO", "PORT"}, rows)
	}
	if len(g.Spec.Groups) > 0 {
		w.printf("\nGroups:\n")
		var rows [][]cell
		for _, t := range g.Spec.Groups {
			rows = append(rows, cells(t.Name, strings.Join(t.Targets, ", "), first(string(t.Balance), string(resource.LeastConnections)), first(string(t.Health.Check), string(resource.CheckTCP))))
		}
		w.table([]string{"NAME", "TARGETS", "BALANCE", "CHECK"}, rows)
	}
	describeRules(ctx, w, s, g)
	if len(g.Status.Problems) > 0 {
		w.printf("\nProblems:\n")
		for _, p := range g.Status.Problems {
			w.printf("  %s %s\n", w.painter()(red, "!"), harmless(p))
		}
	}
	place := g.Metadata.Tenant + "/" + g.Metadata.Network
	if len(g.Status.Agents) == 0 && len(g.Spec.Agents) == 0 {
		next = append(next, "let a process join that carries it:  isthmus token join --for gateway --network "+place)
	}
	if g.Status.Rules == 0 && !g.Spec.OpenToAll {
		next = append(next, "no rule lets anybody in: make an Allowlist in "+place)
	}
	ask := "isthmus gateway why --gateway " + g.Key().Path() + " --source IP"
	for _, r := range g.Spec.Routes {
		if i := slices.IndexFunc(r.Names, func(n string) bool { return !strings.HasPrefix(n, "*") }); i >= 0 {
			ask += " --sni " + r.Names[i]
			break
		}
	}
	return append(next, "ask what it does with a client:", "  "+ask)
}

// carriers are the processes that carry a gateway, each with its state where that may be seen.
func carriers(ctx context.Context, w *world, s *session, g *resource.Gateway) string {
	states := map[string]string{}
	if list, err := s.List(ctx, resource.KindAgent, client.Filter{Tenant: g.Metadata.Tenant, Scope: g.Metadata.Network}); err == nil {
		for _, o := range list {
			if a, ok := o.(*resource.Agent); ok {
				states[a.Metadata.Name] = " (" + w.agentState(a).text + ")"
			}
		}
	}
	var out []string
	for _, name := range g.Status.Agents {
		out = append(out, name+states[name])
	}
	return strings.Join(out, ", ")
}

// describeRules lists the allowlists that hold for a gateway.
func describeRules(ctx context.Context, w *world, s *session, g *resource.Gateway) {
	list, err := s.List(ctx, resource.KindAllowlist, client.Filter{Tenant: g.Metadata.Tenant, Scope: g.Metadata.Network})
	list = slices.DeleteFunc(list, func(o resource.Object) bool {
		a, ok := o.(*resource.Allowlist)
		return !ok || len(a.Spec.Gateways) > 0 && !slices.Contains(a.Spec.Gateways, g.Metadata.Name)
	})
	if err != nil || len(list) == 0 {
		return
	}
	w.printf("\nAllowlists:\n")
	heads, rows := w.columns(resource.KindAllowlist, list, false)
	w.table(heads, rows)
}

func routeTarget(r resource.GatewayRoute) string {
	switch {
	case r.Endpoint != "":
		return "endpoint " + r.Endpoint
	case r.Service != "":
		return "service " + r.Service
	}
	return "group " + r.Group
}

// shownRules is how many rules of an allowlist are told; it may have a hundred thousand.
const shownRules = 50

// soon is how long before its end a rule is told of.
const soon = 30 * 24 * time.Hour

func describeAllowlist(w *world, a *resource.Allowlist) (next []string) {
	expired := ""
	if a.Status.Expired > 0 {
		expired = strconv.Itoa(a.Status.Expired) + ", which can be taken out"
	}
	w.pairs(
		[2]string{"Owner", a.Spec.Owner},
		[2]string{"Gateways", first(strings.Join(a.Spec.Gateways, ", "), "all of the network")},
		[2]string{"Rules", strconv.Itoa(a.Status.Rules)},
		[2]string{"Expired", expired},
	)
	if len(a.Spec.Rules) == 0 {
		return []string{"it lets nobody in: add rules to spec.rules"}
	}
	w.printf("\nRules:\n")
	var rows [][]cell
	for _, r := range a.Spec.Rules[:min(len(a.Spec.Rules), shownRules)] {
		row := cells(r.Name, "", texts(r.Sources), first(numbers(r.Ports), "all"), first(strings.Join(r.Names, ", "), "all"), w.at(r.Expires), r.Note)
		row[1] = actionCell(r.Action)
		if w.over(r) {
			row[5] = cell{row[5].text + ", expired", red}
		}
		rows = append(rows, row)
	}
	w.table([]string{"NAME", "ACTION", "SOURCES", "PORTS", "NAMES", "EXPIRES", "NOTE"}, rows)
	if more := len(a.Spec.Rules) - shownRules; more > 0 {
		w.printf("… and %d more; see all with: isthmus get allowlist %s -o yaml\n", more, a.Key().Path())
	}
	return w.endings(a.Spec.Rules)
}

// over tells whether a rule's time has passed.
func (w *world) over(r resource.AllowRule) bool {
	return !r.Expires.IsZero() && !w.clock.Now().Before(r.Expires)
}

// endings tells of rules that have expired, or will before long.
func (w *world) endings(rules []resource.AllowRule) (next []string) {
	var past, near []string
	for _, r := range rules {
		switch {
		case w.over(r):
			past = append(past, r.Name)
		case !r.Expires.IsZero() && r.Expires.Sub(w.clock.Now()) < soon:
			near = append(near, r.Name)
		}
	}
	for _, n := range []struct {
		names    []string
		one, all string
	}{{past, "rule expired and can be taken out", "rules expired and can be taken out"}, {near, "rule expires within 30 days", "rules expire within 30 days"}} {
		const most = 5
		words := n.all
		switch {
		case len(n.names) == 0:
			continue
		case len(n.names) == 1:
			words = n.one
		}
		line := itoa(len(n.names)) + " " + words + ": " + strings.Join(n.names[:min(len(n.names), most)], ", ")
		if len(n.names) > most {
			line += ", …"
		}
		next = append(next, line)
	}
	return next
}

func describeRuleset(w *world, r *resource.Ruleset) (next []string) {
	w.pairs([2]string{"Networks", first(strings.Join(r.Spec.Networks, ", "), "none: nobody follows it")}, [2]string{"Rules", strconv.Itoa(r.Status.Rules)})
	if len(r.Spec.Networks) == 0 {
		next = append(next, "link it: add the networks that shall follow it to spec.networks")
	}
	if len(r.Spec.Rules) == 0 {
		return append(next, "it leads nowhere: add rules to spec.rules")
	}
	w.printf("\nRules:\n")
	var rows [][]cell
	for _, f := range r.Spec.Rules {
		domain := f.Domain
		if f.Exact {
			domain += " (this name only)"
		}
		row := cells(f.Name, domain, strings.Join(f.Targets, ", "), first(string(f.Transport), string(resource.DNSOverUDP)), "")
		row[4] = cell{string(resource.RuleEnabled), green}
		if !f.Enabled() {
			row[4] = cell{string(resource.RuleDisabled), yellow}
		}
		rows = append(rows, row)
	}
	w.table([]string{"NAME", "DOMAIN", "TARGETS", "TRANSPORT", "STATE"}, rows)
	for _, f := range r.Spec.Rules {
		if f.Enabled() && f.Domain != "." && len(r.Spec.Networks) > 0 {
			next = append(next, "see who is asked:  isthmus dns why "+f.Suffix()+" --from "+r.Metadata.Tenant+"/"+r.Spec.Networks[0])
			break
		}
	}
	return next
}
