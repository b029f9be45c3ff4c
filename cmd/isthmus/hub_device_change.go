package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/isthmus-io/isthmus/hub/hubclient"
)

const (
	enabled  = "enabled"
	disabled = "disabled"
)

// deviceFlags say what is to be known of a device besides how it proves itself.
type deviceFlags struct {
	changed      func(string) bool
	edge         bool
	status       string
	statusReason string
	scope        string
	parent       string
}

func addDeviceFlags(c *cobra.Command) *deviceFlags {
	d := &deviceFlags{changed: c.Flags().Changed}
	f := c.Flags()
	f.BoolVar(&d.edge, "edge", false, "it is an edge device, with $edgeAgent and $edgeHub")
	f.StringVar(&d.status, "status", "", "`STATUS`: enabled, or disabled so that it may not connect")
	f.StringVar(&d.statusReason, "status-reason", "", "`WHY` it has the status, for people")
	f.StringVar(&d.parent, "parent", "", "edge `DEVICE` behind which it is")
	f.StringVar(&d.scope, "scope", "", "`SCOPE` it is in: the deviceScope of the edge device behind which it is")
	completingValues(c, "status", enabled, disabled)
	return d
}

// apply changes what flags name.
func (f *deviceFlags) apply(ctx context.Context, hub *hubclient.Client, d *hubclient.Device) error {
	if f.changed("status") {
		if f.status != enabled && f.status != disabled {
			return usagef("--status %q is none", f.status).advise("write enabled or disabled")
		}
		d.Status = f.status
	}
	if f.changed("status-reason") {
		d.StatusReason = f.statusReason
	}
	if f.changed("edge") {
		d.Capabilities = &hubclient.Capabilities{IoTEdge: f.edge}
	}
	if !f.changed("parent") && !f.changed("scope") {
		return nil
	}
	scope := f.scope
	if f.changed("parent") {
		if f.changed("scope") {
			return usagef("--parent and --scope say the same").advise("give one of them")
		}
		if f.parent != "" {
			above, err := hub.Device(ctx, f.parent)
			if err != nil {
				return err
			}
			if above.Scope == "" {
				return usagef("%s is no edge device, so nothing can be behind it", f.parent).advise("make it one: isthmus hub device update %s --edge", f.parent)
			}
			scope = above.Scope
		}
	}
	d.ParentScopes = nil
	if d.Capabilities != nil && d.Capabilities.IoTEdge {
		if scope != "" {
			d.ParentScopes = []string{scope} // an edge device has a scope of its own
		}
		return nil
	}
	d.Scope = scope
	return nil
}

func newDeviceUpdate(w *world) *cobra.Command {
	var out output
	var match string
	c := &cobra.Command{
		Use: "update DEVICE", Short: "Change a device", Args: cobra.ExactArgs(1),
		Long: `Change a device: what a flag names becomes that, everything else stays. A device whose proof is changed is cut when it came with the old one. With --auth sas
it gets new keys, unless they are given. A change of the same device by others at the same time is refused, not lost.`,
		Example: `  isthmus hub device update sensor-1 --status disabled --status-reason "stolen"
  isthmus hub device update press-4 --edge
  isthmus hub device update sensor-1 --certificate sensor-1.pem`,
	}
	a := addHubAccess(w, c)
	out.addTo(c, outTable, outJSON, outYAML)
	flags, how := addDeviceFlags(c), addProof(w, c)
	c.Flags().StringVar(&match, "if-match", "", "change it only while it has this `ETAG`")
	asks := access[*hubclient.Client]{a.open}
	c.ValidArgsFunction = completeDevices(asks, false)
	completingFlag(c, "parent", completeDevices(asks, false))
	c.RunE = asks.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		proof, err := how.given()
		if err != nil {
			return err
		}
		d, err := hub.Device(c.Context(), args[0])
		if err != nil {
			return err
		}
		if proof != nil {
			d.Authentication = proof
		}
		if err := flags.apply(c.Context(), hub, &d); err != nil {
			return err
		}
		d, err = hub.Update(c.Context(), d, first(match, d.ETag))
		if err != nil {
			return err
		}
		if out.structured() {
			return out.write(w, viewDevice(d))
		}
		w.printf("device %s updated\n", harmless(d.ID))
		return nil
	})
	return c
}

// newDeviceStatus is the command that enables or disables devices.
func newDeviceStatus(w *world, verb, status, short, long string) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: verb + " DEVICE...", Short: short, Long: long, Args: cobra.MinimumNArgs(1), Example: "  isthmus hub device " + verb + ` sensor-1 --reason "at the repair shop"`,
	}
	a := toHub(w, c)
	c.Flags().StringVar(&reason, "reason", "", "`WHY`, for whoever looks later")
	c.ValidArgsFunction = completeDevices(a, true)
	c.RunE = a.asking(func(c *cobra.Command, hub *hubclient.Client, args []string) error {
		for _, id := range args {
			d, err := hub.Device(c.Context(), id)
			if err != nil {
				return err
			}
			d.Status, d.StatusReason = status, reason
			if _, err := hub.Update(c.Context(), d, d.ETag); err != nil {
				return err
			}
			w.printf("device %s %s\n", harmless(id), status)
		}
		return nil
	})
	return c
}
