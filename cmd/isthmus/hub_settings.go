package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/manifest"
)

// settingWords says what a setting is, in the order in which they are shown.
type settingWords struct{ name, words string }

// newSettings is a command that shows settings of a hub, and changes those it is given.
func newSettings[S any](w *world, noun, long, example string, words []settingWords,
	get func(*hubclient.Client, context.Context) (S, error), set func(*hubclient.Client, context.Context, S) (S, error),
) *cobra.Command {
	var out output
	c := &cobra.Command{
		Use: "settings [NAME=VALUE...]", Short: "Show how the hub treats " + noun + ", or change it", Args: cobra.ArbitraryArgs, Long: long, Example: example,
	}
	a := toHub(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, s := range words {
			names = append(names, s.name+"=")
		}
		return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		change, err := readSettings[S](args, words)
		if err != nil {
			return err
		}
		return a.asking(func(c *cobra.Command, hub *hubclient.Client, _ []string) (err error) {
			var now S
			if len(args) > 0 {
				now, err = set(hub, c.Context(), change)
			} else {
				now, err = get(hub, c.Context())
			}
			switch {
			case err != nil:
				return err
			case out.structured():
				return out.write(w, now)
			}
			values, _ := plainJSON(now).(map[string]any)
			var rows [][]cell
			for _, s := range words {
				b, _ := json.Marshal(values[s.name]) // it came from JSON
				rows = append(rows, cells(s.name, string(b), s.words))
			}
			w.table([]string{"SETTING", "VALUE", "WHAT IT IS"}, rows)
			return nil
		})(c, args)
	}
	return c
}

func readSettings[S any](args []string, words []settingWords) (S, error) {
	var s S
	var names []string
	for _, w := range words {
		names = append(names, w.name)
	}
	given := map[string]json.RawMessage{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		switch {
		case !ok:
			return s, usagef("%q is no NAME=VALUE", arg).advise("write it as %s=VALUE", names[0])
		case !hasFolded(names, name):
			e := usagef("there is no setting %q", name)
			if near := manifest.Nearest(name, names); near != "" {
				return s, e.advise("did you mean %s?", near)
			}
			return s, e.advise("settings are %s", strings.Join(names, ", "))
		}
		given[name] = valueOf(value)
	}
	b, err := json.Marshal(given)
	if err != nil {
		return s, fault.Wrap("isthmus.settings", fault.Internal, err, "")
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&s); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return s, usagef("%s cannot be a %s", e.Field, e.Value).advise("numbers are whole; what is on or off is true or false")
		}
		return s, usagef("the settings cannot be read: %v", err)
	}
	return s, nil
}

func newC2DSettings(w *world) *cobra.Command {
	return newSettings(w, "messages to devices", `Show how the hub treats messages to devices, and the feedback about them. With NAME=VALUE those settings are changed, at once and for what is queued
already, except for the expiry it has; that takes the data directory, or the connection string of iothubowner.`,
		`  isthmus hub c2d settings
  isthmus hub c2d settings maxDeliveryCount=3 defaultTtlInSeconds=86400`,
		[]settingWords{
			{"defaultTtlInSeconds", "until a message without an expiry is given up: 60 to 172800"},
			{"maxDeliveryCount", "how often a message may come back before it is given up: 1 to 100"},
			{"lockDurationInSeconds", "for how long one is lent over HTTPS: 5 to 300"},
			{"feedbackTtlInSeconds", "until feedback nobody reads is dropped: 60 to 172800"},
			{"feedbackLockDurationInSeconds", "for how long a batch of feedback is lent: 5 to 300"},
			{"feedbackMaxDeliveryCount", "how often feedback may come back: 1 to 100"},
			{"feedbackDelayInSeconds", "for how long feedback waits for more of it: 0 to 60"},
		}, (*hubclient.Client).CommandSettings, (*hubclient.Client).SetCommandSettings)
}

func newHubFiles(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "files", Aliases: []string{"file"}, Short: "Set how files from devices are treated, and make links to them",
		Example: `  isthmus hub files settings grantSeconds=7200
  isthmus hub files link camera-3/logs/today.txt`,
	}
	c.AddCommand(newFilesLink(w), newSettings(w, "files from devices",
		`Show how the hub treats files from devices. With NAME=VALUE those settings are changed, at once; that takes the data directory, or the connection string of
iothubowner.`,
		`  isthmus hub files settings
  isthmus hub files settings grantSeconds=7200 notifications=false`,
		[]settingWords{
			{"notifications", "whether services are told of files"},
			{"grantSeconds", "how long a device has for a file: 60 to 86400"},
			{"notificationTtlSeconds", "how long a notification waits for a reader: 60 to 172800"},
			{"lockSeconds", "how long a reader has one: 5 to 300"},
			{"maxDeliveries", "how often one is given out before it is dropped: 1 to 100"},
		}, (*hubclient.Client).FileSettings, (*hubclient.Client).SetFileSettings))
	return c
}
