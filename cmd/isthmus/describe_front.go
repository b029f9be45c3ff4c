package main

import (
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/resource"
)

// describeGateway tells where names lead, and what leads nowhere.
func describeGateway(w *world, g *resource.Gateway) (next []string) {
	open := ""
	if g.Spec.OpenToAll {
		open = "yes: every source that no rule denies is let in"
	}
	w.pairs(
		[2]string{"Listeners", strings.ReplaceAll(listeners(g), ",", ", ")},
		[2]string{"Carried by", first(strings.Join(g.Status.Agents, ", "), "nobody")},
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
	return next
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

func describeAllowlist(w *world, a *resource.Allowlist) {
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
		return
	}
	w.printf("\nRules:\n")
	var rows [][]cell
	for _, r := range a.Spec.Rules[:min(len(a.Spec.Rules), shownRules)] {
		row := cells(r.Name, "", texts(r.Sources), first(numbers(r.Ports), "all"), first(strings.Join(r.Names, ", "), "all"), w.at(r.Expires), r.Note)
		row[1] = cell{string(resource.Allow), green}
		if r.Action == resource.Deny {
			row[1] = cell{string(resource.Deny), red}
		}
		rows = append(rows, row)
	}
	w.table([]string{"NAME", "ACTION", "SOURCES", "PORTS", "NAMES", "EXPIRES", "NOTE"}, rows)
	if more := len(a.Spec.Rules) - shownRules; more > 0 {
		w.printf("… and %d more; see all with: isthmus get allowlist %s -o yaml\n", more, a.Key().Path())
	}
}

func describeRuleset(w *world, r *resource.Ruleset) {
	w.pairs([2]string{"Networks", first(strings.Join(r.Spec.Networks, ", "), "none: nobody follows it")}, [2]string{"Rules", strconv.Itoa(r.Status.Rules)})
	if len(r.Spec.Rules) == 0 {
		return
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
}
