package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway"
	"github.com/isthmus-io/isthmus/gateway/balance"
	"github.com/isthmus-io/isthmus/gateway/gatewayclient"
)

// addGatewayDir lets a command speak to the gateway process of a data directory.
func addGatewayDir(c *cobra.Command) *process {
	p := &process{}
	p.addDir(c, "gateway")
	c.Flags().Lookup("data-dir").Usage = "`DIR` of the process on this machine: a gateway, or an agent that carries gateways"
	return p
}

// asFault returns the fault in an error, if it is of the kind.
func asFault(err error, kind fault.Kind) (*fault.Error, bool) {
	f, ok := errors.AsType[*fault.Error](err)
	return f, ok && fault.KindOf(err) == kind
}

func newGatewayStatus(w *world) *cobra.Command {
	var (
		out   output
		watch bool
		every time.Duration
	)
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the gateway process on this machine does",
		Long: `Show what the gateway process on this machine does: where it listens, where names lead, how its targets are, how many connections there are, and what
it refused most. --watch shows it again and again, also across an upgrade of the process.`,
		Example: `  isthmus gateway status
  isthmus gateway status --watch
  isthmus gateway status -o json | jq .groups`,
		Args: cobra.NoArgs,
	}
	p := addGatewayDir(c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on showing it")
	c.Flags().DurationVar(&every, "interval", 2*time.Second, "how often --watch looks, as a `DURATION`")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if watch && every < 100*time.Millisecond {
			return usagef("--interval %s is too short", every).advise("the shortest is 100ms")
		}
		g := gatewayclient.New(p.dataDir)
		defer g.Close()
		away := false
		for first := true; ; first = false {
			s, err := g.Status(c.Context())
			_, lost := asFault(err, fault.Unavailable)
			switch {
			case c.Context().Err() != nil:
				return nil //nolint:nilerr // the user interrupted, which is how watching ends
			case lost && watch && !first:
				if !away {
					w.note("%s; trying again", fault.Message(err))
				}
				away = true
			case err != nil:
				return err
			default:
				away = false
				if err := w.gatewayStatus(out, s, watch, first); err != nil {
					return err
				}
			}
			if !watch {
				return nil
			}
			fired, stop := w.clock.After(every)
			select {
			case <-c.Context().Done():
				stop()
				return nil
			case <-fired:
			}
		}
	}
	return c
}

// clearScreen goes to the top and erases what is there (ECMA-48 8.3.21, 8.3.39).
const clearScreen = "\x1b[H\x1b[2J"

func (w *world) gatewayStatus(out output, s gateway.Status, watch, first bool) error {
	switch {
	case out.format == outJSON && watch: // a line each
		b, err := json.Marshal(s)
		w.printJSON(b)
		return fault.Wrap("isthmus.status", fault.Internal, err, "")
	case out.structured():
		if watch && !first {
			w.printf("---\n")
		}
		return out.write(w, s)
	case watch && w.colourful():
		w.printf("%s", clearScreen)
	case watch && !first:
		w.printf("\n")
	}
	w.gatewayProcess(s)
	for _, f := range s.Gateways {
		w.gatewayFront(f, s.Groups)
	}
	if len(s.Gateways) == 0 {
		w.printf("\nIt carries no gateway.\n")
	}
	if len(s.Refusals) > 0 {
		w.printf("\nRefused most (isthmus gateway refusals tells who):\n")
		w.refusalCounts(s.Refusals[:min(len(s.Refusals), 5)])
	}
	if len(s.Problems) > 0 {
		w.printf("\nProblems:\n")
		for _, p := range s.Problems {
			w.printf("  %s %s\n", w.painter()(red, "!"), harmless(p))
		}
	}
	return nil
}

func (w *world) gatewayProcess(s gateway.Status) {
	paint, c := w.painter(), s.Carrier
	phase := paint(green, s.Phase)
	if s.Phase != "serving" {
		phase = paint(yellow, harmless(s.Phase))
	}
	w.printf("%s, started %s\n", phase, w.ago(s.Since))
	open := itoa(c.Open)
	if c.Open > 0 {
		open += fmt.Sprintf(": %d passing bytes, %d waiting for a target, %d for a ClientHello, %d in tunnels", c.Passing, c.Joining, c.Opening, c.Handed)
	}
	since := fmt.Sprintf("%d accepted, %d refused, %s to targets, %s from them", c.Accepted, c.Refused, size(c.Sent), size(c.Received))
	for _, n := range []struct {
		count uint64
		words string
	}{{c.Full, "reset because the process was full"}, {c.Dropped, "ended before their ClientHello"}, {c.Failed, "attempts at targets failed"}} {
		if n.count > 0 {
			since += fmt.Sprintf(", %d %s", n.count, n.words)
		}
	}
	w.pairs([2]string{"Connections", open}, [2]string{"Since then", since})
}

// most rows of a table of which the whole is told elsewhere.
const mostRows = 20

func (w *world) gatewayFront(f gateway.FrontStatus, groups []balance.GroupStatus) {
	paint := w.painter()
	w.printf("\n%s: %d of at most %d connections; %s in %s", paint(bold, harmless(f.Name)), f.Connections, f.Most, count(f.Rules, "rule"), count(f.Allowlists, "allowlist"))
	if !f.NextExpiry.IsZero() {
		w.printf(", the next expires %s", w.at(f.NextExpiry))
	}
	if f.OpenToAll {
		w.printf("; %s", paint(yellow, "open to all"))
	}
	w.printf("\n\n")
	var rows [][]cell
	for _, l := range f.Listeners {
		row := cells(l.Name, "", "")
		if l.Address.IsValid() {
			row[1].text = l.Address.String()
		}
		if row[2] = (cell{"listening", green}); l.Problem != "" {
			row[2] = cell{l.Problem, red}
		}
		rows = append(rows, row)
	}
	w.table([]string{"LISTENER", "ADDRESS", "STATE"}, rows)
	if len(f.Routes) > 0 {
		rows = nil
		for _, r := range f.Routes[:min(len(f.Routes), mostRows)] {
			row := cells(first(strings.Join(r.Names, ", "), "(every other name)"), r.To, r.Problem)
			row[2].colour = red
			rows = append(rows, row)
		}
		w.printf("\n")
		w.table([]string{"NAMES", "LEADS TO", "PROBLEM"}, rows)
		w.more(len(f.Routes) - mostRows)
	}
	w.targets(f.Name, groups)
	w.usage("RULE", f.Busiest)
	w.usage("NAME", f.Names)
}

func (w *world) more(n int) {
	if n > 0 {
		w.printf("and %d more; -o json shows them all\n", n)
	}
}

// targets shows the groups of one gateway, those that do not work first.
func (w *world) targets(name string, groups []balance.GroupStatus) {
	var rows [][]cell
	for _, g := range groups {
		if g.Gateway != name {
			continue
		}
		for _, t := range g.Targets {
			state := cell{t.State, red}
			switch t.State {
			case balance.Up.String():
				state.colour = green
			case balance.Untested.String(), balance.Returning.String():
				state.colour = yellow
			}
			row := cells(g.Name, t.Address.String(), "", w.age(t.Since), itoa(t.Connections), strconv.FormatUint(t.Total, 10), strconv.FormatUint(t.Failed, 10), t.Because)
			if row[2] = state; t.Host != t.Address.Addr().String() {
				row[1].text += " (" + t.Host + ")"
			}
			rows = append(rows, row)
		}
		if len(g.Targets) == 0 {
			rows = append(rows, []cell{{text: g.Name}, {}, {"no target", red}, {}, {}, {}, {}, {}})
		}
	}
	if len(rows) == 0 {
		return
	}
	slices.SortStableFunc(rows, func(a, b []cell) int {
		worse := func(c colour) int { return map[colour]int{red: 0, yellow: 1, green: 2}[c] }
		return cmp.Compare(worse(a[2].colour), worse(b[2].colour))
	})
	w.printf("\n")
	shown := rows[:min(len(rows), mostRows)]
	w.table([]string{"GROUP", "TARGET", "STATE", "FOR", "CONNECTIONS", "ANSWERED", "FAILED", "LAST FAILURE"}, shown)
	w.more(len(rows) - mostRows)
}

// usage shows the rules or names with the most connections.
func (w *world) usage(what string, list []gateway.UseStatus) {
	const most = 5
	var rows [][]cell
	for _, u := range list {
		if u.Total > 0 && len(rows) < most {
			rows = append(rows, cells(u.Name, itoa(u.Connections), strconv.FormatUint(u.Total, 10), size(u.Sent), size(u.Received)))
		}
	}
	if len(rows) > 0 {
		w.printf("\n")
		w.table([]string{what, "CONNECTIONS", "TOTAL", "SENT", "RECEIVED"}, rows)
	}
}

// count renders a number of things: 1 rule, 2 rules.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return itoa(n) + " " + thing + "s"
}

// size renders a number of bytes: 999 B, 1.5 KiB, 20 MiB.
func size(n uint64) string {
	const units = "KMGTPE"
	v, unit := float64(n), -1
	for v >= 1000 && unit < len(units)-1 {
		v /= 1024
		unit++
	}
	switch {
	case unit < 0:
		return strconv.FormatUint(n, 10) + " B"
	case v < 10:
		return fmt.Sprintf("%.1f %ciB", v, units[unit])
	}
	return fmt.Sprintf("%.0f %ciB", v, units[unit])
}
