package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/client"
)

// step is a step with a grant that a command takes.
type step struct {
	name, short, long, example string
	done                       string
	needsReason                bool
	filter                     client.GrantFilter
	wanted                     func(client.Grant) bool // for completions
}

func grantSteps() []step {
	mine := func(g client.Grant) bool { return g.MayDecide }
	return []step{
		{name: "approve", short: "Approve a request, or more time", example: "  isthmus access approve k3yq7d5nw2vhxa4p --reason \"agreed by phone\"",
			long: `Approve a request that waits, or the longer time that was asked for. Nobody approves what he asked for himself unless the policy has spec.selfApproval, and
where the policy has spec.approvals: 2 another one has to as well.`, done: "approved", filter: client.GrantFilter{Open: true}, wanted: mine},
		{name: "deny", short: "Refuse a request, or more time", example: "  isthmus access deny k3yq7d5nw2vhxa4p --reason \"not during the night shift\"",
			long: "Refuse a request that waits, or the longer time that was asked for; the grant itself goes on as it was then.", done: "denied",
			filter: client.GrantFilter{Open: true}, wanted: mine},
		{name: "revoke", short: "Take a grant back at once, or withdraw a request", example: "  isthmus access revoke k3yq7d5nw2vhxa4p --reason \"done\"",
			long:   "Take a grant back: its open sessions are cut within a second. Of your own requests those that wait are withdrawn.",
			done:   "revoked",
			filter: client.GrantFilter{Open: true}, wanted: func(client.Grant) bool { return true }},
		{name: "review", short: "Say that you looked at an emergency afterwards", example: "  isthmus access review k3yq7d5nw2vhxa4p --reason \"the recording shows the restart only\"",
			long: "Say that you looked at what somebody did who broke the glass. Approvers, auditors and owners do, but not for their own emergencies.",
			done: "reviewed", needsReason: true, filter: client.GrantFilter{Unreviewed: true}, wanted: func(g client.Grant) bool { return g.Unreviewed }},
	}
}

func newAccessStep(w *world, st step) *cobra.Command {
	var out output
	var reason string
	c := &cobra.Command{Use: st.name + " ID", Short: st.short, Long: st.long, Example: st.example, Args: cobra.ExactArgs(1)}
	n := addConnection(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().StringVar(&reason, "reason", "", "`WHY`; stands in the audit log for good")
	c.ValidArgsFunction = completeGrants(n, st.filter, st.wanted)
	if st.needsReason {
		c.Args = reasoned(&reason)
	}
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		g, err := s.DecideGrant(c.Context(), args[0], st.name, reason, 0)
		if err != nil {
			return err
		}
		return showStep(w, &out, g, st.done)
	})
	return c
}

// reasoned wants an id, and a reason with it.
func reasoned(reason *string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 1 && *reason == "" {
			return usagef("--reason is missing").advise("say why, for whoever reads the audit log later")
		}
		return cobra.ExactArgs(1)(c, args)
	}
}

func newAccessExtend(w *world) *cobra.Command {
	var out output
	var reason string
	var more long
	c := &cobra.Command{
		Use: "extend ID --for LONG --reason WHY", Short: "Ask for more time for a grant in force",
		Long: `Ask for more time. It has to be approved as the grant had to be, unless an approver asks it for somebody else and the policy wants one approval only. In all a
grant never lasts longer than the policy lets one.`,
		Example: `  isthmus access extend k3yq7d5nw2vhxa4p --for 30m --reason "the second drive has it too"`,
		Args:    reasoned(&reason),
	}
	n := addConnection(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().StringVar(&reason, "reason", "", "`WHY`; stands in the audit log for good (required)")
	addLong(c, &more, "for", "how much `LONGER`: 30m, 2h, 1d (required)")
	c.ValidArgsFunction = completeGrants(n, client.GrantFilter{State: grant.Approved}, func(client.Grant) bool { return true })
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		if more == 0 {
			return usagef("--for is missing").advise("say how much longer, such as --for 30m")
		}
		g, err := s.DecideGrant(c.Context(), args[0], "extend", reason, time.Duration(more))
		if err != nil {
			return err
		}
		done := "extended"
		if g.Extension != nil {
			done = "asked for " + shortSpan(g.Extension.For) + " more"
		}
		return showStep(w, &out, g, done)
	})
	return c
}

// showStep tells what came of a step.
func showStep(w *world, out *output, g client.Grant, done string) error {
	if out.structured() {
		return out.write(w, g)
	}
	if g.State == grant.Withdrawn {
		done = "withdrawn"
	}
	c := grantCell(g)
	w.printf("%s of %s for %s %s: it is %s now\n", g.ID, harmless(g.Person.Who()), harmless(g.Target), done, w.painter()(c.colour, c.text))
	switch {
	case g.Waits():
		w.note("%s", waitingWords(g))
	case g.State == grant.Approved:
		w.note("in force from %s until %s", g.From.UTC().Format("2006-01-02 15:04:05 UTC"), w.at(g.Until))
	}
	return nil
}
