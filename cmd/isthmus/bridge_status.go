package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func newBridgeStatus(w *world) *cobra.Command {
	var (
		out    output
		tenant string
		watch  bool
		every  time.Duration
	)
	c := &cobra.Command{
		Use: "status TENANT/NETWORK/NAME", Short: "Show how events move over a bridge: each step, how far it is behind, and what it waits for", Args: cobra.ExactArgs(1),
		Long: `Show how events move over a bridge, from its source over its steps and its contract to its destination: what stands still and why, how many events of the source are not sent
yet and how old the oldest of them is, how fast it is, and what was dead-lettered. It is what the process that carries the bridge told last; --watch shows it again and again.`,
		Example: "  isthmus bridge status ot/ot-cloud/telemetry\n  isthmus bridge status ot/ot-cloud/telemetry --watch\n  isthmus bridge status ot/ot-cloud/telemetry -o json | jq .lag",
	}
	n := addConnection(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringVarP(&tenant, "tenant", "t", "", "the `TENANT` of a name that leaves it out")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on showing it")
	c.Flags().DurationVar(&every, "interval", 2*time.Second, "how often --watch looks, as a `DURATION`")
	c.ValidArgsFunction = completeBridges(n)
	c.RunE = func(c *cobra.Command, args []string) error {
		if watch && every < 100*time.Millisecond {
			return usagef("--interval %s is too short", every).advise("the shortest is 100ms")
		}
		s, err := n.open()
		if err != nil {
			return err
		}
		defer s.Close()
		v := bridgeWatch{w: w, s: s, out: out, watch: watch, every: every}
		return v.run(c.Context(), args[0], tenant)
	}
	return c
}

// bridgeWatch is one status command under way.
type bridgeWatch struct {
	w     *world
	s     *session
	out   output
	watch bool
	every time.Duration
}

func (v *bridgeWatch) run(ctx context.Context, name, tenant string) error {
	away := false
	for again := false; ; again = true {
		b, err := getBridge(ctx, v.s, name, tenant)
		_, lost := asFault(err, fault.Unavailable)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the user interrupted, which is how watching ends
		case lost && again:
			if !away {
				v.w.note("%s; trying again", fault.Message(err))
			}
			away = true
		case err != nil:
			return err
		default:
			away = false
			if err := v.show(b, again); err != nil {
				return err
			}
		}
		if !v.watch {
			return nil
		}
		fired, stop := v.w.clock.After(v.every)
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-fired:
		}
	}
}

func (v *bridgeWatch) show(b *resource.Bridge, again bool) error {
	w := v.w
	switch {
	case v.out.format == outJSON && v.watch: // a line each
		text, err := json.Marshal(b.Status)
		w.printJSON(text)
		return fault.Wrap("isthmus.status", fault.Internal, err, "")
	case v.out.structured():
		if again {
			w.printf("---\n")
		}
		return v.out.write(w, b.Status)
	case v.watch && w.colourful():
		w.printf("%s", clearScreen)
	case again:
		w.printf("\n")
	}
	w.printf("%s  ", w.painter()(bold, "Bridge "+b.Key().Path()))
	w.bridgePicture(b)
	return nil
}

// bridgePicture draws the way events take, with what is the matter where.
func (w *world) bridgePicture(b *resource.Bridge) {
	st, paint := b.Status, w.painter()
	w.printf("%s%s\n\n", paint(bridgeCell(st.State).colour, string(st.State)), harmless(carriedWords(w, b)))
	stops := bridgeStops(b)
	wide, what := 0, 0
	for _, s := range stops {
		wide, what = max(wide, len([]rune(s.name))), max(what, len([]rune(s.what)))
	}
	stopped := false
	for i, s := range stops {
		mark, colour := "o", green
		switch {
		case st.State == resource.BridgePaused || st.Agent == "":
			mark, colour = ".", dim
		case st.Step != "" && st.Step == s.name && st.Why != "":
			mark, colour, stopped = "x", bridgeCell(st.State).colour, true
		case st.State != resource.BridgeRunning && (stopped || st.Step == ""):
			mark, colour = ".", dim
		}
		line := fmt.Sprintf("%-*s  %-*s  %s", wide, s.name, what, s.what, s.note)
		w.printf("  %s %s\n", paint(colour, mark), harmless(strings.TrimRight(line, " ")))
		under := paint(dim, "|")
		if i == len(stops)-1 {
			under = " "
		}
		if mark == "x" {
			w.printf("  %s %s %s\n", under, paint(colour, "^"), harmless(st.Why))
		}
		for _, e := range st.RecentErrors {
			if e.Step == s.name && (mark != "x" || e.Words != st.Why) {
				w.printf("  %s   %s (%s, %s)\n", under, harmless(e.Words), w.ago(e.At), count(int(e.Count), "time"))
			}
		}
		if i < len(stops)-1 {
			w.printf("  %s\n", paint(dim, "|"))
		}
	}
	w.printf("\n")
	if st.Why != "" && !stopped {
		w.pairs([2]string{"Why", st.Why})
	}
	w.bridgeFigures(b)
}

func carriedWords(w *world, b *resource.Bridge) string {
	switch st := b.Status; {
	case st.Agent == "":
		return ", carried by nobody"
	case st.ReportedAt.IsZero():
		return ", carried by " + st.Agent
	default:
		return ", carried by " + st.Agent + ", which told of it " + w.ago(st.ReportedAt)
	}
}

// stop is one place on the way of events.
type stop struct{ name, what, note string }

func bridgeStops(b *resource.Bridge) []stop {
	st, sp := b.Status, &b.Spec
	lag := "read to its end"
	if st.Lag > 0 {
		lag = count(int(st.Lag), "event") + " behind"
	}
	if st.ReportedAt.IsZero() {
		lag = ""
	}
	out := []stop{{"source", bridgeFrom(b), lag}}
	for i := range sp.Steps {
		s := &sp.Steps[i]
		what, note := "", ""
		switch {
		case s.Mapping != "":
			what = "mapping"
		case s.Filter != "":
			what = "filter"
			if st.Filtered > 0 {
				note = strconv.FormatInt(st.Filtered, 10) + " left out"
			}
		case s.HTTP != nil:
			what = "function at " + s.HTTP.Endpoint + s.HTTP.Path
		case s.WASM != nil:
			what = "module " + s.WASM.Module
		case s.Window != nil:
			what = "window"
			note = fmt.Sprintf("%d open, %s given", st.OpenWindows, count(int(st.ClosedWindows), "row"))
			if st.LateEvents > 0 {
				note += fmt.Sprintf(", %s too late", count(int(st.LateEvents), "event"))
			}
		}
		out = append(out, stop{s.Name, what, note})
	}
	if sp.Contract != "" {
		what := sp.Contract
		if st.Contract > 0 {
			what += ", version " + strconv.FormatInt(st.Contract, 10)
		}
		out = append(out, stop{"contract", what, ""})
	}
	return append(out, stop{"destination", bridgeTo(b), count(int(st.Sent), "event") + " sent"})
}

func (w *world) bridgeFigures(b *resource.Bridge) {
	st := b.Status
	if st.ReportedAt.IsZero() {
		return
	}
	oldest := ""
	if !st.OldestUnsent.IsZero() {
		oldest = "came in " + w.ago(st.OldestUnsent)
	}
	dead := strconv.FormatInt(st.Dead, 10)
	if st.Dead > 0 {
		dead += fmt.Sprintf(", of which %d are kept: isthmus bridge dead-letters list, where the bridge runs", st.DeadKept)
	}
	second := ""
	if st.Dropped > 0 {
		second = strconv.FormatInt(st.Dropped, 10) + " of another bridge's, left out"
	}
	sent := strconv.FormatInt(st.Sent, 10)
	if st.Repeated > 0 {
		sent += fmt.Sprintf(", of which %d are marked as possibly sent before", st.Repeated)
	}
	w.pairs(
		[2]string{"Rate", rate(st.EventsPerSec)},
		[2]string{"Lag", count(int(st.Lag), "event")},
		[2]string{"Oldest unsent", oldest},
		[2]string{"Sent", sent},
		[2]string{"Second copies", second},
		[2]string{"Today (UTC)", fmt.Sprintf("%s, %s", count(int(st.EventsToday), "event"), count(int(st.VolumeToday), "byte"))},
		[2]string{"Dead letters", dead},
	)
	if len(st.Partitions) == 0 {
		return
	}
	w.printf("\n")
	var rows [][]cell
	for _, p := range st.Partitions {
		rows = append(rows, cells(p.Partition, strconv.FormatInt(p.Next, 10), strconv.FormatInt(p.End, 10), strconv.FormatInt(max(p.End-p.Next, 0), 10), w.age(p.Oldest)))
	}
	w.table([]string{"PARTITION", "NEXT", "END", "BEHIND", "OLDEST"}, rows)
}

func getBridge(ctx context.Context, s *session, name, tenant string) (*resource.Bridge, error) {
	key, err := parseName(resource.KindBridge, name, first(tenant, s.tenant))
	if err != nil {
		return nil, err
	}
	o, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return o.(*resource.Bridge), nil
}

func completeBridges(n *connection) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return n.completing(c, func(ctx context.Context, s *session) []string { return paths(ctx, s, resource.KindBridge) })
	}
}

// stepWords says what a bridge does between its ends, in a line.
func stepWords(b *resource.Bridge) string {
	var out []string
	for i := range b.Spec.Steps {
		out = append(out, b.Spec.Steps[i].Name)
	}
	return strings.Join(out, ", ")
}
