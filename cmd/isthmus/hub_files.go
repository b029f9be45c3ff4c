package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

func newFilesLink(w *world) *cobra.Command {
	var lasts time.Duration
	var out output
	c := &cobra.Command{
		Use: "link DEVICE/FILE", Short: "Make a URL with which a file can be read without a token; it is a secret", Args: cobra.ExactArgs(1),
		Long: `Make a URL with which one file can be read, for a time, by whoever has it. The name is the device's id, a slash, and the name the device gave the file: as in a
notification's blobName.`,
		Example: "  isthmus hub files link camera-3/logs/today.txt --for 24h",
	}
	a := toHub(w, c)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().DurationVar(&lasts, "for", time.Hour, "for how long, as a `DURATION` up to 168h")
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		link, expires, err := hub.LinkFile(c.Context(), args[0], lasts)
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, struct {
				URL     string    `json:"url"`
				Expires time.Time `json:"expires"`
			}{link, expires})
		}
		w.printf("%s\n", link)
		w.note("it is good until %s", w.at(expires))
		return nil
	})
	return c
}
