package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

func newEndpoint(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:     "endpoint",
		Aliases: []string{"endpoints", "ep"},
		Short:   "Decide who may reach your services",
		Long: `List the connections between private endpoints and services, and decide those that ask for yours. Only the service's tenant decides; only Approved
passes a byte; leaving Approved cuts open flows at once.`,
		Example: `  isthmus endpoint list
  isthmus endpoint approve it/it-cloud/erp --reason "agreed with Ann, ticket 4711"`,
	}
	c.AddCommand(
		newEndpointList(w),
		newDecision(w, resource.Approve, "Let an endpoint's flows pass", "approved"),
		newDecision(w, resource.Reject, "Let nothing pass; it may be approved later", "rejected"),
		newDecision(w, resource.Remove, "End a connection for good", "removed for good"),
	)
	return c
}

func newEndpointList(w *world) *cobra.Command {
	var (
		out    output
		filter client.Filter
		state  string
	)
	c := &cobra.Command{
		Use: "list", Short: "List connections, those that wait for a decision first", Args: cobra.NoArgs,
		Example: "  isthmus endpoint list\n  isthmus endpoint list --state Pending -o json",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outWide, outJSON, outYAML, outName)
	c.Flags().StringVarP(&filter.Tenant, "tenant", "t", "", "only endpoints of this `TENANT`")
	c.Flags().StringVarP(&filter.Scope, "network", "n", "", "only endpoints in this `NETWORK`")
	c.Flags().StringVar(&state, "state", "", "only in this `STATE`: Pending, Approved, Rejected, Disconnected")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(stateNames(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	c.RunE = func(c *cobra.Command, _ []string) error {
		if state != "" {
			i := slices.IndexFunc(stateNames(), func(s string) bool { return strings.EqualFold(s, state) })
			if i < 0 {
				return usagef("--state %q is no state", state).advise("states are %s", strings.Join(stateNames(), ", "))
			}
			filter.State = resource.ConnectionState(stateNames()[i])
		}
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		defer s.wait()()
		list, err := s.Connections(c.Context(), filter)
		if err != nil {
			return err
		}
		sortConnections(list)
		return printConnections(w, out, list)
	}
	return c
}

func stateNames() []string {
	return []string{string(resource.Pending), string(resource.Approved), string(resource.Rejected), string(resource.Disconnected)}
}

// sortConnections puts what waits first, longest waiting on top; the rest by name.
func sortConnections(list []client.Connection) {
	rank := func(c client.Connection) int {
		if i := slices.Index(stateNames(), string(c.Connection.State)); i >= 0 {
			return i
		}
		return len(stateNames())
	}
	slices.SortStableFunc(list, func(a, b client.Connection) int {
		if c := cmp.Compare(rank(a), rank(b)); c != 0 {
			return c
		}
		if a.Connection.State == resource.Pending {
			if c := a.Connection.RequestedAt.Compare(b.Connection.RequestedAt); c != 0 {
				return c
			}
		}
		return strings.Compare(a.Endpoint, b.Endpoint)
	})
}

func printConnections(w *world, out output, list []client.Connection) error {
	switch {
	case out.structured():
		if list == nil {
			list = []client.Connection{}
		}
		return out.write(w, struct {
			Items []client.Connection `json:"items"`
		}{list})
	case out.format == outName:
		for _, c := range list {
			w.printf("endpoints/%s\n", c.Endpoint)
		}
		return nil
	case len(list) == 0:
		w.note("no connections")
		return nil
	}
	w.connectionTable(list, out.format == outWide)
	var mine []client.Connection
	for _, c := range list {
		if c.Connection.State == resource.Pending && c.MayDecide {
			mine = append(mine, c)
		}
	}
	if len(mine) > 0 {
		w.printf("\n%s for your decision, for example:\n  %s\n", waitWords(len(mine)), decideCommand(resource.Approve, mine[0].Endpoint))
	}
	return nil
}

func waitWords(n int) string {
	if n == 1 {
		return "one waits"
	}
	return itoa(n) + " wait"
}

func (w *world) connectionTable(list []client.Connection, wide bool) {
	heads := []string{"ENDPOINT", "SERVICE", "STATE", "SINCE", "MESSAGE"}
	if wide {
		heads = append(heads, "BY", "LINK")
	}
	var rows [][]cell
	for _, c := range list {
		since, words, by := c.Connection.RequestedAt, c.RequestMessage, c.Connection.RequestedBy
		if c.Connection.State != resource.Pending {
			since, words, by = c.Connection.DecidedAt, first(c.Connection.Description, words), first(c.Connection.DecidedBy, by)
		}
		r := cells(c.Endpoint, c.Service, "", w.age(since), words)
		r[2] = stateCell(c.Connection.State)
		if wide {
			r = append(r, cells(by, itoa(int(c.Connection.LinkID)))...)
		}
		rows = append(rows, r)
	}
	w.table(heads, rows)
}

// decideCommand is the command that decides, ready to paste.
func decideCommand(d resource.Decision, endpoint string) string {
	return "isthmus endpoint " + string(d) + " " + endpoint + ` --reason "…"`
}

func newDecision(w *world, d resource.Decision, short, done string) *cobra.Command {
	var reason, tenant string
	c := &cobra.Command{
		Use: string(d) + " TENANT/NETWORK/NAME --reason WHY", Short: short,
		Example: "  " + strings.ReplaceAll(decideCommand(d, "it/it-cloud/erp"), "…", "agreed with Ann, ticket 4711"),
	}
	if d == resource.Remove {
		c.Long = sentence(short) + " The endpoint stays in its network and leads nowhere; its owner deletes it and asks again with a new one."
	}
	n := addConnection(w, c)
	c.Flags().StringVar(&reason, "reason", "", "`WHY`; the other side reads it (required)")
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of a name that leaves it out")
	c.ValidArgsFunction = func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return n.completing(c, func(ctx context.Context, s *session) []string { return decidable(ctx, s, d) })
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 1 && reason == "" {
			return usagef("--reason is missing").advise("say why, for the other side and for whoever reads the audit log later")
		}
		return cobra.ExactArgs(1)(c, args)
	}
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		key, err := parseName(resource.KindPrivateEndpoint, args[0], first(tenant, s.tenant))
		if err != nil {
			return err
		}
		v, err := s.Decide(c.Context(), key, d, reason)
		if err != nil {
			return err
		}
		w.printf("connection of %s to %s %s: it is %s now\n", v.Endpoint, v.Service, done, w.painter()(stateCell(v.Connection.State).colour, string(v.Connection.State)))
		return nil
	})
	return c
}

// decidable lists the endpoints which a decision could be about.
func decidable(ctx context.Context, s *session, d resource.Decision) []string {
	list, err := s.Connections(ctx, client.Filter{})
	if err != nil {
		return nil
	}
	sortConnections(list)
	var out []string
	for _, c := range list {
		if _, err := c.Connection.Apply(d, "", "", c.Connection.RequestedAt); err == nil && c.MayDecide {
			out = append(out, c.Endpoint)
		}
	}
	return out
}
