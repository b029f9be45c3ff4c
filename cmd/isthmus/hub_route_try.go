package main

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newRouteTest(w *world) *cobra.Command {
	var (
		out        output
		s          hubclient.Sample
		properties []string
		system     []string
		where      string
		twin       string
		device     string
	)
	c := &cobra.Command{
		Use: "test [BODY]", Short: "Say where a message would go, and why", Args: cobra.MaximumNArgs(1),
		Long: `Say what would become of a message: which routes take it, why others do not, and to which endpoints it goes. Nothing is sent. With --where one condition is tried that
need not exist.`,
		Example: `  isthmus hub route test '{"temperature": 71}' --device press-4 --property level=critical
  isthmus hub route test '{"temperature": 71}' --where '$body.temperature > 70'`,
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	body := addInput(w, c, "the body")
	twinInput := &input{w: w, what: "the twin"}
	f := c.Flags()
	f.StringVar(&s.Source, "source", messageSource, "`SOURCE` it comes from: "+strings.Join(routeSources(), ", "))
	f.StringVar(&device, "device", "", "`DEVICE[/MODULE]` it comes from, whose twin counts")
	f.StringArrayVarP(&properties, "property", "p", nil, "`NAME=VALUE` beside the body; may be given several times")
	f.StringArrayVar(&system, "system", nil, "`NAME=VALUE` of a system property, such as content-type=application/json; may be given several times")
	f.StringVar(&where, "where", "", "`CONDITION` to try instead of the hub's routes")
	f.StringVar(&twin, "twin", "", "`JSON` of a twin to use instead of the device's")
	completingValues(c, "source", routeSources()...)
	completingFlag(c, "device", completeIdentities(a, false))
	c.RunE = func(c *cobra.Command, args []string) error {
		b, err := body.text(args)
		if err != nil {
			return err
		}
		if json.Valid(b) {
			s.Body = b
		} else {
			s.Bytes = b
		}
		if s.Properties, err = assignments("property", properties); err != nil {
			return err
		}
		if s.System, err = assignments("system", system); err != nil {
			return err
		}
		if twin != "" {
			s.Twin = json.RawMessage(twin)
			if err := twinInput.check(s.Twin); err != nil {
				return err
			}
		}
		s.Device, s.Module, _ = strings.Cut(device, "/")
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
			var one *hubclient.Route
			if c.Flags().Changed("where") {
				one = &hubclient.Route{Name: "tried", Source: s.Source, Condition: where, Endpoints: []string{"events"}, Enabled: true}
			}
			t, err := hub.TestRoutes(c.Context(), s, one)
			if err != nil {
				return err
			}
			if out.structured() {
				return out.write(w, t)
			}
			w.printTested(t, one != nil)
			return nil
		})(c, args)
	}
	return c
}

func (w *world) printTested(t hubclient.Tested, one bool) {
	paint := w.painter()
	for _, r := range t.Routes {
		mark, words := paint(green, "yes"), ""
		if !r.Matches {
			mark, words = paint(yellow, "no "), ": "+r.Why
		}
		name := r.Route
		if one {
			name = "the condition"
		}
		w.printf("%s  %s%s\n", mark, harmless(name), harmless(words))
	}
	switch {
	case one:
	case len(t.Endpoints) == 0:
		w.printf("it goes nowhere: it is acknowledged and dropped\n")
	default:
		w.printf("it goes to %s\n", harmless(strings.Join(t.Endpoints, ", ")))
	}
}
