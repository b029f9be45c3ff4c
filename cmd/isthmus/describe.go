package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/manifest"
	"github.com/isthmus-io/isthmus/resource"
)

func newDescribe(w *world) *cobra.Command {
	var tenant string
	c := &cobra.Command{
		Use: "describe KIND NAME", Short: "Tell about one resource, its history, and what to do next",
		Example: `  isthmus describe endpoint ot/plant-7/hub
  isthmus describe agent ot/plant-7/gw-1`,
		Args: cobra.RangeArgs(1, 2),
	}
	n := addConnection(w, c)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of a name that leaves it out")
	c.ValidArgsFunction = completeNames(n)
	c.RunE = func(c *cobra.Command, args []string) error {
		word, names := splitKind(args)
		k, err := findKind(word)
		if err != nil {
			return err
		}
		if len(names) != 1 {
			return usagef("the name is missing").advise("isthmus describe %s %s", word, shape(k.kind))
		}
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		key, err := parseName(k.kind, names[0], first(tenant, s.tenant))
		if err != nil {
			return err
		}
		done := s.wait()
		o, err := s.Get(c.Context(), key)
		done()
		if err != nil {
			return err
		}
		return describe(c.Context(), w, s, o)
	}
	return c
}

func describe(ctx context.Context, w *world, s *session, o resource.Object) error {
	m := o.Head().Metadata
	w.printf("%s %s\n\n", w.painter()(bold, string(o.Head().Kind)), o.Head().Key().Path())
	var next []string
	switch o := o.(type) {
	case *resource.PrivateEndpoint:
		next = describeEndpoint(ctx, w, s, o)
	case *resource.Service:
		next = describeService(ctx, w, s, o)
	case *resource.Agent:
		next = describeAgent(w, o)
	case *resource.Network:
		next = describeNetwork(ctx, w, s, o)
	case *resource.Gateway:
		next = describeGateway(ctx, w, s, o)
	case *resource.Allowlist:
		next = describeAllowlist(w, o)
	case *resource.Ruleset:
		next = describeRuleset(w, o)
	case *resource.Target:
		next = describeTarget(w, o)
	case *resource.AccessPolicy:
		next = describePolicy(w, o)
	case *resource.IdentityProvider:
		next = describeProvider(w, o)
	case *resource.Zone:
		next = describeZone(ctx, w, s, o)
	case *resource.Contract:
		next = describeContract(w, o)
	case *resource.Bridge:
		next = describeBridge(w, o)
	default:
		describeSpec(w, o)
	}
	if len(m.Labels) > 0 {
		w.printf("\n")
		w.pairs([2]string{"Labels", strings.Join(sortedPairs(m.Labels), ", ")})
	}
	w.printf("\n")
	w.pairs([2]string{"Made", w.at(m.CreatedAt)}, [2]string{"Changed", changed(w, m)}, [2]string{"Id", m.UID})
	history(ctx, w, s, o)
	if len(next) > 0 {
		w.printf("\nNext:\n")
		for _, line := range next {
			w.printf("  %s\n", line)
		}
	}
	return nil
}

func changed(w *world, m resource.Meta) string {
	if m.UpdatedAt.Equal(m.CreatedAt) {
		return ""
	}
	return w.at(m.UpdatedAt)
}

func describeEndpoint(ctx context.Context, w *world, s *session, e *resource.PrivateEndpoint) (next []string) {
	cn := e.Status.Connection
	w.pairs(
		[2]string{"Service", e.Spec.Service},
		[2]string{"Address", address(e.Status.Address)},
		[2]string{"Ports", numbers(e.Status.Ports)},
		[2]string{"Host names", strings.Join(e.Status.HostNames, ", ")},
		[2]string{"Agent", e.Status.Agent},
		[2]string{"Connection", string(cn.State)},
		[2]string{"  asked", by(w, cn.RequestedAt, cn.RequestedBy)},
		[2]string{"  message", e.Spec.RequestMessage},
		[2]string{"  decided", by(w, cn.DecidedAt, cn.DecidedBy)},
		[2]string{"  reason", cn.Description},
	)
	path := e.Head().Key().Path()
	switch cn.State {
	case resource.Pending:
		if s.mayDecide(ctx, path) {
			next = append(next, "decide:  "+decideCommand(resource.Approve, path), "or:      "+decideCommand(resource.Reject, path))
		} else {
			next = append(next, "nothing passes until the service's tenant runs:", "  "+decideCommand(resource.Approve, path))
		}
	case resource.Rejected:
		next = append(next, "nothing passes; the service's tenant may still run:", "  "+decideCommand(resource.Approve, path))
	case resource.Disconnected:
		next = append(next, "this is final; to ask again, delete the endpoint and make a new one:",
			"  isthmus delete endpoint "+path+` --reason "…"`)
	case resource.Approved:
		if len(e.Status.HostNames) > 0 {
			next = append(next, "try it in network "+e.Metadata.Network+":  nslookup "+e.Status.HostNames[0])
		}
	}
	if e.Status.Agent == "" {
		next = append(next, "no agent listens: let one join with:", "  isthmus token join --for agent --network "+e.Metadata.Tenant+"/"+e.Metadata.Network)
	}
	return next
}

// mayDecide tells whether the session's principal decides the endpoint's connection.
func (s *session) mayDecide(ctx context.Context, endpoint string) bool {
	list, err := s.Connections(ctx, client.Filter{State: resource.Pending})
	if err != nil {
		return false
	}
	for _, c := range list {
		if c.Endpoint == endpoint {
			return c.MayDecide
		}
	}
	return false
}

func by(w *world, at time.Time, who string) string {
	if at.IsZero() {
		return ""
	}
	if who == "" {
		return w.at(at)
	}
	return w.at(at) + " by " + who
}

func describeService(ctx context.Context, w *world, s *session, v *resource.Service) (next []string) {
	var private []string
	for _, p := range v.PrivateNames() {
		if p.Private != p.Public {
			private = append(private, p.Private)
		}
	}
	w.pairs(
		[2]string{"Type", string(v.Spec.Type)},
		[2]string{"Host names", strings.Join(v.HostNames(), ", ")},
		[2]string{"Private names", strings.Join(private, ", ")},
		[2]string{"Ports", servicePorts(v)},
		[2]string{"Target", v.Spec.Target},
		[2]string{"Served by", v.Spec.ServedBy},
		[2]string{"Visible to", strings.Join(append([]string{v.Metadata.Tenant}, v.Spec.Visibility...), ", ")},
		[2]string{"Auto-approves", strings.Join(v.Spec.AutoApprove, ", ")},
		[2]string{"Public access", first(string(v.Spec.PublicNetworkAccess), string(resource.PublicEnabled))},
		[2]string{"Alias", v.Status.Alias},
	)
	list, err := s.Connections(ctx, client.Filter{})
	if err != nil {
		w.printf("\nConnections: %s\n", connectionCounts(v.Status.Connections))
		return nil
	}
	path := v.Head().Key().Path()
	var mine []client.Connection
	for _, c := range list {
		if c.Service == path || (v.Status.Alias != "" && c.Service == v.Status.Alias) {
			mine = append(mine, c)
		}
	}
	if len(mine) == 0 {
		w.printf("\nNo endpoint has asked for it yet.\n")
		return []string{"in another network, make a PrivateEndpoint with spec.service: " + path}
	}
	sortConnections(mine)
	w.printf("\nConnections:\n")
	w.connectionTable(mine, false)
	for _, c := range mine {
		if c.Connection.State == resource.Pending && c.MayDecide {
			next = append(next, decideCommand(resource.Approve, c.Endpoint))
		}
	}
	return next
}

func describeAgent(w *world, a *resource.Agent) (next []string) {
	w.pairs(
		[2]string{"Role", string(a.Spec.Role)},
		[2]string{"State", w.agentState(a).text},
		[2]string{"Last seen", w.at(a.Status.LastSeen)},
		[2]string{"Version", a.Status.Version},
		[2]string{"Identity", a.Status.SPIFFEID},
		[2]string{"Direct address", a.Status.DirectAddress},
		[2]string{"Plan", a.Status.PlanRevision},
		[2]string{"Certificate ends", w.at(a.Status.CertificateEnd)},
	)
	if len(a.Status.Problems) > 0 {
		w.printf("\nProblems:\n")
		for _, p := range a.Status.Problems {
			w.printf("  %s %s\n", w.painter()(red, "!"), harmless(p))
		}
	}
	switch {
	case !a.Status.CertificateEnd.IsZero() && a.Status.CertificateEnd.Before(w.clock.Now()):
		next = append(next, "its certificate lapsed: start it again so that it renews, or let it join anew:",
			"  isthmus token join --for "+string(a.Spec.Role)+" --network "+a.Metadata.Tenant+"/"+a.Metadata.Network+" --name "+a.Metadata.Name)
	case !a.Status.Connected:
		next = append(next, "it does not follow its plan; flows go on as last planned. On its machine look at: journalctl -u isthmus-"+string(a.Spec.Role))
	}
	return next
}

func describeNetwork(ctx context.Context, w *world, s *session, n *resource.Network) (next []string) {
	w.pairs(
		[2]string{"Address ranges", texts(n.Spec.AddressRanges)},
		[2]string{"DNS upstreams", first(strings.Join(n.Spec.DNS.Upstreams, ", "), "none: other names are refused")},
	)
	for _, k := range []resource.Kind{resource.KindAgent, resource.KindService, resource.KindPrivateEndpoint, resource.KindGateway, resource.KindAllowlist,
		resource.KindBridge, resource.KindRoleAssignment} {
		list, err := s.List(ctx, k, client.Filter{Tenant: n.Metadata.Tenant, Scope: n.Metadata.Name})
		if err != nil {
			continue // what may not be listed is not described
		}
		title := strings.ToUpper(client.Plural(k)[:1]) + client.Plural(k)[1:]
		if len(list) == 0 && k != resource.KindAgent && k != resource.KindService && k != resource.KindPrivateEndpoint {
			continue // most networks have none
		}
		if len(list) == 0 {
			w.printf("\n%s: none\n", title)
			if k == resource.KindAgent {
				next = append(next, "let an agent join:  isthmus token join --for agent --network "+n.Head().Key().Path())
			}
			continue
		}
		w.printf("\n%s:\n", title)
		heads, rows := w.columns(k, list, false)
		w.table(heads, rows)
	}
	return next
}

// describeSpec prints what was asked for, and what Isthmus says about it, by the names of the fields.
func describeSpec(w *world, o resource.Object) {
	schema, _ := manifest.SchemaOf(o.Head().Kind)
	spec, status := o.SpecAndStatus()
	for _, half := range []struct {
		name  string
		value any
	}{{"spec", spec}, {"status", status}} {
		f, _, _, _ := schema.Find(half.name)
		values := map[string]string{}
		flatten(values, half.name, plainJSON(half.value))
		var rows [][2]string
		for _, sub := range f.Fields {
			rows = append(rows, [2]string{sub.Name, values[half.name+"."+sub.Name]})
		}
		w.pairs(rows...)
	}
}

// history prints the last audit records about the noun, if they may be read.
func history(ctx context.Context, w *world, s *session, o resource.Object) {
	key := o.Head().Key()
	f := client.AuditFilter{Tenant: key.Tenant, Kind: string(key.Kind), Path: key.Path(), Limit: 5, Last: true}
	if key.Kind == resource.KindContract && s.tenant != "" {
		f.Tenant = s.tenant // both sides have records of it
	}
	records, err := s.Audit(ctx, f)
	if err != nil || len(records) == 0 {
		return
	}
	w.printf("\nHistory:\n")
	var rows [][]cell
	for _, r := range records {
		row := cells("  "+w.ago(r.Time), r.Who, r.Operation, r.Why)
		if r.Why == "" {
			row = row[:3]
		}
		rows = append(rows, row)
	}
	w.table(make([]string, 4), rows)
}
