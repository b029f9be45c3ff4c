package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newHubEnrichment(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "enrichment", Aliases: []string{"enrichments"}, Short: "Add properties to messages on their way to endpoints",
		Long: `An enrichment is a property that every message to some endpoints gets: a text, $iothubname, or a path of the sender's twin such as $twin.tags.site. It wins over a
property of the same name, so no device can forge it.`,
		Example: "  isthmus hub enrichment add site --value '$twin.tags.site' --to events",
	}
	n := &noun[*hubclient.Client, hubclient.Enrichment]{
		w: w, word: "enrichment", path: "isthmus hub enrichment", reach: toHub,
		list: func(hub *hubclient.Client, ctx context.Context) ([]hubclient.Enrichment, error) {
			r, err := hub.Routing(ctx)
			return r.Enrichments, err
		},
		remove: uncounted((*hubclient.Client).DeleteEnrichment), name: func(e hubclient.Enrichment) string { return e.Key },
		heads: []string{"ENRICHMENT", "VALUE", "TO"}, row: func(e hubclient.Enrichment) []cell { return cells(e.Key, e.Value, strings.Join(e.Endpoints, ", ")) },
	}
	c.AddCommand(newEnrichmentAdd(w), n.newList("List enrichments", ""), n.newDelete("Take enrichments away", "site"))
	return c
}

func newEnrichmentAdd(w *world) *cobra.Command {
	var e hubclient.Enrichment
	var out output
	c := &cobra.Command{
		Use: "add NAME --value TEXT --to ENDPOINT", Aliases: []string{"set"}, Short: "Add an enrichment, or replace the one of its name", Args: cobra.ExactArgs(1),
		Example: `  isthmus hub enrichment add site --value '$twin.tags.site' --to events --to hot
  isthmus hub enrichment add hub --value '$iothubname' --to events`,
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().StringVar(&e.Value, "value", "", "`TEXT`, $iothubname, or a path of the twin such as $twin.tags.site (required)")
	c.Flags().StringSliceVar(&e.Endpoints, "to", nil, "`ENDPOINT` whose messages get it; may be given several times (required)")
	completingFlag(c, "to", completeEndpoints(a))
	c.RunE = func(c *cobra.Command, args []string) error {
		if e.Value == "" || len(e.Endpoints) == 0 {
			return usagef("--value or --to is missing").advise("write --value '$twin.tags.site' --to events")
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			e.Key = args[0]
			made, err := hub.PutEnrichment(c.Context(), e)
			if err != nil {
				return err
			}
			if out.structured() {
				return out.write(w, made)
			}
			w.printf("messages to %s get %s\n", harmless(strings.Join(made.Endpoints, ", ")), harmless(made.Key))
			return nil
		})(c, args)
	}
	return c
}
