package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/manifest"
)

// limitClasses are the kinds of things that are counted, with what each is.
func limitClasses() []settingWords {
	return []settingWords{
		{"connects", "connections begun"},
		{"messages", "messages from devices, one for each 4 KiB"},
		{"twinReads", "twins read"},
		{"twinUpdates", "twins changed"},
		{"methods", "methods called"},
		{"commands", "messages sent to devices"},
		{"commandReceives", "messages to devices asked for over HTTPS"},
		{"registry", "identities read or changed"},
		{"queries", "queries"},
		{"jobs", "operations upon jobs and configurations"},
		{"uploads", "uploads of files begun"},
	}
}

func newHubLimits(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "limits", Aliases: []string{"limit"}, Short: "Show and set how much each device and the whole hub may do",
		Long: `Every kind of thing a hub does is counted by token buckets: so many a second on average, and so many at once, of each device, of the hub, and of all hubs of a tenant.
Whoever is over a limit waits or is told to come back; "isthmus hub why DEVICE" says which limit.`,
		Example: `  isthmus hub limits show
  isthmus hub limits set --device messages=10/100 --hub-wide messages=5000`,
	}
	c.AddCommand(newLimitsShow(w), newLimitsSet(w), newLimitsReset(w))
	return c
}

func newLimitsShow(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{Use: "show", Short: "Show the limits that hold now", Args: cobra.NoArgs, Example: "  isthmus hub limits show"}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
		l, err := hub.Limits(c.Context())
		if err != nil {
			return err
		}
		return w.printLimits(l, &out)
	})
	return c
}

// setLimits shows all that hold then, the tenant's too, which a change does not answer with.
func (w *world) setLimits(ctx context.Context, hub *hubclient.Client, l *hubclient.Limits, out *output) error {
	if _, err := hub.SetLimits(ctx, l); err != nil {
		return err
	}
	now, err := hub.Limits(ctx)
	if err != nil {
		return err
	}
	return w.printLimits(now, out)
}

func (w *world) printLimits(l hubclient.Limits, out *output) error {
	if out.structured() {
		return out.write(w, l)
	}
	var rows [][]cell
	for _, class := range limitClasses() {
		rows = append(rows, cells(class.name, rateText(l.Device, class.name), rateText(l.Hub, class.name), rateText(l.Tenant, class.name), class.words))
	}
	w.table([]string{"LIMIT", "A DEVICE", "THE HUB", "THE TENANT", "OF"}, rows)
	w.note("a second, and at once; - is no limit")
	return nil
}

func rateText(rates map[string]hubclient.Rate, class string) string {
	r, ok := rates[class]
	if !ok || r.PerSecond == 0 {
		return ""
	}
	return number(r.PerSecond) + " / " + number(r.Burst)
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func newLimitsSet(w *world) *cobra.Command {
	var out output
	var device, hubs []string
	c := &cobra.Command{
		Use: "set --device|--hub-wide LIMIT=RATE", Short: "Change limits", Args: cobra.NoArgs,
		Long: `Change the limits that are named; they hold at once. A rate is PER-SECOND, or PER-SECOND/AT-ONCE; 0 is no limit. It takes the data directory, or the connection string of
iothubowner.`,
		Example: "  isthmus hub limits set --device messages=10/100 --device twinUpdates=1 --hub-wide messages=5000",
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.Flags().StringArrayVar(&device, "device", nil, "`LIMIT=RATE` of each device; may be given several times")
	c.Flags().StringArrayVar(&hubs, "hub-wide", nil, "`LIMIT=RATE` of the whole hub; may be given several times")
	for _, flag := range []string{"device", "hub-wide"} {
		_ = c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, class := range limitClasses() {
				names = append(names, class.name+"=")
			}
			return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}) // the flag exists
	}
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		var l hubclient.Limits
		if len(device)+len(hubs) == 0 {
			return usagef("no limit is named").advise("write --device messages=10/100, or --hub-wide messages=5000")
		}
		if l.Device, err = ratesOf("device", device); err != nil {
			return err
		}
		if l.Hub, err = ratesOf("hub-wide", hubs); err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
			return w.setLimits(c.Context(), hub, &l, &out)
		})(c, args)
	}
	return c
}

func ratesOf(flag string, list []string) (map[string]hubclient.Rate, error) {
	given, err := assignments(flag, list)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, class := range limitClasses() {
		known[class.name] = true
	}
	var out map[string]hubclient.Rate
	for name, text := range given {
		if !known[name] {
			e := usagef("--%s: there is no limit %q", flag, name)
			if near := manifest.Nearest(name, slices.Sorted(maps.Keys(known))); near != "" {
				return nil, e.advise("did you mean %s?", near)
			}
			return nil, e.advise("see: isthmus hub limits show")
		}
		perSecond, burst, both := strings.Cut(text, "/")
		r := hubclient.Rate{}
		var err1, err2 error
		r.PerSecond, err1 = strconv.ParseFloat(perSecond, 64)
		if both {
			r.Burst, err2 = strconv.ParseFloat(burst, 64)
		}
		if err1 != nil || err2 != nil {
			return nil, usagef("--%s %s=%s is no rate", flag, name, text).advise("write %s=10 for ten a second, or %s=10/100 for a hundred at once", name, name)
		}
		if out == nil {
			out = map[string]hubclient.Rate{}
		}
		out[name] = r
	}
	return out, nil
}

func newLimitsReset(w *world) *cobra.Command {
	var out output
	c := &cobra.Command{Use: "reset", Short: "Put all limits back to what they are without a setting", Args: cobra.NoArgs, Example: "  isthmus hub limits reset"}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
		return w.setLimits(c.Context(), hub, nil, &out)
	})
	return c
}
