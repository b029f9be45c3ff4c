package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/simulate/bulk"
	"github.com/isthmus-io/isthmus/simulate/settings"
)

func newSimulateDevices(w *world) *cobra.Command {
	c := &cobra.Command{
		Use: "devices", Aliases: []string{"device"}, Short: "Create and delete simulated devices in a hub's registry",
		Example: `  isthmus simulate devices create --device-count 1000
  isthmus simulate devices delete --device-count 1000 --yes`,
	}
	c.AddCommand(
		newSimulateDevicesChange(w, bulkChange{
			use: "create", short: "Create devices; those that are there already stay as they are", ask: "Create", what: "creating devices", done: "created", already: "there already",
			do: func(ctx context.Context, s *settings.Settings, hub *hubclient.Client, progress func(bulk.Counts)) (bulk.Result, error) {
				return bulk.Create(ctx, hub, s.Devices, w.keysOf(s), progress)
			},
		}),
		newSimulateDevicesChange(w, bulkChange{
			use: "delete", short: "Delete devices and end their connections; what they sent stays", ask: "Delete", what: "deleting devices", done: "deleted", already: "not there",
			confirmed: func() bool { return strings.EqualFold(w.getenv("ConfirmDelete"), "yes") },
			do: func(ctx context.Context, s *settings.Settings, hub *hubclient.Client, progress func(bulk.Counts)) (bulk.Result, error) {
				return bulk.Delete(ctx, hub, s.Devices, progress)
			},
		}),
	)
	return c
}

// bulkChange is what creating and deleting differ in.
type bulkChange struct {
	use, short, ask, what, done, already string
	confirmed                            func() bool // by other means than --yes; nil for none
	do                                   func(context.Context, *settings.Settings, *hubclient.Client, func(bulk.Counts)) (bulk.Result, error)
}

// bulkView is the result as a program reads it.
type bulkView struct {
	Hub      string `json:"hub"`
	Devices  int    `json:"devices"`
	Done     int    `json:"done"`
	Already  int    `json:"already"`
	Failed   int    `json:"failed"`
	Failures []struct {
		Device string `json:"device"`
		Why    string `json:"why"`
	} `json:"failures,omitempty"`
}

func newSimulateDevicesChange(w *world, ch bulkChange) *cobra.Command {
	var yes bool
	var out output
	c := &cobra.Command{
		Use: ch.use, Short: ch.short, Args: cobra.NoArgs,
		Long: sentence(ch.short) + ` Which devices is said as for isthmus simulate. The connection string is that of a policy which may
change the registry: iothubowner or registryReadWrite. Without a terminal to ask at, --yes is needed.`,
		Example: "  isthmus simulate devices " + ch.use + " --device-prefix press --device-count 20000 --yes",
	}
	given := addSettings(c, settings.DevicesOnly)
	out.addTo(c, "text", outJSON, outYAML)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := w.settings(given(), settings.DevicesOnly)
		if err != nil {
			return err
		}
		if !yes && (ch.confirmed == nil || !ch.confirmed()) {
			if err := w.confirm("%s %s in %s?", ch.ask, namesOf(s.Devices), s.Hub); err != nil {
				return err
			}
		}
		hub, err := hubclient.New(hubclient.Config{Connection: s.Connection, Address: s.APIAddress, Roots: s.Roots}, w.clock)
		if err != nil {
			return err
		}
		defer hub.Close()
		line := &liveLine{out: w.err, live: w.terminal}
		res, err := ch.do(c.Context(), s, hub, w.counting(line, ch.what, len(s.Devices)))
		line.end()
		if perr := w.printBulk(s, res, ch, &out); perr != nil {
			return perr
		}
		if err != nil {
			return fault.Wrap("isthmus.simulate", fault.Internal, err, "")
		}
		if res.Failed > 0 {
			return errSilent
		}
		return nil
	}
	return c
}

// namesOf says which devices a list holds.
func namesOf(ids []string) string {
	if len(ids) == 1 {
		return "device " + ids[0]
	}
	return itoa(len(ids)) + " devices, " + ids[0] + " to " + ids[len(ids)-1] + ","
}

func (w *world) printBulk(s *settings.Settings, res bulk.Result, ch bulkChange, out *output) error {
	v := bulkView{Hub: s.Hub, Devices: len(s.Devices), Done: res.Done, Already: res.Already, Failed: res.Failed}
	for _, f := range res.Failures {
		v.Failures = append(v.Failures, struct {
			Device string `json:"device"`
			Why    string `json:"why"`
		}{f.Device, fault.Message(f.Err)})
	}
	if out.structured() {
		return out.write(w, v)
	}
	w.printf("%d %s, %d %s, %d failed, of %d devices\n", v.Done, ch.done, v.Already, ch.already, v.Failed, v.Devices)
	for _, f := range v.Failures {
		w.printf("%s: %s\n", harmless(f.Device), harmless(f.Why))
	}
	return nil
}

// confirm asks at the terminal; any answer but yes is no.
func (w *world) confirm(format string, args ...any) error {
	if !w.typing {
		return usagef("this asks first, and there is no terminal to ask at").advise("add --yes")
	}
	_, _ = fmt.Fprintf(w.err, format+" [y/N] ", args...)
	answer, err := readLine(w.in)
	if a := strings.ToLower(strings.TrimSpace(string(answer))); err == nil && (a == "y" || a == "yes") {
		return nil
	}
	return fault.New("isthmus.confirm", fault.Precondition, "nothing was done")
}
