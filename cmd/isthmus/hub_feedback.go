package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// feedbackEvery is how often the hub is asked again while there is none.
const feedbackEvery = 2 * time.Second

func newC2DFeedback(w *world) *cobra.Command {
	var (
		out          output
		follow, keep bool
	)
	c := &cobra.Command{
		Use: "feedback", Short: "Read what became of messages that asked for it", Args: cobra.NoArgs,
		Long: `Read what became of messages that asked for it with --ack. What is printed is taken away, since a hub gives each piece of feedback to one reader; with --keep it is
given back when all was printed. The hub gathers feedback for some seconds, so it comes a little later than what it tells of. One line a message; as JSON one
object a line.`,
		Example: `  isthmus hub c2d feedback --follow
  isthmus hub c2d feedback --keep -o json | jq -r .statusCode`,
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON)
	c.Flags().BoolVar(&follow, "follow", false, "go on with feedback that comes, until interrupted")
	c.Flags().BoolVar(&keep, "keep", false, "leave it for others")
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) error {
		if keep && follow {
			return usagef("--keep and --follow do not go together: what is given back comes again at once").advise("leave one of them away")
		}
		return w.readFeedback(c.Context(), hub, &out, follow, keep)
	})
	return c
}

func (w *world) readFeedback(ctx context.Context, hub *hubclient.Client, out *output, follow, keep bool) (err error) {
	var kept []string
	defer func() {
		for _, lock := range kept {
			// Also after an interruption, which ended the command's own context.
			if back := hub.AbandonFeedback(context.WithoutCancel(ctx), lock); err == nil {
				err = back
			}
		}
	}()
	for {
		batch, lock, err := hub.ReceiveFeedback(ctx)
		switch {
		case follow && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		for _, f := range batch {
			if err := w.printFeedback(f, out); err != nil {
				return err
			}
		}
		switch {
		case lock == "" && !follow:
			return nil
		case lock == "":
			fired, cancel := w.clock.After(feedbackEvery)
			select {
			case <-fired:
			case <-ctx.Done():
				cancel()
				return nil
			}
		case keep:
			kept = append(kept, lock)
		default:
			// Also after an interruption: what was printed does not come again.
			if err := hub.CompleteFeedback(context.WithoutCancel(ctx), lock); err != nil {
				return err
			}
		}
	}
}

func (w *world) printFeedback(f hubclient.Feedback, out *output) error {
	if out.structured() {
		b, err := json.Marshal(f)
		w.printJSON(b)
		return fault.Wrap("isthmus.feedback", fault.Internal, err, "")
	}
	paint := w.painter()
	colour := red
	if f.Status == "Success" {
		colour = green
	}
	w.printf("%s  %s  %s  %s  %s\n", f.Settled.UTC().Format("2006-01-02 15:04:05"), harmless(f.Device), harmless(f.MessageID), paint(colour, harmless(f.Status)), harmless(f.Description))
	return nil
}
