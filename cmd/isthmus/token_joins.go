package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

// The states of a join token.
const (
	joinUnused  = "unused"
	joinUsed    = "used"
	joinExpired = "expired"
	joinRevoked = "revoked"
)

func joinStates() []string { return []string{joinUnused, joinUsed, joinExpired, joinRevoked} }

func newTokenJoins(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "joins", Short: "List and revoke the join tokens that were made",
		Example: `  isthmus token joins list
  isthmus token joins revoke 4kq7x2mzc5ta --reason "sent to the wrong person"`,
	}
	c.AddCommand(newJoinList(w), newJoinRevoke(w))
	return c
}

func newJoinList(w *world) *cobra.Command {
	var (
		out            output
		network, state string
		f              client.Filter
	)
	c := &cobra.Command{
		Use: "list", Short: "List join tokens and what became of them, never their text", Args: cobra.NoArgs,
		Long: `List join tokens: which are unused and until when, which were used and by whom, which expired, and which were revoked. They are forgotten 30 days after
their end, and with their network.`,
		Example: `  isthmus token joins list --state unused
  isthmus token joins list --network ot/plant-7`,
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVarP(&f.Tenant, "tenant", "t", "", "only those of this `TENANT`")
	c.Flags().StringVarP(&network, "network", "n", "", "only those of this `TENANT/NETWORK`")
	c.Flags().StringVar(&state, "state", "", "only those in this `STATE`: "+strings.Join(joinStates(), ", "))
	completeFlag(n, c, "network", resource.KindNetwork)
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(joinStates(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		if state != "" && !slices.Contains(joinStates(), state) {
			return usagef("--state %q is no state of a join token", state).advise("write %s", strings.Join(joinStates(), ", "))
		}
		if tenant, name, ok := strings.Cut(network, "/"); ok {
			f.Tenant, f.Scope = tenant, name
		} else {
			f.Scope = network
		}
		all, err := s.JoinTokens(c.Context(), f)
		if err != nil {
			return err
		}
		list := []client.JoinTokenView{}
		for _, t := range all {
			if state == "" || t.State == state {
				list = append(list, t)
			}
		}
		if out.structured() {
			return out.write(w, struct {
				Items []client.JoinTokenView `json:"items"`
			}{list})
		}
		var rows [][]cell
		for _, t := range list {
			r := cells(t.ID, t.For, "", t.Name, "", w.age(t.CreatedAt), t.CreatedBy, first(t.UsedBy, t.RevokedBy))
			if t.Network != "" {
				r[2].text = t.Tenant + "/" + t.Network
			}
			r[4] = w.joinState(t)
			rows = append(rows, r)
		}
		w.table([]string{"ID", "FOR", "NETWORK", "NAME", "STATE", "AGE", "MADE BY", "USED OR REVOKED BY"}, rows)
		return nil
	})
	return c
}

// joinState says what became of a join token, and when.
func (w *world) joinState(t client.JoinTokenView) cell {
	switch t.State {
	case joinUnused:
		left := span(t.Expires.Sub(w.clock.Now())) + " left"
		if t.Used > 0 {
			return cell{itoa(t.Used) + " of " + itoa(t.Uses) + " used, " + left, green}
		}
		return cell{"unused, " + left, green}
	case joinUsed:
		return cell{text: "used " + w.ago(t.UsedAt)}
	case joinExpired:
		return cell{text: "expired " + w.ago(t.Expires)}
	case joinRevoked:
		return cell{"revoked " + w.ago(t.RevokedAt), red}
	}
	return cell{text: t.State}
}

func newJoinRevoke(w *world) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "revoke ID --reason WHY", Short: "End a join token before it is used", Args: cobra.ExactArgs(1),
		Long:    `End a join token that was not used yet, at once: nobody joins with it any more. What joined with a token that was used is removed with "isthmus delete".`,
		Example: `  isthmus token joins revoke 4kq7x2mzc5ta --reason "sent to the wrong person"`,
	}
	n := addConnection(w, c)
	c.Flags().StringVar(&reason, "reason", "", "`WHY`; stands in the audit record (required)")
	c.ValidArgsFunction = func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return n.completing(c, func(ctx context.Context, s *session) []string {
			all, _ := s.JoinTokens(ctx, client.Filter{}) // no completion is no harm
			var ids []string
			for _, t := range all {
				if t.State == joinUnused {
					ids = append(ids, t.ID)
				}
			}
			return ids
		})
	}
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		if reason == "" {
			return usagef("--reason is missing").advise("say why, for whoever reads the audit log later")
		}
		if err := s.RevokeJoinToken(c.Context(), args[0], reason); err != nil {
			return err
		}
		w.printf("join token %s revoked\n", args[0])
		return nil
	})
	return c
}
