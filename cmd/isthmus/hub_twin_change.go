package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// newTwinChange is a command that changes a twin.
func newTwinChange(w *world, verb, short, long, example, done string,
	change func(*hubclient.Client, context.Context, string, hubclient.Twin, string) (hubclient.Twin, error),
) *cobra.Command {
	var out output
	c := &cobra.Command{Use: verb + " DEVICE[/MODULE] [JSON]", Short: short, Long: long, Example: example, Args: cobra.RangeArgs(1, 2)}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	edits := addTwinEdits(w, c)
	c.ValidArgsFunction = completeIdentities(a, false)
	c.RunE = func(c *cobra.Command, args []string) error {
		t, err := edits.twin(args[1:]) // before anything is dialled
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
			now, err := change(hub, c.Context(), args[0], t, edits.match)
			if err != nil {
				return err
			}
			if out.structured() {
				return out.write(w, now)
			}
			w.printf("twin of %s %s; version %d\n", nameWords(args[0]), done, now.Version)
			return nil
		})(c, args)
	}
	return c
}
