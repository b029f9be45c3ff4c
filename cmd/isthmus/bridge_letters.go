package main

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/bridge/deadletter"
	"github.com/isthmus-io/isthmus/bridge/localdoor"
)

func newBridgeLetters(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "dead-letters",
		Short: "Look at events that a bridge on this machine could not send; send them again or delete them",
		Long: `Look at events that a bridge could not send, on the machine that carries it: they never leave it. Each has the step at which it went no further and the
reason. What was mended is sent again with replay: through all steps and the contract, marked as possibly sent before.`,
		Example: `  isthmus bridge dead-letters list ot/ot-cloud/telemetry
  isthmus bridge dead-letters replay ot/ot-cloud/telemetry --step contract`,
		Aliases: []string{"letters"},
	}
	c.AddCommand(newLettersList(w), newLettersShow(w), newLettersChange(w, true), newLettersChange(w, false))
	return c
}

// letterFilter is the flags and arguments that pick letters.
type letterFilter struct {
	process
	step, lane   string
	since, until string
}

func (l *letterFilter) addTo(c *cobra.Command) {
	l.addDir(c, "bridge")
	c.Flags().Lookup("data-dir").Usage = "`DIR` of the process on this machine that carries the bridge"
	f := c.Flags()
	f.StringVar(&l.step, "step", "", "only those of a `STEP`: the name of one, or contract, or destination")
	f.StringVar(&l.lane, "partition", "", "only those of a `PARTITION` of the source")
	f.StringVar(&l.since, "since", "", "only those written since a `TIME` (RFC 3339), or for so long: 2h")
	f.StringVar(&l.until, "until", "", "only those written before a `TIME` (RFC 3339), or so long ago: 10m")
}

func (l *letterFilter) filter(now time.Time) (f deadletter.Filter, err error) {
	f = deadletter.Filter{Step: l.step, Lane: l.lane}
	if f.After, err = momentOf("--since", l.since, now); err != nil {
		return f, err
	}
	f.Before, err = momentOf("--until", l.until, now)
	return f, err
}

// momentOf reads a time, or how long ago it was.
func momentOf(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usagef("%s is %.40q", flag, s).advise("write a time such as 2026-01-31T12:00:00Z, or a duration such as 2h")
	}
	return t, nil
}

// rangeOf reads 17, 17-20 or 17-.
func rangeOf(s string, f deadletter.Filter) (deadletter.Filter, error) {
	first, last, ranged := strings.Cut(s, "-")
	var err error
	if f.First, err = strconv.ParseUint(first, 10, 64); err == nil && f.First > 0 {
		switch {
		case !ranged:
			f.Last = f.First
		case last != "":
			f.Last, err = strconv.ParseUint(last, 10, 64)
		}
	}
	if err != nil || f.First == 0 || f.Last > 0 && f.Last < f.First {
		return f, usagef("%.40q is no number of a dead letter", s).advise("write 17, 17-20 or 17-")
	}
	return f, nil
}

func newLettersList(w *world) *cobra.Command {
	var (
		out   output
		limit int
		l     letterFilter
	)
	c := &cobra.Command{
		Use:   "list [BRIDGE]",
		Short: "List dead letters, the oldest first",
		Long: `List dead letters of a bridge, the oldest first. BRIDGE may be left out when the process carries one. -o json also prints the events themselves, with their
bodies.`,
		Example: `  isthmus bridge dead-letters list
  isthmus bridge dead-letters list ot/ot-cloud/telemetry --step contract --since 24h
  isthmus bridge dead-letters list -o json | jq '.letters[].event.body'`,
		Args: cobra.MaximumNArgs(1),
	}
	l.addTo(c)
	out.addTo(c, outTable, outWide, outJSON, outYAML)
	c.Flags().IntVar(&limit, "limit", 100, "list so `MANY` at most, 1 to 10000")
	c.RunE = func(c *cobra.Command, args []string) error {
		f, err := l.filter(w.clock.Now())
		if err != nil {
			return err
		}
		list, err := localdoor.New(l.dataDir).Letters(c.Context(), bridgeIn(args), f, limit, out.structured())
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, list)
		}
		if len(list.Letters) == 0 {
			w.note("no dead letters")
			return nil
		}
		heads := []string{"ID", "AT", "STEP", "DEVICE", "REASON"}
		if out.format == outWide {
			heads = []string{"ID", "AT", "STEP", "DEVICE", "PARTITION", "SIZE", "REASON"}
		}
		var rows [][]cell
		for _, d := range list.Letters {
			row := cells(strconv.FormatUint(d.ID, 10), w.at(d.At), d.Step, d.Device)
			if out.format == outWide {
				row = append(row, cells(d.Lane, strconv.Itoa(d.Size))...)
			}
			rows = append(rows, append(row, cell{text: d.Reason}))
		}
		w.table(heads, rows)
		if more := list.Total - len(list.Letters); more > 0 {
			w.note("%d more: give --limit, or a filter", more)
		}
		return nil
	}
	return c
}

// bridgeIn is the name among the arguments, empty for the only bridge of a process.
func bridgeIn(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func newLettersShow(w *world) *cobra.Command {
	var (
		out output
		p   process
	)
	c := &cobra.Command{
		Use:     "show [BRIDGE] ID",
		Short:   "Show one dead letter with its event",
		Long:    "Show one dead letter with its event, as it came from the source.",
		Example: "  isthmus bridge dead-letters show ot/ot-cloud/telemetry 17\n  isthmus bridge dead-letters show 17 -o json | jq .event.body",
		Args:    cobra.RangeArgs(1, 2),
	}
	p.addDir(c, "bridge")
	c.Flags().Lookup("data-dir").Usage = "`DIR` of the process on this machine that carries the bridge"
	out.addTo(c, outTable, outJSON, outYAML)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := strconv.ParseUint(args[len(args)-1], 10, 64)
		if err != nil || id == 0 {
			return usagef("%.40q is no number of a dead letter", args[len(args)-1]).advise("list them with: isthmus bridge dead-letters list")
		}
		d, err := localdoor.New(p.dataDir).Letter(c.Context(), bridgeIn(args[:len(args)-1]), id)
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, d)
		}
		w.printf("Dead letter %d  written %s\nStep:         %s\nReason:       %s\nPartition:    %s\nDevice:       %s\n", d.ID, w.at(d.At), harmless(d.Step), harmless(d.Reason), harmless(d.Lane), harmless(d.Device))
		b, err := json.MarshalIndent(d.Event, "", "  ")
		if err != nil {
			return err
		}
		w.printJSON(b)
		return nil
	}
	return c
}

// newLettersChange is replay, or delete.
func newLettersChange(w *world, replay bool) *cobra.Command {
	var (
		out output
		l   letterFilter
		all bool
	)
	c := &cobra.Command{
		Use:   "delete [BRIDGE] [ID|FIRST-LAST]...",
		Short: "Delete dead letters for good",
		Long:  "Delete dead letters for good: those with the numbers given, those that the flags pick, or with --all all of them. Nothing of them is left.",
		Example: `  isthmus bridge dead-letters delete ot/ot-cloud/telemetry 17 20-25
  isthmus bridge dead-letters delete --until 240h`,
	}
	if replay {
		c.Use, c.Short = "replay [BRIDGE] [ID|FIRST-LAST]...", "Send dead letters through the bridge again"
		c.Long = `Send dead letters through all steps and the contract again: those with the numbers given, those that the flags pick, or with --all all of them. They are
marked as possibly sent before. What is sent or left out by a step is deleted here; what is refused again becomes a new dead letter.`
		c.Example = `  isthmus bridge dead-letters replay ot/ot-cloud/telemetry 17
  isthmus bridge dead-letters replay --step enrich --since 24h
  isthmus bridge dead-letters replay --all`
	}
	l.addTo(c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().BoolVar(&all, "all", false, "all of them")
	c.RunE = func(c *cobra.Command, args []string) error {
		name := ""
		if len(args) > 0 && (strings.Contains(args[0], "/") || args[0][0] < '0' || args[0][0] > '9') {
			name, args = args[0], args[1:]
		}
		f, err := l.filter(w.clock.Now())
		if err != nil {
			return err
		}
		filters := []deadletter.Filter{f}
		switch {
		case len(args) > 0:
			filters = filters[:0]
			for _, a := range args {
				one, err := rangeOf(a, f)
				if err != nil {
					return err
				}
				filters = append(filters, one)
			}
		case f == (deadletter.Filter{}) && !all:
			return usagef("it is not said which").advise("give numbers, --step, --partition, --since or --until, or --all")
		}
		return w.changeLetters(c.Context(), l.dataDir, name, filters, replay, &out)
	}
	return c
}

func (w *world) changeLetters(ctx context.Context, dir, name string, filters []deadletter.Filter, replay bool, out *output) error {
	d := localdoor.New(dir)
	var sum localdoor.Done
	for _, f := range filters {
		call := d.Delete
		if replay {
			call = d.Replay
		}
		done, err := call(ctx, name, f)
		if err != nil {
			return err
		}
		sum.Bridge, sum.Letters = done.Bridge, sum.Letters+done.Letters
	}
	if out.structured() {
		return out.write(w, sum)
	}
	word := "deleted"
	if replay {
		word = "replayed"
	}
	w.printf("%d dead letters of %s were %s\n", sum.Letters, sum.Bridge, word)
	return nil
}
