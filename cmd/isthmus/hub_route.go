package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// messageSource is where messages of devices come from.
const messageSource = "DeviceMessages"

func routeSources() []string {
	return []string{messageSource, "TwinChangeEvents", "DeviceLifecycleEvents", "DeviceConnectionStateEvents", "DeviceJobLifecycleEvents", "DigitalTwinChangeEvents"}
}

func newHubRoute(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "route", Aliases: []string{"routes"}, Short: "Say where messages and events go",
		Long: `A message goes to every endpoint of every route that takes it. With the fallback on, messages of devices which no route takes go to the built-in endpoint "events".
Conditions are described in docs/routing.md. It takes the data directory, or the connection string of iothubowner.`,
		Example: `  isthmus hub endpoint add hot --kind stream
  isthmus hub route add critical --where "level = 'critical' AND $body.temperature > 70" --to hot
  isthmus hub route map`,
	}
	n := &noun[*hubclient.Client, hubclient.Route]{
		w: w, word: "route", path: "isthmus hub route", reach: toHub,
		list: func(hub *hubclient.Client, ctx context.Context) ([]hubclient.Route, error) {
			r, err := hub.Routing(ctx)
			return r.Routes, err
		},
		remove: uncounted((*hubclient.Client).DeleteRoute), name: func(r hubclient.Route) string { return r.Name },
		heads: []string{"ROUTE", "SOURCE", "CONDITION", "TO", "ENABLED"}, row: routeRow,
	}
	c.AddCommand(newRouteAdd(w), n.newList("List routes", ""), newRouteMap(w), newRouteTest(w), newRouteFallback(w), n.newDelete("Take routes away", "critical"))
	return c
}

func routeRow(r hubclient.Route) []cell {
	row := cells(r.Name, first(r.Source, messageSource), first(r.Condition, "(all)"), strings.Join(r.Endpoints, ", "), "yes")
	if !r.Enabled {
		row[4] = cell{"no", yellow}
	}
	return row
}

func newRouteAdd(w *world) *cobra.Command {
	var off bool
	var r hubclient.Route
	var out output
	c := &cobra.Command{
		Use: "add ROUTE --to ENDPOINT", Aliases: []string{"set"}, Short: "Add a route, or replace the one of its name", Args: cobra.ExactArgs(1),
		Example: `  isthmus hub route add critical --where "level = 'critical'" --to hot --to alarms
  isthmus hub route add changes --source TwinChangeEvents --to hot`,
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	f := c.Flags()
	f.StringVar(&r.Source, "source", messageSource, "`SOURCE` it takes from: "+strings.Join(routeSources(), ", "))
	f.StringVar(&r.Condition, "where", "", "`CONDITION` a message must meet; all when absent")
	f.StringSliceVar(&r.Endpoints, "to", nil, "`ENDPOINT` it leads to, such as events; may be given several times (required)")
	f.BoolVar(&off, "disabled", false, "do not use it yet")
	completingValues(c, "source", routeSources()...)
	completingFlag(c, "to", completeEndpoints(a))
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(r.Endpoints) == 0:
			return usagef("--to is missing").advise("name an endpoint: --to events, or one of isthmus hub endpoint list")
		case !slices.Contains(routeSources(), r.Source):
			return usagef("--source %q is none", r.Source).advise("write %s", strings.Join(routeSources(), ", "))
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			r.Name, r.Enabled = args[0], !off
			made, err := hub.PutRoute(c.Context(), r)
			if err != nil {
				return err
			}
			if out.structured() {
				return out.write(w, made)
			}
			w.printf("route %s leads %s to %s\n", harmless(made.Name), harmless(made.Source), harmless(strings.Join(made.Endpoints, ", ")))
			return nil
		})(c, args)
	}
	return c
}

func newRouteFallback(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "fallback on|off", Short: "Say whether messages that no route takes go to the built-in endpoint", Args: cobra.ExactArgs(1), ValidArgs: []string{"on", "off"},
		Example: "  isthmus hub route fallback off",
	}
	a := toHub(w, c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if args[0] != "on" && args[0] != "off" {
			return usagef("%q is neither on nor off", args[0])
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			if err := hub.SetFallback(c.Context(), args[0] == "on"); err != nil {
				return err
			}
			w.printf("fallback %s\n", args[0])
			return nil
		})(c, args)
	}
	return c
}

func newRouteMap(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "map", Short: "Draw where everything goes", Args: cobra.NoArgs, Example: "  isthmus hub route map",
	}
	a := toHub(w, c)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
		r, err := hub.Routing(c.Context())
		if err == nil {
			w.printRouteMap(r)
		}
		return err
	})
	return c
}

// printRouteMap draws sources, the routes below each, and the endpoints behind each.
func (w *world) printRouteMap(r hubclient.Routing) {
	paint := w.painter()
	trouble := map[string]string{}
	for _, e := range r.Endpoints {
		if p := e.Progress; p != nil && !p.Failing.IsZero() {
			trouble[e.Name] = " failing since " + w.ago(p.Failing)
		}
	}
	ways := func(endpoints []string) string {
		var out []string
		for _, e := range endpoints {
			out = append(out, paint(bold, harmless(e))+paint(red, trouble[e]))
		}
		return strings.Join(out, ", ")
	}
	for _, source := range routeSources() {
		var lines [][2]string
		for _, route := range r.Routes {
			if first(route.Source, messageSource) != source {
				continue
			}
			words := "all"
			if route.Condition != "" && route.Condition != "true" {
				words = route.Condition
			}
			to := ways(route.Endpoints)
			if !route.Enabled {
				to += paint(yellow, " (not enabled)")
			}
			lines = append(lines, [2]string{harmless(route.Name) + ": " + harmless(words), to})
		}
		if source == messageSource {
			to := paint(yellow, "dropped")
			if r.Fallback {
				to = ways([]string{"events"})
			}
			words := "what no route takes"
			if len(lines) == 0 {
				words = "all"
			}
			lines = append(lines, [2]string{words, to})
		}
		if len(lines) == 0 {
			continue
		}
		w.printf("%s\n", source)
		widest := 0
		for _, l := range lines {
			widest = max(widest, len([]rune(l[0])))
		}
		for i, l := range lines {
			branch := "├─"
			if i == len(lines)-1 {
				branch = "└─"
			}
			w.printf("%s %s%s ──▶ %s\n", branch, l[0], strings.Repeat(" ", widest-len([]rune(l[0]))), l[1])
		}
	}
	for _, e := range r.Enrichments {
		w.printf("\n+ %s = %s on what goes to %s", harmless(e.Key), harmless(e.Value), ways(e.Endpoints))
	}
	if len(r.Enrichments) > 0 {
		w.printf("\n")
	}
}
