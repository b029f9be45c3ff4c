package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func newContract(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:     "contract",
		Aliases: []string{"contracts"},
		Short:   "Agree with another tenant what may cross, and check what was agreed",
		Long: `A contract says what of one tenant's data may cross to another: which messages, which fields, how much, for what purpose and until when. It is a resource of the tenant
whose data it is: isthmus apply makes it, and every change of it is a new version. It holds once the other tenant has accepted that text; until then the version before holds.
Both see the same text, and either can end it at once.`,
		Example: `  isthmus contract show ot/telemetry
  isthmus contract accept ot/telemetry --reason "agreed in the meeting of 3 March"
  isthmus contract withdraw ot/telemetry --reason "the project is over"`,
	}
	c.AddCommand(
		newContractList(w),
		newContractShow(w),
		newContractDiff(w),
		newContractDecision(w, "accept", "Sign the text: it holds from then on", "accepted"),
		newContractDecision(w, "reject", "Say that the text will not be accepted; what holds goes on", "rejected"),
		newContractDecision(w, "withdraw", "End what was agreed: nothing crosses any more", "withdrawn"),
		newContractVerify(w),
	)
	return c
}

func newContractList(w *world) *cobra.Command {
	var (
		out    output
		tenant string
	)
	c := &cobra.Command{
		Use: "list", Short: "List contracts of the own tenant and with it, those that wait for a decision first", Args: cobra.NoArgs,
		Example: "  isthmus contract list\n  isthmus contract list -o json",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outWide, outJSON, outYAML, outName)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "only contracts that belong to this `TENANT`")
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		list, err := s.List(c.Context(), resource.KindContract, client.Filter{Tenant: tenant})
		if err != nil {
			return err
		}
		slices.SortStableFunc(list, func(a, b resource.Object) int {
			x, y := waits(a.(*resource.Contract)), waits(b.(*resource.Contract))
			switch {
			case x && !y:
				return -1
			case y && !x:
				return 1
			}
			return strings.Compare(a.Head().Key().Path(), b.Head().Key().Path())
		})
		g := &getting{w: w, out: out}
		if err := g.print(list, false, false); err != nil || out.structured() || out.format == outName {
			return err
		}
		for _, o := range list {
			if k := o.(*resource.Contract); waits(k) && (s.tenant == "" || s.tenant == k.Spec.With) {
				w.printf("\nread what waits for you, and decide, for example:\n  isthmus contract show %s\n  %s\n", k.Key().Path(), contractCommand("accept", k))
				break
			}
		}
		return nil
	})
	return c
}

// waits tells whether the tenant a contract is with has something to decide.
func waits(n *resource.Contract) bool {
	if n.Status.Proposal == nil {
		return false
	}
	for _, h := range slices.Backward(n.Status.History) {
		switch h.What {
		case "rejected":
			return false
		case "proposed":
			return true
		}
	}
	return true
}

// contractCommand is the command that decides, ready to paste.
func contractCommand(decision string, n *resource.Contract) string {
	return "isthmus contract " + decision + " " + n.Key().Path() + ` --reason "…"`
}

func newContractDecision(w *world, decision, short, done string) *cobra.Command {
	var (
		reason, tenant, digest string
		version                int64
	)
	c := &cobra.Command{
		Use: decision + " TENANT/NAME --reason WHY", Short: short,
		Example: "  isthmus contract " + decision + ` ot/telemetry --reason "agreed in the meeting of 3 March"`,
	}
	switch decision {
	case "accept":
		c.Long = sentence(short) + ` The text is the newest version as it is when the command runs; with --version or --digest it must be that one, and nothing is signed when it is another by now.
The tenant that owns the contract has signed by applying it. It accepts only what it has withdrawn itself, which proposes it again.`
	case "withdraw":
		c.Long = sentence(short) + " Either side may. Bridges that work under it stop within a second; what they have not sent stays where it is read from."
	}
	n := addConnection(w, c)
	f := c.Flags()
	f.StringVar(&reason, "reason", "", "`WHY`; the other side reads it (required)")
	f.StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of a name that leaves it out")
	if decision != "withdraw" {
		f.Int64Var(&version, "version", 0, "the `NUMBER` of the version that is meant; the newest when absent")
		f.StringVar(&digest, "digest", "", "the `DIGEST` of the text that is meant, or how it begins; whatever the newest has when absent")
	}
	c.ValidArgsFunction = completeContracts(n, decision)
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 1 && reason == "" {
			return usagef("--reason is missing").advise("say why, for the other side and for whoever reads the audit log later")
		}
		return cobra.ExactArgs(1)(c, args)
	}
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		k, err := getContract(c.Context(), s, args[0], tenant)
		if err != nil {
			return err
		}
		d := client.ContractDecision{Decision: decision, Reason: reason}
		if decision != "withdraw" {
			st := k.Status
			if version != 0 && version != st.Version || !strings.HasPrefix(st.Digest, strings.ToLower(digest)) {
				return fault.Newf("isthmus.contract", fault.Conflict, "the newest text of %s is version %d with the digest %.12s", k.Key().Path(), st.Version, st.Digest).
					Advise("read it again: isthmus contract show %s", k.Key().Path())
			}
			d.Version, d.Digest = st.Version, st.Digest
		}
		after, err := s.DecideContract(c.Context(), k.Key(), d)
		if err != nil {
			return err
		}
		what := "contract " + k.Key().Path()
		if d.Version != 0 {
			what = "version " + itoa(int(d.Version)) + " of " + what + " (digest " + short12(d.Digest) + ")"
		}
		w.printf("%s %s: it is %s now\n", what, done, w.painter()(contractCell(after.Status.State).colour, string(after.Status.State)))
		return nil
	})
	return c
}

func short12(digest string) string { return digest[:min(12, len(digest))] }

func getContract(ctx context.Context, s *session, name, tenant string) (*resource.Contract, error) {
	key, err := parseName(resource.KindContract, name, first(tenant, s.tenant))
	if err != nil {
		return nil, err
	}
	o, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return o.(*resource.Contract), nil
}

// completeContracts completes the contracts which a decision could be about; all for an empty one.
func completeContracts(n *connection, decision string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return n.completing(c, func(ctx context.Context, s *session) []string {
			list, err := s.List(ctx, resource.KindContract, client.Filter{})
			if err != nil {
				return nil
			}
			var out []string
			for _, o := range list {
				k := o.(*resource.Contract)
				if fits := decision == "" || decision == "withdraw" && k.Status.Agreed != nil || decision != "withdraw" && k.Status.Proposal != nil; fits {
					out = append(out, k.Key().Path())
				}
			}
			return out
		})
	}
}
