package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/client"
	"github.com/isthmus-io/isthmus/resource"
)

// requesting is a request for access being written.
type requesting struct {
	w     *world
	n     *connection
	out   output
	req   client.GrantRequest
	from  string
	hours string
	long  long
	wait  bool
	most  long
}

func newAccessRequest(w *world) *cobra.Command {
	r := &requesting{w: w, most: long(15 * time.Minute)}
	c := &cobra.Command{
		Use: "request TARGET --reason WHY", Short: "Ask to be let into a target", Args: cobra.ExactArgs(1),
		Long: `Ask to be let into a target. Somebody else has to approve, as the target's access policy says; the reason stands in the audit log for good.
With --wait the command waits for the answer: its exit code is 1 when the request was denied, or when nobody decided in time.`,
		Example: `  isthmus access request ot/plant-7/press-4-ssh --reason "spindle 2 trips, ticket 4711"
  isthmus access request plant-7/press-4-ssh --for 2h --from 14:00 --ask erin@example.net --reason "firmware 2.1"
  isthmus access request ot/plant-7/press-4-rdp --reason "look at the HMI" --wait`,
	}
	r.addTo(c)
	f := c.Flags()
	f.StringVar(&r.from, "from", "", "`WHEN` it begins: 14:00, or 2026-11-23T14:00:00Z; as soon as it is approved when absent")
	f.StringSliceVar(&r.req.Ask, "ask", nil, "`NAME` of an approver who is to decide; may be repeated; every approver when absent")
	f.BoolVar(&r.wait, "wait", false, "wait until somebody has decided")
	addLong(c, &r.most, "wait-for", "how `LONG` to wait at most, with --wait")
	completeApprovers(r.n, c, "ask")
	c.RunE = r.n.asking(r.run)
	return c
}

func newAccessBreakGlass(w *world) *cobra.Command {
	r := &requesting{w: w}
	r.req.Kind = grant.BreakGlass
	c := &cobra.Command{
		Use: "break-glass TARGET --reason WHY", Short: "Be let in at once in an emergency, with noise", Args: cobra.ExactArgs(1),
		Long: `Be let into a target at once, without approval, where its access policy has spec.breakGlass. All webhooks are told, the audit log has it, lists show it in
red, and somebody else has to look at it afterwards: isthmus access review.`,
		Example: `  isthmus access break-glass ot/plant-7/press-4-ssh --reason "press 4 does not stop, nobody of the night shift answers"`,
	}
	r.addTo(c)
	c.RunE = r.n.asking(r.run)
	return c
}

func newAccessStanding(w *world) *cobra.Command {
	r := &requesting{w: w}
	r.req.Kind = grant.Standing
	c := &cobra.Command{
		Use: "standing TARGET --reason WHY", Short: "Ask to be let in again and again, within working hours", Args: cobra.ExactArgs(1),
		Long: `Ask for a standing grant, which lets somebody in again and again until its end, where the target's access policy has spec.standing. Owners and approvers ask
for others with --person; somebody else still has to approve.`,
		Example: `  isthmus access standing ot/plant-7/press-4-ssh --reason "maintenance contract 12" --hours "Mon-Fri 08:00-17:00 Europe/Berlin" --for 90d
  isthmus access standing ot/plant-7/press-4-ssh --person machine-maker/bob@example.com --reason "maintenance contract 12"`,
	}
	r.addTo(c)
	f := c.Flags()
	f.StringVar(&r.from, "from", "", "`WHEN` it begins: 14:00, or 2026-11-23T14:00:00Z; as soon as it is approved when absent")
	f.StringVar(&r.hours, "hours", "", "`HOURS` in which it lets in, such as \"Mon-Fri 08:00-17:00 Europe/Berlin\"; at any time when absent")
	f.StringVar(&r.req.Person, "person", "", "`NAME` of who is let in, or TENANT/NAME; you when absent")
	f.StringSliceVar(&r.req.Ask, "ask", nil, "`NAME` of an approver who is to decide; may be repeated; every approver when absent")
	completeApprovers(r.n, c, "ask")
	c.RunE = r.n.asking(r.run)
	return c
}

// addTo adds what all sorts of requests have.
func (r *requesting) addTo(c *cobra.Command) {
	r.n = addConnection(r.w, c)
	r.out.addTo(c, "text", outJSON, outYAML, outName)
	c.Flags().StringVar(&r.req.Reason, "reason", "", "`WHY`; those who approve read it (required)")
	addLong(c, &r.long, "for", "how `LONG`: 30m, 2h, 3d; an hour, or what the policy lets at most, when absent")
	c.ValidArgsFunction = completeTarget(r.n)
	args := c.Args
	c.Args = func(c *cobra.Command, a []string) error {
		if len(a) == 1 && r.req.Reason == "" {
			return usagef("--reason is missing").advise("say why, for those who approve and for whoever reads the audit log later")
		}
		return args(c, a)
	}
}

func (r *requesting) run(c *cobra.Command, s *session, args []string) error {
	t, err := parseTarget(args[0])
	if err != nil {
		return err
	}
	key, err := parseName(resource.KindTarget, t.path(), s.tenant)
	if err != nil {
		return err
	}
	r.req.Target, r.req.For = key.Path(), time.Duration(r.long)
	if r.req.From, err = parseFrom(r.from, r.w.clock.Now()); err != nil {
		return err
	}
	if r.req.Hours, err = parseHours(r.hours); err != nil {
		return err
	}
	g, err := s.RequestAccess(c.Context(), r.req)
	if err != nil {
		return err
	}
	if r.wait {
		waiter := accessAsking{wait: r.most}
		if g, err = waiter.await(c.Context(), &accessSession{session: s}, g); err != nil {
			return err
		}
	}
	if err := r.show(g); err != nil || !r.wait {
		return err
	}
	return answer(g)
}

// show tells what came of it, and what to do next.
func (r *requesting) show(g client.Grant) error {
	w := r.w
	switch {
	case r.out.structured():
		return r.out.write(w, g)
	case r.out.format == outName:
		w.printf("%s\n", g.ID)
		return nil
	}
	c := grantCell(g)
	w.printf("%s for %s: %s\n", g.ID, harmless(g.Target), w.painter()(c.colour, c.text))
	switch {
	case g.State == grant.Requested:
		w.note("%s", waitingWords(g))
	case g.State == grant.Approved && g.Kind == grant.BreakGlass:
		w.note("you are let in until %s; everybody was told, and somebody else has to look at it afterwards: isthmus access review %s", w.at(g.Until), g.ID)
	case g.State == grant.Approved:
		w.note("in force until %s", w.at(g.Until))
	}
	return nil
}

// waitingWords says who may approve, and how.
func waitingWords(g client.Grant) string {
	who := "an approver of " + g.Tenant
	if len(g.Approvers) > 0 {
		who = listWords(g.Approvers)
	}
	more := ""
	if n := g.Needed - len(g.Approvals); n > 1 {
		more = "; " + itoa(n) + " of them have to"
	}
	return who + " may approve it: isthmus access approve " + g.ID + more
}
