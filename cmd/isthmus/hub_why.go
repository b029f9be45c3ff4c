package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubWhy(w *world) *cobra.Command {
	var out output
	var exit bool
	c := &cobra.Command{
		Use: "why DEVICE[/MODULE]", Short: "Say why a device does or does not work, and what to do", Args: cobra.ExactArgs(1),
		Long: `Say everything the hub knows about a device or module: whether it exists and may connect, its session or why the last one ended, who was turned away under
its name, which limits it is over and since when, what waits for it, and which routes take its messages. What matters comes first, with what to do about it.

The exit code is 0 whatever the answer; with --exit-code it is 1 when something keeps the device from working.`,
		Example: `  isthmus hub why sensor-1
  isthmus hub why press-4/camera -o json | jq .findings`,
	}
	a := addHubAccess(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().BoolVar(&exit, "exit-code", false, "exit with 1 when something keeps the device from working")
	c.RunE = func(c *cobra.Command, args []string) error {
		hub, err := a.open()
		if err != nil {
			return err
		}
		defer hub.Close()
		x, err := hub.Why(c.Context(), args[0])
		if err != nil {
			return err
		}
		if out.structured() {
			err = out.write(w, x)
		} else {
			w.printHubWhy(x)
		}
		for _, f := range x.Findings {
			if err == nil && exit && f.Bad {
				return fault.Newf("isthmus.hub", fault.Unavailable, "%s does not work: %s", harmless(x.Name), harmless(f.What)).Advise("%s", harmless(f.Next))
			}
		}
		return err
	}
	return c
}

func (w *world) printHubWhy(x hubclient.Explanation) {
	paint := w.painter()
	w.printf("%s of %s\n\n", harmless(x.Name), harmless(x.Hub))
	for _, f := range x.Findings {
		mark := paint(green, "ok ")
		if f.Bad {
			mark = paint(red, "no ")
		}
		w.printf("%s %s\n", mark, harmless(f.What))
		if f.Next != "" {
			w.printf("    next: %s\n", harmless(f.Next))
		}
	}
	var rows [][2]string
	add := func(name, format string, args ...any) {
		rows = append(rows, [2]string{name, harmless(fmt.Sprintf(format, args...))})
	}
	if i := x.Identity; i != nil {
		add("Identity", "%s, proves itself by %s, generation %s", i.Status, i.AuthType, i.Generation)
	}
	if s := x.Session; s != nil {
		add("Session", "%s from %s since %s, %s side", s.Door, s.Peer, w.ago(s.Since), s.Side)
		add("Listens to", "%s", orNone(strings.Join(s.Listens, ", ")))
	}
	if e := x.Departure; e != nil {
		add("Last end", "%s: %s", w.ago(e.At), e.Why)
	}
	for _, t := range x.Throttling {
		add("Over a limit", "%s of the %s: %d times, since %s, last %s", t.Class, t.Level, t.Count, w.ago(t.Since), w.ago(t.Last))
	}
	for _, r := range x.Refusals {
		add("Turned away", "%s, %d times, from %s over %s: %s", w.ago(r.Last), r.Count, r.Source, r.Door, r.Why)
	}
	if x.Identity != nil {
		add("Commands", "%d wait", x.Commands)
	}
	if t := x.Twin; t != nil {
		add("Twin", "version %d; desired %d (%d bytes), reported %d (%d bytes), tags %d bytes", t.Version, t.DesiredVersion, t.DesiredBytes, t.ReportedVersion, t.ReportedBytes, t.TagsBytes)
	}
	for _, r := range x.Routes {
		state := map[string]string{"yes": "takes its messages", "no": "does not take them", "by message": "takes those its condition is for"}[r.Matches]
		if !r.Enabled {
			state = "is not enabled"
		}
		add("Route", "%s to %s %s", r.Name, strings.Join(r.Endpoints, ", "), state)
	}
	if x.Identity != nil {
		add("Fallback", "%s", map[bool]string{true: "on: what no route takes goes to events", false: "off: what no route takes is dropped"}[x.Fallback])
	}
	if len(rows) > 0 {
		w.printf("\n")
		w.pairs(rows...)
	}
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
