package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/client"
)

func newAccessList(w *world) *cobra.Command {
	var (
		out    output
		filter client.GrantFilter
		state  string
		all    bool
	)
	c := &cobra.Command{
		Use: "list", Short: "List requests and grants, those that wait first", Args: cobra.NoArgs,
		Long: `List your own requests and grants; as an owner, approver or auditor those of everybody for the targets of your tenant. Those that have ended are left out
unless --all or --state asks for them, but emergencies that nobody has looked at stay, in red.`,
		Example: `  isthmus access list
  isthmus access list --mine --all
  isthmus access list --target ot/plant-7/press-4-ssh -o json`,
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outWide, outJSON, outYAML, outName)
	f := c.Flags()
	f.BoolVar(&filter.Mine, "mine", false, "only your own")
	f.BoolVarP(&all, "all", "a", false, "those that have ended too")
	f.BoolVar(&filter.Unreviewed, "unreviewed", false, "only emergencies that nobody has looked at afterwards")
	f.StringVarP(&filter.Tenant, "tenant", "t", "", "only for targets of this `TENANT`")
	f.StringVar(&filter.Target, "target", "", "only for this target, as `TENANT/NETWORK/NAME`")
	f.StringVar(&filter.Person, "person", "", "only of the person with this `NAME`")
	f.StringVar(&state, "state", "", "only in this `STATE`: "+strings.Join(grantStates(), ", "))
	f.IntVar(&filter.Limit, "limit", 100, "`HOW MANY` at most")
	completingValues(c, "state", grantStates()...)
	c.RunE = n.asking(func(c *cobra.Command, s *session, _ []string) error {
		if state != "" {
			i := slices.IndexFunc(grantStates(), func(s string) bool { return strings.EqualFold(s, state) })
			if i < 0 {
				return usagef("--state %q is no state", state).advise("states are %s", strings.Join(grantStates(), ", "))
			}
			filter.State = grant.State(grantStates()[i])
		}
		list, err := listGrants(c, s, filter, all)
		if err != nil {
			return err
		}
		sortGrants(list)
		return printGrants(w, out, list)
	})
	return c
}

func grantStates() []string {
	return []string{string(grant.Requested), string(grant.Approved), string(grant.Denied), string(grant.Withdrawn), string(grant.Lapsed), string(grant.Revoked), string(grant.Expired)}
}

// listGrants asks for what is open and for emergencies that wait to be looked at, or for everything.
func listGrants(c *cobra.Command, s *session, f client.GrantFilter, all bool) ([]client.Grant, error) {
	if all || f.State != "" || f.Unreviewed {
		return s.Grants(c.Context(), f)
	}
	f.Open = true
	list, err := s.Grants(c.Context(), f)
	if err != nil {
		return nil, err
	}
	f.Open, f.Unreviewed = false, true
	shouting, err := s.Grants(c.Context(), f)
	for _, g := range shouting {
		if !slices.ContainsFunc(list, func(o client.Grant) bool { return o.ID == g.ID }) {
			list = append(list, g)
		}
	}
	return list, err
}

// sortGrants puts what waits first, longest waiting on top; then emergencies, then what is in force, then the rest, the last first.
func sortGrants(list []client.Grant) {
	rank := func(g client.Grant) int {
		switch {
		case g.Waits():
			return 0
		case g.Unreviewed:
			return 1
		case g.State == grant.Approved:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(list, func(a, b client.Grant) int {
		if c := cmp.Compare(rank(a), rank(b)); c != 0 {
			return c
		}
		if rank(a) == 0 {
			return a.RequestedAt.Compare(b.RequestedAt)
		}
		return b.RequestedAt.Compare(a.RequestedAt)
	})
}

func printGrants(w *world, out output, list []client.Grant) error {
	switch {
	case out.structured():
		if list == nil {
			list = []client.Grant{}
		}
		return out.write(w, struct {
			Items []client.Grant `json:"items"`
		}{list})
	case out.format == outName:
		for _, g := range list {
			w.printf("%s\n", g.ID)
		}
		return nil
	case len(list) == 0:
		w.note("no requests and no grants")
		return nil
	}
	heads := []string{"ID", "WHO", "TARGET", "STATE", "UNTIL", "LEFT", "REASON"}
	if out.format == outWide {
		heads = append(heads, "ASKED", "APPROVED BY", "SESSIONS")
	}
	var rows [][]cell
	for _, g := range list {
		until, left := w.untilCells(g)
		r := []cell{{text: g.ID}, {text: g.Person.Who()}, {text: g.Target}, grantCell(g), until, left, {text: g.Reason}}
		if out.format == outWide {
			r = append(r, cells(w.age(g.RequestedAt), strings.Join(g.ApprovedBy(), ", "), itoa(g.Sessions))...)
		}
		rows = append(rows, r)
	}
	w.table(heads, rows)
	var mine []client.Grant
	for _, g := range list {
		if g.MayDecide {
			mine = append(mine, g)
		}
	}
	if len(mine) > 0 {
		w.printf("\n%s for your decision, for example:\n  isthmus access approve %s\n", waitWords(len(mine)), mine[0].ID)
	}
	return nil
}

// untilCells are when a grant ends and how long that is; of a request how long is asked for.
func (w *world) untilCells(g client.Grant) (until, left cell) {
	switch {
	case g.State == grant.Requested:
		return cell{text: "for " + shortSpan(g.For)}, cell{}
	case g.State != grant.Approved:
		return cell{text: g.EndedAt.UTC().Format("2006-01-02 15:04"), colour: dim}, cell{}
	}
	rest := g.Until.Sub(w.clock.Now())
	left = cell{text: span(rest)}
	if g.From.After(w.clock.Now()) {
		left = cell{text: "in " + span(g.From.Sub(w.clock.Now())), colour: dim}
	} else if rest < 10*time.Minute {
		left.colour = yellow
	}
	return cell{text: g.Until.UTC().Format("2006-01-02 15:04")}, left
}

func newAccessShow(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "show ID", Short: "Show a grant with everything that was done to it", Args: cobra.ExactArgs(1),
		Long: `Show a grant with everything that was done to it, and who may approve what waits. The connection string of a device's stream is shown to its person only, for
programs written for IoT Hub device streams: it is a secret.`,
		Example: "  isthmus access show k3yq7d5nw2vhxa4p",
	}
	n := addConnection(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.ValidArgsFunction = completeGrants(n, client.GrantFilter{}, func(client.Grant) bool { return true })
	c.RunE = n.asking(func(c *cobra.Command, s *session, args []string) error {
		g, err := s.Grant(c.Context(), args[0])
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, g)
		}
		w.printGrant(g)
		return nil
	})
	return c
}

func (w *world) printGrant(g client.Grant) {
	state := grantCell(g)
	asked := w.at(g.RequestedAt)
	if g.RequestedBy.ID != g.Person.ID {
		asked += " by " + g.RequestedBy.Who()
	}
	ended := ""
	if !g.EndedAt.IsZero() {
		ended = w.at(g.EndedAt)
		if g.EndedBy != "" {
			ended += " by " + g.EndedBy
		}
		if g.EndReason != "" {
			ended += ": " + g.EndReason
		}
	}
	hours := ""
	if h := g.Hours; h != nil {
		hours = fmt.Sprintf("%s %s-%s %s", strings.Join(h.Days, ","), h.From, h.To, h.TimeZone)
	}
	recorded := ""
	if g.Recorded {
		recorded = "SSH sessions are recorded"
	}
	approvals := fmt.Sprintf("%d of %d", len(g.Approvals), g.Needed)
	if g.Needed == 0 {
		approvals = "none needed"
	}
	w.pairs(
		[2]string{"Grant", g.ID}, [2]string{"Target", g.Target}, [2]string{"Person", g.Person.Who()}, [2]string{"State", state.text},
		[2]string{"Reason", g.Reason}, [2]string{"Asked", asked}, [2]string{"Of", strings.Join(g.Ask, ", ")}, [2]string{"For", shortSpan(g.For)},
		[2]string{"From", w.at(g.From)}, [2]string{"Until", w.at(g.Until)}, [2]string{"Hours", hours}, [2]string{"Approvals", approvals},
		[2]string{"Ended", ended}, [2]string{"Recording", recorded}, [2]string{"Sessions", itoa(g.Sessions)},
		[2]string{"Connection string", g.ConnectionString},
	)
	if len(g.Steps) > 0 {
		w.printf("\n")
		var rows [][]cell
		for _, s := range g.Steps {
			rows = append(rows, cells(s.At.UTC().Format("2006-01-02 15:04:05"), s.By.Who(), s.What, s.Why))
		}
		w.table([]string{"TIME (UTC)", "WHO", "DID", "WHY"}, rows)
	}
	switch {
	case g.Waits():
		w.note("%s", waitingWords(g))
	case g.Unreviewed:
		w.note("nobody has looked at this emergency yet: isthmus access review %s --reason ...", g.ID)
	}
}
