package main

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/gateway/gatewayclient"
	"github.com/isthmus-io/isthmus/gateway/refusals"
	"github.com/isthmus-io/isthmus/resource"
)

func newGatewayRefusals(w *world) *cobra.Command {
	var (
		out  output
		last int
	)
	c := &cobra.Command{
		Use:   "refusals",
		Short: "Show whom the gateway process on this machine refused",
		Long: `Show whom the gateway process on this machine refused: how often for which reason, which sources most, and the latest one by one. Counts begin when the
process does; counts by source are never too high.`,
		Example: `  isthmus gateway refusals
  isthmus gateway refusals --last 200 -o json | jq '.recent[].source'`,
		Args: cobra.NoArgs,
	}
	p := addGatewayDir(c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().IntVar(&last, "last", 20, "how `MANY` of the latest, and of the sources refused most")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if last < 1 || last > 1000 {
			return usagef("--last %d is none", last).advise("give a number from 1 to 1000")
		}
		g := gatewayclient.New(p.dataDir)
		defer g.Close()
		r, err := g.Refusals(c.Context(), last)
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, r)
		}
		if len(r.Counts) == 0 && len(r.Recent) == 0 {
			w.note("nobody was refused since the process began")
			return nil
		}
		w.printf("By reason:\n")
		w.refusalCounts(r.Counts[:min(len(r.Counts), last)])
		w.culprits(r.Culprits)
		dir := ""
		if c.Flags().Changed("data-dir") {
			dir = p.dataDir
		}
		w.recentRefusals(r, dir)
		return nil
	}
	return c
}

func (w *world) refusalCounts(list []refusals.Count) {
	var rows [][]cell
	for _, r := range list {
		rows = append(rows, cells(strconv.FormatUint(r.N, 10), r.Reason, r.Rule, r.Name, r.Gateway))
	}
	w.table([]string{"COUNT", "REASON", "RULE", "NAME", "GATEWAY"}, rows)
}

func (w *world) culprits(list []refusals.Culprit) {
	if len(list) == 0 {
		return
	}
	w.printf("\nRefused most:\n")
	var rows [][]cell
	for _, r := range list {
		rows = append(rows, cells(strconv.FormatUint(r.N, 10), r.Source.String(), r.Reason, r.Name, r.Rule))
	}
	w.table([]string{"COUNT", "SOURCE", "REASON", "ASKED FOR", "RULE"}, rows)
}

func (w *world) recentRefusals(r gateway.Refusals, dir string) {
	if len(r.Recent) == 0 {
		return
	}
	w.printf("\nLatest:\n")
	var rows [][]cell
	for _, x := range r.Recent {
		rows = append(rows, cells(x.At.UTC().Format("2006-01-02 15:04:05.000"), x.Source.String(), x.Reason, x.Name, x.Rule, x.Gateway, x.Listener))
	}
	w.table([]string{"WHEN", "SOURCE", "REASON", "ASKED FOR", "RULE", "GATEWAY", "LISTENER"}, rows)
	x := r.Recent[0]
	ask := "isthmus gateway why --source " + x.Source.String()
	if dir != "" {
		ask += " --data-dir " + dir
	}
	if resource.ValidateDomain(x.Name) == nil { // somebody will paste it into a shell, and clients choose it
		ask += " --sni " + x.Name
	}
	if resource.ValidateName(x.Listener) == nil {
		ask += " --listener " + x.Listener
	}
	w.printf("\nwhy, of the last: %s\n", ask)
}

func newGatewayDrain(w *world) *cobra.Command {
	var d time.Duration
	c := &cobra.Command{
		Use:   "drain",
		Short: "Have the gateway process on this machine accept nothing more, and end",
		Long: `Have the gateway process on this machine accept nothing more and end with its last connection, at the latest after --for, or after what
limits.drainSeconds of its gateways says. Meanwhile /ready answers 503, so that a balancer leads new connections elsewhere. An agent that carries gateways
ends as a whole. To replace the program, start the new one instead: it takes the sockets over.`,
		Example: `  isthmus gateway drain
  isthmus gateway drain --for 5m`,
		Args: cobra.NoArgs,
	}
	p := addGatewayDir(c)
	c.Flags().DurationVar(&d, "for", 0, "the longest that open connections may go on, as a `DURATION`")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if c.Flags().Changed("for") && (d < time.Second || d > 24*time.Hour) {
			return usagef("--for %s is none", d).advise("give a time from 1s to 24h")
		}
		g := gatewayclient.New(p.dataDir)
		defer g.Close()
		n, err := g.Drain(c.Context(), d)
		if err != nil {
			return err
		}
		latest := "its limits.drainSeconds"
		if d > 0 {
			latest = d.String()
		}
		switch n {
		case 0:
			w.printf("draining; no connection is open, so the process ends\n")
		case 1:
			w.printf("draining; the process ends with its 1 connection, at the latest after %s\n", latest)
		default:
			w.printf("draining; the process ends with its %d connections, at the latest after %s\n", n, latest)
		}
		return nil
	}
	return c
}
